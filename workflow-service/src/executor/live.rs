use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Cause, Ctx, OrgId, Trace};
use platform::error::{Error, Result};
use platform::leased::{Claim, LEASE_LOST};
use platform::source::Source;
use prost::Message;
use proto::events::v1::IncidentEvent;

use crate::engine::{Effects, Record, State};
use crate::peers::ROLE;
use crate::program::Program;
use crate::store::runs::{self, Run};
use crate::store::states::{self, IncidentState};
use crate::store::steps::{self, RunStep};

/// A run in the hands of this process.
pub(super) struct Live {
    pub(super) row: Run,
    pub(super) program: Program,
    pub(super) state: State,
    pub(super) incident: IncidentEvent,
    /// What we have last heard of the incident; `None` for a fresh run, whose event says it.
    pub(super) heard: Option<IncidentState>,
    /// Steps whose timeline entry is owed, committed.
    pub(super) owed: Vec<RunStep>,
    /// Those of them that are written by now.
    pub(super) written: Vec<RunStep>,
    /// What has come of operations and is not committed yet.
    pub(super) kept: Vec<Kept>,
    pub(super) now: DateTime<Utc>,
    saved: State,
}

/// Effects of an operation, with its times.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) effects: Effects,
    pub(super) began: DateTime<Utc>,
    pub(super) ended: DateTime<Utc>,
}

impl Kept {
    /// The row of its record, when it has one.
    pub(super) fn row(&self, cx: &Ctx, run: &Run) -> Option<RunStep> {
        let record = self.effects.record.clone()?;
        Some(RunStep::new(run.org_id, cx.id(), run.id, record, self.began, self.ended))
    }
}

impl Live {
    /// Reads a claimed run.
    pub(super) async fn load(conn: &mut AsyncPgConnection, claim: &Claim) -> Result<Self> {
        let row = runs::get(conn, claim.org.uuid(), claim.id).await?;
        if row.epoch != claim.epoch {
            return Err(lost());
        }
        let owed = steps::owed(conn, row.org_id, row.id).await?;
        let heard = states::find(conn, row.org_id, row.incident_id).await?;
        let now = runs::database_now(conn).await?;
        Ok(Self { heard, ..Self::new(row, owed, false, now)? })
    }

    pub(super) fn new(row: Run, owed: Vec<RunStep>, fresh: bool, now: DateTime<Utc>) -> Result<Self> {
        let state: State = serde_json::from_value(row.state.clone()).map_err(Error::internal)?;
        tracing::debug!(run.id = %row.id, run.kind = row.kind, fresh, op = state.op, "a run goes on");
        Ok(Self {
            program: serde_json::from_value(row.program.clone()).map_err(Error::internal)?,
            incident: IncidentEvent::decode(row.incident.as_slice()).map_err(Error::internal)?,
            saved: state.clone(),
            state,
            heard: None,
            owed,
            written: Vec::new(),
            kept: Vec::new(),
            now,
            row,
        })
    }

    /// The context of its calls: this service, because of the event that started the run.
    pub(super) fn ctx(&self, source: &Source) -> Ctx {
        let trace = Trace::parse(&self.row.trace).unwrap_or_else(|| Trace::new(source));
        let depth = u32::try_from(self.row.depth).unwrap_or(0);
        let cause = Cause { event: self.row.trigger_event, depth };
        Ctx::service(ROLE, OrgId(self.row.org_id), source.clone(), trace, Some(cause))
    }

    /// Position of the operation.
    pub(super) fn path(&self) -> &str {
        &self.state.path
    }

    pub(super) fn keep(&mut self, effects: Effects, began: DateTime<Utc>, ended: DateTime<Utc>) {
        self.kept.push(Kept { effects, began, ended });
    }

    /// Keeps a record beside that of the operation.
    pub(super) fn keep_record(&mut self, record: Record, at: DateTime<Utc>) {
        let effects = Effects { record: Some(record), ..Effects::default() };
        self.keep(effects, at, at);
    }

    pub(super) fn is_unsaved(&self) -> bool {
        !self.kept.is_empty() || self.saved != self.state
    }

    /// Everything kept is committed, as `owed` where the timeline waits for it.
    pub(super) fn saved(&mut self, rows: Vec<RunStep>) {
        self.kept.clear();
        self.saved = self.state.clone();
        self.owed.extend(rows.into_iter().filter(|row| row.entry.is_some()));
    }

    pub(super) fn owes_entries(&self) -> bool {
        let unsaved = self.kept.iter().filter_map(|kept| kept.effects.record.as_ref());
        !self.owed.is_empty() || unsaved.into_iter().any(|record| record.entry.is_some())
    }

    /// Why the incident needs nobody any more, as far as we have heard.
    pub(super) fn taken(&self) -> Option<String> {
        let heard = self.heard.as_ref()?;
        let newer = heard.version > self.row.trigger_version;
        (newer && heard.status != "triggered").then(|| format!("the incident is {}", heard.status))
    }
}

/// The run belongs to somebody else by now.
pub(super) fn lost() -> Error {
    Error::conflict(LEASE_LOST, "somebody else has taken over this run")
}
