//! What incidents' events set going: pure. A batch of events, the workflows and policies that they
//! may start, and what was applied before make the states to keep, the runs to end and to start.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cel::{Context, Value};
use chrono::{DateTime, TimeDelta, Utc};
use platform::error::{Error, Result};
use platform::leased::{self, Birth};
use platform::source::Source;
use proto::api::v1::{Actor, ActorKind};
use proto::events::v1::IncidentEvent;
use uuid::Uuid;

use crate::condition::{self, Condition};
use crate::convert;
use crate::engine::State;
use crate::policies::BUILT_IN;
use crate::program::{Kind, Op, Program};
use crate::store::runs::Run;
use crate::store::states::IncidentState;

/// Organization and incident.
pub type Key = (Uuid, Uuid);

/// A step of an incident's life, as it came from the bus.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which incident.
    pub key: Key,
    /// What happened: `created`, `acknowledged`, …
    pub what: String,
    /// Id of the event.
    pub id: Uuid,
    /// The incident's version after it.
    pub version: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// W3C traceparent.
    pub trace: String,
    /// Automatic steps before it.
    pub depth: u32,
    /// The payload.
    pub payload: IncidentEvent,
    /// The payload as it came.
    pub data: Bytes,
}

/// A workflow, ready to be matched.
#[derive(Debug)]
pub struct Candidate {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What starts it.
    pub triggers: Vec<String>,
    /// Of which services; of all when empty.
    pub service_ids: Vec<Uuid>,
    /// On which incidents.
    pub condition: Condition,
    /// How long it holds paging.
    pub hold_paging: TimeDelta,
    /// What it does.
    pub program: Program,
}

/// Everything that may be started.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By organization.
    pub workflows: HashMap<Uuid, Vec<Arc<Candidate>>>,
    /// Name and program by organization and id.
    pub policies: HashMap<Key, (String, Program)>,
}

/// An incident whose runs end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which incident.
    pub key: Key,
    /// Why, for people.
    pub why: String,
    /// The workflow that did it, whose run goes on.
    pub spares: Option<Uuid>,
}

impl Cancel {
    /// Whether it ends this run.
    pub fn ends(&self, run: &Run) -> bool {
        self.key == (run.org_id, run.incident_id)
            && !(run.kind == Kind::Workflow.as_str() && self.spares == Some(run.program_id))
    }
}

/// What a batch sets going.
#[derive(Debug, Default)]
pub struct Plan {
    /// The incidents' states after it; one per incident.
    pub states: HashMap<Key, IncidentState>,
    /// What ends, of that which ran before.
    pub cancels: Vec<Cancel>,
    /// What starts.
    pub runs: Vec<Run>,
}

/// Under which rules a batch is decided.
pub struct Rules<'a> {
    /// What may be started.
    pub catalog: &'a Catalog,
    /// The policy of services that have none.
    pub built_in: &'a Program,
    /// Above it no workflow starts.
    pub max_depth: u32,
    /// The time.
    pub now: DateTime<Utc>,
    /// Ids of new runs.
    pub source: &'a Source,
}

/// Decides a batch. `applied` are the versions of its incidents that were applied before: what is
/// not newer is left out.
///
/// # Errors
/// Internal, when a program cannot be written.
pub fn decide(events: &[Event], applied: &HashMap<Key, i64>, rules: &Rules<'_>) -> Result<Plan> {
    let mut plan = Plan::default();
    let root = Context::default();
    for event in events {
        let newest = plan.states.get(&event.key).map(|state| state.version);
        let newest = newest.or_else(|| applied.get(&event.key).copied());
        if newest.is_some_and(|newest| newest >= event.version) {
            continue;
        }
        plan.remember(event);
        if let Some(cancel) = cancel(event) {
            plan.cancel(cancel, rules.now);
        }
        plan.start(event, &root, rules)?;
    }
    Ok(plan)
}

impl Plan {
    fn remember(&mut self, event: &Event) {
        let incident = event.payload.incident.as_ref();
        let status = incident.and_then(|it| convert::incident_status(it.status()));
        let state = IncidentState {
            org_id: event.key.0,
            incident_id: event.key.1,
            number: incident.map_or(0, |it| it.number),
            status: status.unwrap_or("triggered").to_owned(),
            version: event.version,
            at: event.at,
        };
        self.states.insert(event.key, state);
    }

