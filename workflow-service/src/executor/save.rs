//! What a run's progress writes, under the run's lock and lease.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use platform::leased::{self, Claim, Outcome};
use platform::tx;
use uuid::Uuid;

use super::live::{Live, lost};
use super::{Executor, escalation};
use crate::backoff::Backoff;
use crate::engine::{EndStatus, Next};
use crate::store::runs::{self, Progress, Run, TABLE};
use crate::store::steps::{self, RunStep};

impl Executor {
    /// Commits what has come of operations so far; the lease stays.
    ///
    /// # Errors
    /// Conflict `lease_lost` when the run belongs to somebody else, or was cancelled.
    pub(super) async fn save(&self, cx: &Ctx, claim: &Claim, live: &mut Live) -> Result<()> {
        let this = &*live;
        let (rows, nudges) = tx!(self.db, cx, |conn| {
            let own = self.lock(conn, claim, this).await?;
            let rows = self.write_progress(cx, conn, &own, this).await?;
            Ok((rows, own.nudges))
        })?;
        live.row.nudges = nudges;
        live.row.hold_until =
            live.row.hold_until.filter(|_| !live.kept.iter().any(|kept| kept.effects.releases));
        live.saved(rows);
        Ok(())
    }

    /// Lets the run go: until its next operation, until another try of its timeline entries, or for
    /// good.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub(super) async fn close(&self, cx: &Ctx, claim: &Claim, live: &mut Live) -> Result<()> {
        let retry = Backoff::PEER.delay(claim.attempts.unsigned_abs(), self.source.f64());
        let retry = TimeDelta::from_std(retry).unwrap_or(TimeDelta::seconds(1));
        let this = &*live;
        let ended = tx!(self.db, cx, |conn| {
            let own = self.lock(conn, claim, this).await?;
            if this.is_unsaved() {
                self.write_progress(cx, conn, &own, this).await?;
            }
            let now = self.source.now();
            let written: Vec<Uuid> = this.written.iter().map(|step| step.id).collect();
            steps::noted(conn, own.org_id, &written, now).await?;
            // Also what a step that lost its lease may have left behind meanwhile.
            let owed = !steps::owed(conn, own.org_id, own.id).await?.is_empty();
            let outcome = match this.state.next(&this.program, own.nudges, now) {
                Next::Perform(_) => Outcome::Next(now),
                Next::Rest(due) if owed => Outcome::Again(due.min(now + retry)),
                Next::Rest(due) => Outcome::Next(due),
                Next::Ended if owed => Outcome::Again(now + retry),
                Next::Ended => Outcome::Done,
            };
            let ended = outcome == Outcome::Done;
            if ended {
                end(conn, &own, this, now).await?;
            }
            leased::finish(conn, TABLE, claim, outcome).await?;
            Ok(ended)
        })?;
        if let Some(end) = live.state.end.as_ref().filter(|_| ended && live.row.status != "cancelled") {
            metrics::counter!("pulseops_workflow_runs_ended_total", "status" => end.status.as_str())
                .increment(1);
        }
        Ok(())
    }

    /// Writes down what was under way when somebody took the incident: it was done, whatever
    /// became of the run. Nothing else of a lost lease is recorded.
    pub(super) async fn record_late(&self, cx: &Ctx, live: &mut Live) -> Result<()> {
        let this = &*live;
        if this.kept.iter().all(|kept| kept.effects.record.is_none()) {
            return Ok(());
        }
        tx!(self.db, cx, |conn| {
            let Some(own) = runs::lock(conn, this.row.org_id, this.row.id).await? else { return Ok(()) };
            if own.status == "cancelled" {
                let rows: Vec<RunStep> = this.kept.iter().filter_map(|kept| kept.row(cx, &own)).collect();
                steps::insert(conn, &rows).await?;
                runs::make_due(conn, own.org_id, own.id, self.source.now()).await?;
            }
            Ok(())
        })
    }

    /// The run's row under this claim, locked; with every other run of the incident when they may
    /// change too, in the order in which everybody locks them.
    async fn lock(&self, conn: &mut AsyncPgConnection, claim: &Claim, live: &Live) -> Result<Run> {
        let others = live.kept.iter().any(|kept| kept.effects.releases || kept.effects.escalates.is_some());
        if others {
            runs::lock_incident(conn, live.row.org_id, live.row.incident_id).await?;
        }
        let own = runs::lock(conn, live.row.org_id, live.row.id).await?;
        own.filter(|own| own.epoch == claim.epoch).ok_or_else(lost)
    }

    async fn write_progress(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        own: &Run,
        live: &Live,
    ) -> Result<Vec<RunStep>> {
        let mut rows = Vec::with_capacity(live.kept.len());
        for kept in &live.kept {
            if kept.effects.releases {
                escalation::release(conn, own, self.source.now()).await?;
            }
            let mut row = kept.row(cx, own);
            if let (Some(policy), Some(row)) = (kept.effects.escalates, &mut row) {
                let detail = self.start_escalation(cx, conn, own, live, policy, row).await?;
                row.detail = detail.to_owned();
            }
            rows.extend(row);
        }
        steps::insert(conn, &rows).await?;
        let end = live.state.end.as_ref();
        let cancelled = end.is_some_and(|end| end.status == EndStatus::Cancelled);
        let now = self.source.now();
        let progress = Progress {
            status: if cancelled { EndStatus::Cancelled.as_str() } else { "running" }.to_owned(),
            state: serde_json::to_value(&live.state).map_err(Error::internal)?,
            started_at: Some(own.started_at.unwrap_or(now)),
            ended_at: cancelled.then_some(now),
            detail: end.map(|end| end.detail.clone()),
        };
        runs::advance(conn, own.org_id, own.id, &progress).await?;
        Ok(rows)
    }
}

async fn end(conn: &mut AsyncPgConnection, own: &Run, live: &Live, now: DateTime<Utc>) -> Result<()> {
    let Some(end) = &live.state.end else { return Ok(()) };
    let progress = Progress {
        status: end.status.as_str().to_owned(),
        state: serde_json::to_value(&live.state).map_err(Error::internal)?,
        started_at: own.started_at,
        ended_at: Some(own.ended_at.unwrap_or(now)),
        detail: Some(end.detail.clone()),
    };
    runs::advance(conn, own.org_id, own.id, &progress).await
}
