//! incident-service decides which events are failures, keeps alerts and incidents, and tells what
//! happens to them.
//!
//! Tables: `services`, `rules`, `rule_sets`, `alerts`, `incidents`, `incident_assignees`,
//! `incident_counters`, `timeline`, `seen_events`, `windows`.
//! In: `pulseops.events.v1` (consumer `rules`). Out: `pulseops.incidents.v1`, one event for each
//! version of an incident, and `pulseops.audit.v1`.
//!
//! The invariant: an event, identified by (organization, service, id), counts once in every window,
//! and a change of an incident, its timeline entry and its event are one transaction.
//!
//! The way of an event: [`consumers`] → [`engine`] (select, window) → [`alerts`] (count or open) →
//! [`incidents`] (open). People come in through `grpc`; what they may do with an incident is
//! [`lifecycle`]. Start reading in `consumers.rs`.

pub mod alerts;
mod announce;
mod audit;
pub mod config;
pub mod consumers;
mod convert;
pub mod engine;
mod grpc;
pub mod incidents;
pub mod json;
pub mod kinds;
pub mod lifecycle;
mod peers;
mod rules;
mod schema;
mod services;
pub mod store;
pub mod sweep;
mod timeline;

use std::sync::Arc;

use chrono::TimeDelta;
use include_dir::{Dir, include_dir};
use platform::bus::TopicSpec;
use platform::consumer::Options;
use platform::deps::{Deps, Service};
use platform::error::Result;
use platform::leased::Handle;
use proto::topics;

pub use config::Config;

/// Role, owner of migrations and `source` of events.
pub const NAME: &str = "incident";

/// The tables of this service.
pub static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/incident");

/// What systems report, keyed by organization and service.
pub static EVENTS: TopicSpec =
    TopicSpec::new(topics::EVENTS.name, topics::EVENTS.partitions, topics::EVENTS.retention_ms);

/// What happens to incidents, keyed by incident.
pub static INCIDENTS: TopicSpec =
    TopicSpec::new(topics::INCIDENTS.name, topics::INCIDENTS.partitions, topics::INCIDENTS.retention_ms);

/// Puts the service together and starts its relay, its consumer, its driver and its sweeper.
///
/// # Errors
/// Those of the database and the bus.
pub async fn build(deps: &Deps, config: &Config) -> Result<Service> {
    let db = deps.db(NAME)?;
    deps.bus.ensure_topic(&INCIDENTS).await?;
    deps.bus.ensure_topic(&audit::TOPIC).await?;
    deps.relay(&db);
    let consumers = deps.consumers(NAME, &db);
    let rules = consumers::Rules::new(TimeDelta::milliseconds(i64::from(config.lateness_ms)));
    let options = Options { max_records: config.max_batch.max(1), ..Options::default() };
    deps.consume(&consumers, consumers::RULES, &EVENTS, options, Arc::new(rules)).await?;
    let due = Arc::new(alerts::DueAlerts::new(&db, &deps.source));
    deps.drive(&db, due, Handle::default(), config.auto_resolve_concurrency);
    sweep::start(deps, &db);
    let doors = grpc::Doors::new(db, peers::Peers::new(&deps.directory));
    Ok(doors.add_to(Service::builder(NAME)).behind(deps.door.clone()))
}