    /// Ends what this batch has started, and notes what is to be ended in the database. What was
    /// never begun leaves no step behind.
    fn cancel(&mut self, cancel: Cancel, now: DateTime<Utc>) {
        for run in self.runs.iter_mut().filter(|run| cancel.ends(run) && run.due_at.is_some()) {
            run.status = "cancelled".to_owned();
            run.detail.clone_from(&cancel.why);
            run.ended_at = Some(now);
            (run.due_at, run.lease_until, run.hold_until) = (None, None, None);
        }
        self.cancels.push(cancel);
    }

    fn start(&mut self, event: &Event, root: &Context<'_, '_>, rules: &Rules<'_>) -> Result<()> {
        let matching = matching(event, root, rules);
        let mut hold = TimeDelta::zero();
        for workflow in matching {
            let mut run = new_run(event, rules, workflow.id, &workflow.name, &workflow.program)?;
            if pages(event) && workflow.hold_paging > TimeDelta::zero() {
                hold = hold.max(workflow.hold_paging);
                run.hold_until = Some(rules.now + workflow.hold_paging);
            }
            self.runs.push(run);
        }
        if pages(event) {
            let (id, name, program) = policy(event, rules);
            let run = new_run(event, rules, id, name, program)?;
            self.runs.push(if hold > TimeDelta::zero() { held(run, rules.now + hold) } else { run });
        }
        Ok(())
    }
}

/// Whether the escalation starts with it.
fn pages(event: &Event) -> bool {
    matches!(event.what.as_str(), "created" | "reopened")
}

fn cancel(event: &Event) -> Option<Cancel> {
    let actor = event.payload.actor.clone().unwrap_or_default();
    let verb = match event.what.as_str() {
        verb @ ("acknowledged" | "resolved") => verb,
        _ => return None,
    };
    let why = if actor.name.is_empty() { verb.to_owned() } else { format!("{verb} by {}", actor.name) };
    Some(Cancel { key: event.key, why, spares: workflow_of(&actor) })
}

fn workflow_of(actor: &Actor) -> Option<Uuid> {
    (actor.kind() == ActorKind::Workflow).then(|| actor.id.parse().ok()).flatten()
}

fn matching<'a>(event: &Event, root: &Context<'_, '_>, rules: &Rules<'a>) -> Vec<&'a Candidate> {
    let Some(workflows) = rules.catalog.workflows.get(&event.key.0) else { return Vec::new() };
    let service = event.payload.incident.as_ref().and_then(|it| it.service_id.parse().ok());
    let triggered = workflows.iter().map(Arc::as_ref).filter(|workflow| {
        let of_service = workflow.service_ids.is_empty()
            || service.is_some_and(|service: Uuid| workflow.service_ids.contains(&service));
        of_service && workflow.triggers.contains(&event.what)
    });
    let triggered: Vec<_> = triggered.collect();
    if triggered.is_empty() {
        return triggered;
    }
    if event.depth > rules.max_depth {
        metrics::counter!("pulseops_workflow_loops_ended_total").increment(1);
        tracing::warn!(incident.id = %event.key.1, depth = event.depth, "automation triggers itself: no workflow is started");
        return Vec::new();
    }
    let incident = condition::incident_value(&event.payload);
    triggered.into_iter().filter(|workflow| holds(workflow, root, &incident, event)).collect()
}

fn holds(workflow: &Candidate, root: &Context<'_, '_>, incident: &Value, event: &Event) -> bool {
    workflow.condition.holds(root, incident).unwrap_or_else(|why| {
        tracing::debug!(workflow.id = %workflow.id, incident.id = %event.key.1, why, "a condition cannot be evaluated");
        false
    })
}

/// The policy of the event's service: a reference to one that is not there means the built-in one.
fn policy<'a>(event: &Event, rules: &Rules<'a>) -> (Uuid, &'a str, &'a Program) {
    let id = event.payload.policy.as_ref().and_then(|policy| policy.id.parse().ok());
    let found = id.and_then(|id: Uuid| {
        let (name, program) = rules.catalog.policies.get(&(event.key.0, id))?;
        Some((id, name.as_str(), program))
    });
    found.unwrap_or((Uuid::nil(), BUILT_IN, rules.built_in))
}

/// A run born leased to this process, its first operation begun.
fn new_run(event: &Event, rules: &Rules<'_>, program_id: Uuid, name: &str, program: &Program) -> Result<Run> {
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

fn held(run: Run, until: DateTime<Utc>) -> Run {
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

#[cfg(test)]
mod tests;
