//! workflow-service runs what follows an incident: workflows and escalations.
//!
//! Tables: `workflows`, `escalation_policies`, `incident_states` (what we have heard), `runs`,
//! `run_steps`. RPCs: `WorkflowService`, `EscalationPolicyService` of `pulseops.workflow.v1`.
//! In: `pulseops.incidents.v1` (consumer `responder`). Out: no topic; it calls notification-service
//! (send), incident-service (timeline, escalate, resolve) and users' endpoints.
//!
//! The invariant: from `created` on somebody is told until somebody acknowledges or the escalation
//! has said that nobody did; a run is always due at a time or has ended, and it does not end before
//! its steps are on the incident's timeline. What may be repeated is repeated under the same key.
//!
//! The way of an event: [`consumers`] → [`response`] (what starts, what ends) → [`executor`] (one
//! run, operation after operation) → [`engine`] (what comes next). Policies and workflows compile to
//! the same [`program`]. Start reading in `response.rs`.

pub mod backoff;
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
pub mod template;
mod workflows;

use std::sync::Arc;

use include_dir::{Dir, include_dir};
use platform::consumer::Options;
use platform::deps::{Deps, Service};
use platform::error::Result;
use platform::leased::Handle;
use proto::workflow::v1::escalation_policy_service_server::EscalationPolicyServiceServer;
use proto::workflow::v1::workflow_service_server::WorkflowServiceServer;

use consumers::{INCIDENTS, RESPONDER, Responder};
use executor::{Executor, Fresh};
use grpc::Grpc;
use peers::Peers;

pub use config::{BuiltinPolicy, Config};

/// The role of this service: its name in the database, in tokens and in logs.
pub const NAME: &str = peers::ROLE;

/// What workflow-service has in the database.
pub static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../migrations/workflow");

/// Puts the service together and starts its consumer and its driver.
///
/// # Errors
/// Those of the database and the bus.
pub async fn build(deps: &Deps, config: &Config) -> Result<Service> {
    let db = deps.db(NAME)?;
    let peers = Peers::new(&deps.directory, config.peer_timeout());
    let (fresh, driver) = (Fresh::default(), Handle::default());
    let executor = Executor::new(
        db.clone(),
        peers.clone(),
        deps.egress.clone(),
        deps.source.clone(),
        config.clone(),
        fresh.clone(),
    );
    deps.drive(&db, Arc::new(executor), driver.clone(), config.concurrency);
    let built_in = config.builtin_policy.program();
    let responder = Arc::new(Responder::new(built_in, config.max_depth, fresh, driver));
    let consumers = deps.consumers(NAME, &db);
    deps.consume(&consumers, RESPONDER, &INCIDENTS, Options::default(), responder).await?;
    deps.housekeeping(&db);
    let grpc = Grpc { db, peers, egress: deps.egress.clone() };
    let service = Service::builder(NAME)
        .add(WorkflowServiceServer::new(grpc.clone()))
        .add(EscalationPolicyServiceServer::new(grpc))
        .behind(deps.door.clone());
    Ok(service)
}
