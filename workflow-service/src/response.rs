//! What incidents' events set going: pure. A batch of events, the workflows and policies that they
//! may start, and what was applied before make the states to keep, the runs to end and to start.

mod births;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use expression::Bindings;
use platform::error::Result;
use platform::source::Source;
use proto::api::v1::{Actor, ActorKind};
use proto::events::v1::IncidentEvent;
use uuid::Uuid;

use crate::condition::{self, Condition};
use crate::convert;
use crate::policies::BUILT_IN;
use crate::program::{Kind, Program};
use crate::store::runs::Run;
use crate::store::states::IncidentState;

pub use births::{escalation_run, is_born_leased};
use births::{held, new_run};

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

impl Event {
    /// The service whose incident it is.
    pub fn service(&self) -> Option<Uuid> {
        self.payload.incident.as_ref()?.service_id.parse().ok()
    }

    /// The service's policy; the built-in one when there is none.
    pub fn policy(&self) -> Option<Uuid> {
        self.payload.policy.as_ref()?.id.parse().ok()
    }
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
    pub policies: HashMap<Key, Arc<(String, Program)>>,
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
    /// Whether a person asked for events that could not be applied in their turn.
    pub replay: bool,
    /// Ids of new runs.
    pub source: &'a Source,
}

impl Plan {
    /// Adds what follows from the batch's next event. `applied` is what was applied before the batch of
    /// its incidents: what is not newer is left out, unless it is replayed and what it asks for is still
    /// wanted.
    ///
    /// # Errors
    /// Internal, when a program cannot be written.
    pub fn apply(
        &mut self,
        event: &Event,
        applied: &HashMap<Key, IncidentState>,
        rules: &Rules<'_>,
    ) -> Result<()> {
        let known = self.states.get(&event.key).or_else(|| applied.get(&event.key));
        match known.filter(|known| known.version >= event.version) {
            None => self.remember(event),
            Some(known) if rules.replay && still_stands(event, &known.status) => {}
            Some(known) => {
                if rules.replay {
                    tracing::info!(incident.id = %event.key.1, event.what, known.status, "a replayed event is out of date");
                }
                return Ok(());
            }
        }
        if let Some(cancel) = cancel(event) {
            self.cancel(cancel, rules.now);
        }
        self.start(event, rules)
    }

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

    fn start(&mut self, event: &Event, rules: &Rules<'_>) -> Result<()> {
        let matching = matching(event, rules);
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

/// Whether what an event asks for is still wanted of an incident that is by now in this status.
fn still_stands(event: &Event, status: &str) -> bool {
    let is_open = status == "triggered";
    match event.what.as_str() {
        "created" | "reopened" => is_open,
        "acknowledged" | "resolved" => !is_open,
        _ => true,
    }
}

/// Whether the escalation starts with it.
pub fn pages(event: &Event) -> bool {
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

fn matching<'a>(event: &Event, rules: &Rules<'a>) -> Vec<&'a Candidate> {
    let Some(workflows) = rules.catalog.workflows.get(&event.key.0) else { return Vec::new() };
    let service = event.service();
    let triggered = workflows.iter().map(Arc::as_ref).filter(|workflow| {
        let of_service = workflow.service_ids.is_empty()
            || service.is_some_and(|service| workflow.service_ids.contains(&service));
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
    let incident = condition::bound(&event.payload);
    triggered.into_iter().filter(|workflow| holds(workflow, &incident, event)).collect()
}

/// A condition that cannot be evaluated does not hold; its workflow's version is told of once.
fn holds(workflow: &Candidate, incident: &Bindings<'_>, event: &Event) -> bool {
    workflow.condition.holds(incident).unwrap_or_else(|fault| {
        metrics::counter!("pulseops_workflow_conditions_failed_total").increment(1);
        if workflow.condition.fails_first() {
            tracing::warn!(workflow.id = %workflow.id, incident.id = %event.key.1, %fault, "a condition cannot be evaluated");
        }
        false
    })
}

/// The policy of the event's service: a reference to one that is not there means the built-in one.
fn policy<'a>(event: &Event, rules: &Rules<'a>) -> (Uuid, &'a str, &'a Program) {
    let found = event.policy().and_then(|id| {
        let (name, program) = rules.catalog.policies.get(&(event.key.0, id)).map(Arc::as_ref)?;
        Some((id, name.as_str(), program))
    });
    found.unwrap_or((Uuid::nil(), BUILT_IN, rules.built_in))
}

#[cfg(test)]
mod tests;
