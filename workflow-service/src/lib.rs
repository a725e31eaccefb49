//! workflow-service runs what follows an incident: workflows and escalations.
//!
//! Tables: `workflows`, `escalation_policies`, `incident_states` (what we have heard), `runs`,
//! `run_steps`. RPCs: `WorkflowService`, `EscalationPolicyService` of `pulseops.workflow.v1`.
//! In: `pulseops.incidents.v1` (consumer `responder`). Out: `pulseops.audit.v1`; it calls
//! notification-service (send), incident-service (timeline, escalate, severity, resolve) and users' endpoints.
//!
//! Escalations and workflows have a driver each, so that a runbook that hangs keeps no page waiting.
//!
//! The invariant: from `created` on somebody is told until somebody acknowledges or the escalation
//! has said that nobody did; a run is always due at a time or has ended, and it does not end before
//! its steps are on the incident's timeline. What may be repeated is repeated under the same key.
//!
//! The way of an event: [`consumers`] → [`catalog`] (what may start) → [`response`] (what starts, what
//! ends) → [`executor`] (one run, operation after operation) → [`engine`] (what comes next). Policies
//! and workflows compile to the same [`program`]. Start reading in `response.rs`.

mod audit;
pub mod backoff;
pub mod catalog;
pub mod condition;
pub mod config;
pub mod consumers;
mod convert;
mod definitions;
pub mod engine;
pub mod executor;
mod grpc;
mod peers;
mod policies;
pub mod program;
mod references;
pub mod response;
mod runs;
mod schema;
pub mod store;
pub mod sweep;
pub mod template;
mod vault;
mod workflows;

use std::sync::Arc;

use include_dir::{Dir, include_dir};
use platform::consumer::Options;
use platform::deps::{Deps, Service};
use platform::error::Result;
use proto::workflow::v1::escalation_policy_service_server::EscalationPolicyServiceServer;
use proto::workflow::v1::workflow_service_server::WorkflowServiceServer;

use consumers::{INCIDENTS, RESPONDER, Responder};
use executor::{Automation, Escalations, Executor, Lanes};
use grpc::Grpc;
use peers::Peers;
use vault::Vault;

pub use config::{BuiltinPolicy, Config};

/// The role of this service: its name in the database, in tokens and in logs.
pub const NAME: &str = peers::ROLE;

/// What workflow-service has in the database.
pub static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/workflow");

/// Puts the service together and starts its consumer and its drivers.
///
/// # Errors
/// Those of the database and the bus.
pub async fn build(deps: &Deps, config: &Config) -> Result<Service> {
    let db = deps.db(NAME)?;
    let peers = Peers::new(&deps.directory, config.peer_timeout());
    let vault = Vault::new(deps.sealer(NAME));
    let lanes = Lanes::default();
    let executor = Executor::new(deps, db.clone(), peers.clone(), vault.clone(), config.clone(), &lanes);
    let executor = Arc::new(executor);
    let (escalations, automation) = (Escalations(executor.clone()), Automation(executor));
    deps.drive(&db, Arc::new(escalations), lanes.escalations.clone(), config.concurrency);
    deps.drive(&db, Arc::new(automation), lanes.automation.clone(), config.concurrency);
    let built_in = config.builtin_policy.program();
    let responder = Arc::new(Responder::new(built_in, config.max_depth, lanes));
    let consumers = deps.consumers(NAME, &db);
    deps.consume(&consumers, RESPONDER, &INCIDENTS, Options::default(), responder).await?;
    deps.bus.ensure_topic(&audit::TOPIC).await?;
    deps.relay(&db);
    sweep::start(deps, &db, config.keep_runs());
    let grpc = Grpc { db, peers, egress: deps.egress.clone(), vault };
    let service = Service::builder(NAME)
        .add(WorkflowServiceServer::new(grpc.clone()))
        .add(EscalationPolicyServiceServer::new(grpc))
        .behind(deps.door.clone());
    Ok(service)
}
