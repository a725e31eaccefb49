//! Consumer `responder` of `pulseops.incidents.v1`: keeps the incidents' states, starts workflows
//! and escalations, and ends them when somebody takes the incident.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use moka::sync::Cache;
use platform::bus::{Delivered, TopicSpec};
use platform::consumer::{After, BatchCtx, Handler};
use platform::error::{Error, Result};
use platform::leased::{Claim, Handle};
use prost::Message;
use proto::events::v1::IncidentEvent;
use proto::topics;
use uuid::Uuid;

use crate::condition::Condition;
use crate::convert;
use crate::engine::State;
use crate::executor::Fresh;
use crate::policies;
use crate::program::Program;
use crate::response::{self, Candidate, Catalog, Event, Key, Plan, Rules};
use crate::store::runs::{self, Cancelled, Run};
use crate::store::steps::{self, RunStep};
use crate::store::{policies as policy_rows, states, workflows as workflow_rows};

/// Name of the consumer.
pub const RESPONDER: &str = "responder";
/// What it reads: every step of every incident's life, keyed by incident.
pub const INCIDENTS: TopicSpec =
    TopicSpec::new(topics::INCIDENTS.name, topics::INCIDENTS.partitions, topics::INCIDENTS.retention_ms);

/// Compiled workflows, by id and version.
type Compiled = Cache<(Uuid, i64), Arc<Candidate>>;

/// The consumer.
pub struct Responder {
    built_in: Program,
    max_depth: u32,
    compiled: Compiled,
    fresh: Fresh,
    driver: Handle,
}

impl Responder {
    /// A consumer whose runs are performed by `driver`.
    pub fn new(built_in: Program, max_depth: u32, fresh: Fresh, driver: Handle) -> Self {
        Self { built_in, max_depth, compiled: Cache::new(10_000), fresh, driver }
    }

    async fn catalog(&self, conn: &mut AsyncPgConnection, events: &[Event]) -> Result<Catalog> {
        let orgs: BTreeSet<Uuid> = events.iter().map(|event| event.key.0).collect();
        let orgs: Vec<Uuid> = orgs.into_iter().collect();
        let triggers: BTreeSet<&str> = events.iter().map(|event| event.what.as_str()).collect();
        let triggers: Vec<&str> = triggers.into_iter().collect();
        let mut catalog = Catalog::default();
        for row in workflow_rows::triggered_of_all(conn, &orgs, &triggers).await? {
            let org = row.org_id;
            if let Some(candidate) = self.candidate(row)? {
                catalog.workflows.entry(org).or_default().push(candidate);
            }
        }
        let ids: BTreeSet<Uuid> = events.iter().filter_map(policy_id).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        for row in policy_rows::find_of_all(conn, &ids).await? {
            let program = policies::program(&row)?;
            catalog.policies.insert((row.org_id, row.id), (row.name, program));
        }
        Ok(catalog)
    }

    /// The compiled form of a workflow. One that does not compile any more, which saving prevents,
    /// must not stand in the way of paging: it is left out, and told.
    fn candidate(&self, row: workflow_rows::Workflow) -> Result<Option<Arc<Candidate>>> {
        let key = (row.id, row.version);
        if let Some(known) = self.compiled.get(&key) {
            return Ok(Some(known));
        }
        let condition = match Condition::compile(&row.condition) {
            Ok(condition) => condition,
            Err(refused) => {
                tracing::error!(workflow.id = %row.id, %refused, "a stored condition does not compile");
                return Ok(None);
            }
        };
        let candidate = Arc::new(Candidate {
            condition,
            triggers: row.triggers.clone(),
            service_ids: row.service_ids.clone(),
            hold_paging: TimeDelta::milliseconds(row.hold_paging_ms),
            id: row.id,
            name: row.name.clone(),
            program: Program::of_workflow(&convert::workflow(row)?.steps),
        });
        self.compiled.insert(key, candidate.clone());
        Ok(Some(candidate))
    }

    async fn carry_out(&self, cx: &BatchCtx, conn: &mut AsyncPgConnection, plan: Plan) -> Result<After> {
        let states: Vec<_> = plan.states.into_values().collect();
        states::upsert_of_all(conn, &states).await?;
        cancel(cx, conn, &plan.cancels).await?;
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
        let claims: Vec<Claim> = born.iter().map(claim).collect();
        let (fresh, driver) = (self.fresh.clone(), self.driver.clone());
        Ok(After::call(move || {
            fresh.put(born);
            driver.run_now(claims);
        }))
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
        let events: Vec<Event> = batch.iter().filter_map(event).collect::<Result<_>>()?;
        let keys: BTreeSet<Key> = events.iter().map(|event| event.key).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(After::none());
        }
        let applied = states::versions_of_all(conn, &keys).await?;
        let catalog = self.catalog(conn, &events).await?;
        let plan = {
            let rules = Rules {
                catalog: &catalog,
                built_in: &self.built_in,
                max_depth: self.max_depth,
                now: cx.now,
                source: &cx.source,
            };
            response::decide(&events, &applied, &rules)?
        };
        self.carry_out(cx, conn, plan).await
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

fn policy_id(event: &Event) -> Option<Uuid> {
    event.payload.policy.as_ref().and_then(|policy| policy.id.parse().ok())
}

fn claim(run: &Run) -> Claim {
    Claim { org: run.org_id.into(), id: run.id, epoch: run.epoch, attempts: run.attempts }
}

fn count_started(run: &Run) {
    metrics::counter!("pulseops_workflow_runs_started_total", "kind" => run.kind.clone()).increment(1);
}

/// Ends the runs of incidents that somebody has taken, each with a step that says why.
async fn cancel(cx: &BatchCtx, conn: &mut AsyncPgConnection, cancels: &[response::Cancel]) -> Result<()> {
    let keys: BTreeSet<Key> = cancels.iter().map(|cancel| cancel.key).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let why: HashMap<Key, Vec<&response::Cancel>> = cancels.iter().fold(HashMap::new(), |mut map, it| {
        map.entry(it.key).or_insert_with(Vec::new).push(it);
        map
    });
    let (mut ended, mut records) = (Vec::new(), Vec::new());
    for run in runs::lock_incidents_of_all(conn, &keys).await? {
        let reasons = why.get(&(run.org_id, run.incident_id)).into_iter().flatten();
        let Some(cancel) = reasons.copied().find(|cancel| cancel.ends(&run)) else { continue };
        let program: Program = serde_json::from_value(run.program.clone()).map_err(Error::internal)?;
        let mut state: State = serde_json::from_value(run.state.clone()).map_err(Error::internal)?;
        // One that came to its end and only owes timeline entries keeps its own end.
        let Some(record) = state.cancel(&program, &cancel.why) else { continue };
        let began = run.started_at.unwrap_or(cx.now);
        records.push(RunStep::new(run.org_id, cx.source.id(), run.id, record, began, cx.now));
        metrics::counter!("pulseops_workflow_runs_ended_total", "status" => "cancelled").increment(1);
        let state = serde_json::to_value(&state).map_err(Error::internal)?;
        ended.push(Cancelled { org_id: run.org_id, id: run.id, state, detail: cancel.why.clone() });
    }
    if !ended.is_empty() {
        steps::insert(conn, &records).await?;
        runs::cancel_of_all(conn, ended, cx.now).await?;
    }
    Ok(())
}
