//! New runs.

use chrono::{DateTime, Utc};
use platform::error::{Error, Result};
use platform::leased::{self, Birth};
use uuid::Uuid;

use super::{Event, Rules};
use crate::engine::State;
use crate::program::{Op, Program};
use crate::store::runs::Run;

/// A run born leased to this process, its first operation begun.
pub(super) fn new_run(
    event: &Event,
    rules: &Rules<'_>,
    program_id: Uuid,
    name: &str,
    program: &Program,
) -> Result<Run> {
    let Birth { due_at, lease_until, epoch, attempts } = leased::birth(rules.now);
    let mut state = State::start(program, rules.now);
    if program.ops.first().is_some_and(|op| op.rest().is_zero()) {
        state.begin(epoch);
    }
    Ok(Run {
        org_id: event.key.0,
        id: rules.source.id(),
        kind: program.kind.as_str().to_owned(),
        program_id,
        name: name.to_owned(),
        incident_id: event.key.1,
        incident_number: event.payload.incident.as_ref().map_or(0, |it| it.number),
        origin: format!("event:{}", event.version),
        trigger_event: event.id,
        trigger_version: event.version,
        depth: i32::try_from(event.depth).unwrap_or(i32::MAX),
        trace: event.trace.clone(),
        status: "running".to_owned(),
        program: serde_json::to_value(program).map_err(Error::internal)?,
        state: serde_json::to_value(&state).map_err(Error::internal)?,
        incident: event.data.to_vec(),
        nudges: 0,
        hold_until: None,
        decided_at: event.at,
        created_at: rules.now,
        started_at: Some(rules.now),
        ended_at: None,
        detail: String::new(),
        due_at: Some(due_at),
        lease_until: Some(lease_until),
        epoch,
        attempts,
    })
}

/// The same, waiting for a workflow that holds paging.
pub(super) fn held(run: Run, until: DateTime<Utc>) -> Run {
    Run {
        status: "held".to_owned(),
        started_at: None,
        due_at: Some(until),
        lease_until: None,
        epoch: 0,
        attempts: 0,
        ..run
    }
}

/// Whether an operation of a new run is performed by the process that inserts it.
pub fn is_born_leased(run: &Run) -> bool {
    run.lease_until.is_some()
}

/// A run of `program` that a step of `parent` starts, due at once.
///
/// # Errors
/// Internal, when the program cannot be written.
pub fn escalation_run(
    parent: &Run,
    path: &str,
    program_id: Uuid,
    name: &str,
    program: &Program,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Run> {
    debug_assert!(matches!(program.ops.first(), Some(Op::Page { .. })), "escalations are policies");
    Ok(Run {
        id,
        kind: program.kind.as_str().to_owned(),
        program_id,
        name: name.to_owned(),
        origin: format!("step:{}:{path}", parent.id),
        status: "running".to_owned(),
        program: serde_json::to_value(program).map_err(Error::internal)?,
        state: serde_json::to_value(State::start(program, now)).map_err(Error::internal)?,
        nudges: 0,
        hold_until: None,
        created_at: now,
        started_at: Some(now),
        ended_at: None,
        detail: String::new(),
        due_at: Some(now),
        lease_until: None,
        epoch: 0,
        attempts: 0,
        ..parent.clone()
    })
}
