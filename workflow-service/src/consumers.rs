//! Consumer `responder` of `pulseops.incidents.v1`: keeps the incidents' states, starts workflows
//! and escalations, and ends them when somebody takes the incident.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use diesel_async::AsyncPgConnection;
use platform::bus::{Delivered, TopicSpec};
use platform::consumer::{After, BatchCtx, Breaks, Handler};
use platform::error::{Error, Result};
use prost::Message;
use proto::events::v1::IncidentEvent;
use proto::topics;
use uuid::Uuid;

use crate::catalog::Compiled;
use crate::engine::{Record, State};
use crate::executor::Lanes;
use crate::program::{Kind, Program};
use crate::response::{self, Cancel, Event, Key, Plan, Rules};
use crate::store::runs::{self, Cancelled, Run};
use crate::store::states;
use crate::store::steps::{self, RunStep};

/// Name of the consumer.
pub const RESPONDER: &str = "responder";
/// What it reads: every step of every incident's life, keyed by incident.
pub const INCIDENTS: TopicSpec =
    TopicSpec::new(topics::INCIDENTS.name, topics::INCIDENTS.partitions, topics::INCIDENTS.retention_ms);

/// The consumer.
pub struct Responder {
    built_in: Program,
    max_depth: u32,
    compiled: Compiled,
    lanes: Lanes,
}

impl Responder {
    /// A consumer whose runs are performed by the drivers of `lanes`.
    pub fn new(built_in: Program, max_depth: u32, lanes: Lanes) -> Self {
        Self { built_in, max_depth, compiled: Compiled::default(), lanes }
    }

    async fn carry_out(&self, cx: &BatchCtx, conn: &mut AsyncPgConnection, mut plan: Plan) -> Result<After> {
        let states: Vec<_> = plan.states.into_values().collect();
        states::upsert_of_all(conn, &states).await?;
        cancel(cx, conn, &plan.cancels).await?;
        if cx.replay {
            leave_out_overtaken(conn, &mut plan.runs).await?;
        }
        if plan.runs.is_empty() {
            return Ok(After::none());
        }
        let inserted: BTreeSet<Uuid> = runs::insert(conn, &plan.runs).await?.into_iter().collect();
        let born: Vec<Run> = plan
            .runs
            .into_iter()
            .filter(|run| inserted.contains(&run.id))
            .inspect(count_started)
            .filter(response::is_born_leased)
            .collect();
        let lanes = self.lanes.clone();
        Ok(After::call(move || lanes.start(born)))
    }
}

#[async_trait]
impl Handler for Responder {
    async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<After> {
        let found = batch.iter().enumerate().filter_map(|(at, record)| Some((at, event(record)?)));
        let found = found.map(|(at, event)| event.map(|event| (at, event))).collect::<Result<Vec<_>>>()?;
        let (records, events): (Vec<usize>, Vec<Event>) = found.into_iter().unzip();
        let keys: BTreeSet<Key> = events.iter().map(|event| event.key).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(After::none());
        }
        let applied = states::find_of_all(conn, &keys).await?;
        let catalog = self.compiled.catalog(conn, &events).await?;
        let rules = Rules {
            catalog: &catalog,
            built_in: &self.built_in,
            max_depth: self.max_depth,
            now: cx.now,
            replay: cx.replay,
            source: &cx.source,
        };
        let (mut plan, mut taken, mut breaks) = (Plan::default(), batch.len(), Breaks::of_batch());
        for (record, event) in records.into_iter().zip(&events) {
            plan.apply(event, &applied, &rules)?;
            breaks.take(conn).await?;
            if breaks.enough() {
                taken = record + 1;
                break;
            }
        }
        Ok(self.carry_out(cx, conn, plan).await?.of_first(taken))
    }
}

