//! analytics-service: how well it went.
//!
//! Owns `incident_records` (one row per incident; later rollups, raw events and service health).
//! RPCs: `pulseops.analytics.v1.AnalyticsService` (summary, MTTA and MTTR, history).
//! Topic in: `pulseops.incidents.v1` (consumer `history`). Topics out: none.
//!
//! The invariant that must never break: a record follows from the incident's events alone, and an
//! event applied again, or an older version, changes nothing. MTTA = first acknowledgement −
//! creation; MTTR = last resolution − creation; both in whole milliseconds of the times the API shows.
//!
//! Start reading in `record.rs` (pure), then `consumers.rs`, `numbers.rs`, `store/statistics.rs`.

pub mod consumers;
mod convert;
mod grpc;
pub mod history;
mod kinds;
pub mod numbers;
pub mod record;
mod schema;
mod store;

use include_dir::{Dir, include_dir};
use platform::bus::TopicSpec;
use platform::consumer::Options;
use platform::deps::{Deps, Service};
use platform::error::Result;
use proto::analytics::v1::analytics_service_server::AnalyticsServiceServer;
use proto::topics;
use std::sync::Arc;

/// Name of the service: its schema, its roles.
pub const NAME: &str = "analytics";

/// The migrations of schema `pulseops_analytics`.
pub static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/analytics");

/// What it listens to.
pub const INCIDENTS: TopicSpec =
    TopicSpec::new(topics::INCIDENTS.name, topics::INCIDENTS.partitions, topics::INCIDENTS.retention_ms);

/// Starts the consumer and gives the RPCs.
///
/// # Errors
/// Those of the database and the bus.
pub async fn build(deps: &Deps) -> Result<Service> {
    let db = deps.db(NAME)?;
    deps.housekeeping(&db);
    let consumers = deps.consumers(NAME, &db);
    deps.consume(&consumers, "history", &INCIDENTS, Options::default(), Arc::new(consumers::History)).await?;
    let grpc = AnalyticsServiceServer::new(grpc::Grpc { db });
    Ok(Service::builder(NAME).add(grpc).behind(deps.door.clone()))
}