/// The event of a record; `None` for types that are not an incident's.
fn event(delivered: &Delivered) -> Option<Result<Event>> {
    let envelope = &delivered.record.envelope;
    let what = envelope.ty.strip_prefix("pulseops.incident.")?.strip_suffix(".v1")?;
    let bad = |why: &str| Some(Err(Error::invalid("invalid_event", why)));
    let Ok(incident) = envelope.subject.parse() else { return bad("its subject is no incident") };
    let Ok(payload) = IncidentEvent::decode(delivered.record.data.clone()) else {
        return bad("its payload is no incident event");
    };
    Some(Ok(Event {
        key: (envelope.org.uuid(), incident),
        what: what.to_owned(),
        id: envelope.id,
        version: envelope.version,
        at: envelope.time,
        trace: envelope.trace.clone(),
        depth: envelope.depth,
        payload,
        data: delivered.record.data.clone(),
    }))
}

/// An escalation that is asked for again does not start when the incident was reopened since and has
/// been escalated for that: nobody is to be paged twice.
async fn leave_out_overtaken(conn: &mut AsyncPgConnection, planned: &mut Vec<Run>) -> Result<()> {
    let incidents: BTreeSet<Key> = planned.iter().map(|run| (run.org_id, run.incident_id)).collect();
    let incidents: Vec<Key> = incidents.into_iter().collect();
    let escalated = runs::escalated_at(conn, &incidents).await?;
    let is_overtaken = |run: &Run| {
        run.kind == Kind::Policy.as_str()
            && escalated.get(&(run.org_id, run.incident_id)).is_some_and(|at| *at > run.trigger_version)
    };
    planned.retain(|run| {
        let overtaken = is_overtaken(run);
        if overtaken {
            tracing::info!(incident.id = %run.incident_id, run.trigger_version, "a replayed event starts no second escalation");
        }
        !overtaken
    });
    Ok(())
}

fn count_started(run: &Run) {
    metrics::counter!("pulseops_workflow_runs_started_total", "kind" => run.kind.clone()).increment(1);
}

/// Ends the runs of incidents that somebody has taken, each with a step that says why.
async fn cancel(cx: &BatchCtx, conn: &mut AsyncPgConnection, cancels: &[Cancel]) -> Result<()> {
    let keys: BTreeSet<Key> = cancels.iter().map(|cancel| cancel.key).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let why: HashMap<Key, Vec<&Cancel>> = cancels.iter().fold(HashMap::new(), |mut map, it| {
        map.entry(it.key).or_insert_with(Vec::new).push(it);
        map
    });
    let (mut ended, mut records) = (Vec::new(), Vec::new());
    for run in runs::lock_incidents_of_all(conn, &keys).await? {
        let reasons = why.get(&(run.org_id, run.incident_id)).into_iter().flatten();
        let Some(cancel) = reasons.copied().find(|cancel| cancel.ends(&run)) else { continue };
        let Some((state, record)) = cancelled(&run, cancel) else { continue };
        let began = run.started_at.unwrap_or(cx.now);
        let record = record.map(|it| RunStep::new(run.org_id, cx.source.id(), run.id, it, began, cx.now));
        records.extend(record);
        metrics::counter!("pulseops_workflow_runs_ended_total", "status" => "cancelled").increment(1);
        ended.push(Cancelled { org_id: run.org_id, id: run.id, state, detail: cancel.why.clone() });
    }
    if !ended.is_empty() {
        steps::insert(conn, &records).await?;
        runs::cancel_of_all(conn, ended, cx.now).await?;
    }
    Ok(())
}

/// The last state and record of a run that `cancel` ends; `None` for one that came to its end and only
/// owes timeline entries: it keeps its own end. One that cannot be read ends without a record.
fn cancelled(run: &Run, cancel: &Cancel) -> Option<(Option<serde_json::Value>, Option<Record>)> {
    let program = serde_json::from_value::<Program>(run.program.clone());
    let state = serde_json::from_value::<State>(run.state.clone());
    let (Ok(program), Ok(mut state)) = (program, state) else {
        tracing::error!(run.id = %run.id, "a run that cannot be read is cancelled");
        return Some((None, None));
    };
    let record = state.cancel(&program, &cancel.why)?;
    Some((serde_json::to_value(&state).ok(), Some(record)))
}
