//! What an incident's timeline hears of a delivery, always after an attempt: that attempts fail, once;
//! how it ended; and what waits in its row. An ended row stays due until that is told, however
//! often it takes; each thing is told under a key of its own.

use chrono::TimeDelta;
use platform::ctx::Ctx;
use platform::error::{Error, Kind, Result};
use platform::leased::{self, Claim, Outcome, Work};
use proto::api::v1::Actor;

use super::{Deliverer, Past};
use crate::kinds::{AttemptOutcome, Status};
use crate::notes::{self, Note};
use crate::store::notifications::{self, Notification};

/// Shortest and longest wait before an ended delivery tells the timeline again.
const NOTE_PAUSES: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::seconds(60));
/// A timeline that cannot be told for this long is given up.
const NOTE_PATIENCE: TimeDelta = TimeDelta::hours(24);

impl Deliverer {
    /// Tells the incident's timeline what it is owed by now.
    pub(super) async fn note(&self, claim: &Claim, job: &Past) -> Result<()> {
        let cx = self.context(job.row.org_id, &job.message);
        if job.row.status == Status::Pending {
            return self.note_on_the_way(&cx, job).await;
        }
        if !is_owed(&job.row, job.row.status) {
            return Ok(());
        }
        let told = match (self.tell_waiting(&cx, job).await, &job.last) {
            (Ok(_), Some(last)) if is_end_told(&job.row, job.row.status) => {
                self.tell(&cx, job, Note::of_end(&job.row, last)).await
            }
            (told, _) => told.map(drop),
        };
        let outcome = told.map_or_else(|error| self.tell_later(job, &error), |()| Outcome::Done);
        platform::failpoint!("delivery.after_note");
        platform::tx!(self.db, &cx, |conn| {
            if outcome == Outcome::Done {
                notifications::mark_told(conn, &job.row, false, job.row.notes.is_some()).await?;
                return self.done(conn, claim).await;
            }
            leased::finish(conn, Self::TABLE, claim, outcome.clone()).await
        })
    }

    /// The row waits for its next attempt and may be somebody else's by now. What cannot be told is
    /// told after that attempt.
    async fn note_on_the_way(&self, cx: &Ctx, job: &Past) -> Result<()> {
        let failing = self.tell_failing(cx, job).await.unwrap_or_else(|error| not_yet(job, &error));
        let waiting = self.tell_waiting(cx, job).await.unwrap_or_else(|error| not_yet(job, &error));
        if !failing && !waiting {
            return Ok(());
        }
        platform::tx!(self.db, cx, |conn| {
            notifications::mark_told(conn, &job.row, failing, waiting).await
        })
    }

    /// That attempts fail and go on; whether it has been told just now.
    async fn tell_failing(&self, cx: &Ctx, job: &Past) -> Result<bool> {
        let (row, Some(attempt)) = (&job.row, &job.last) else { return Ok(false) };
        if row.failing_told || row.incident_id.is_none() || attempt.outcome != AttemptOutcome::Failed {
            return Ok(false);
        }
        told_before(self.tell(cx, job, Note::of_failing(row, attempt)).await)?;
        Ok(true)
    }

    /// The notes that wait in the row; whether there were any.
    async fn tell_waiting(&self, cx: &Ctx, job: &Past) -> Result<bool> {
        for note in notes::read(job.row.notes.as_ref()) {
            told_before(self.tell(cx, job, note).await)?;
        }
        Ok(job.row.notes.is_some())
    }

    async fn tell(&self, cx: &Ctx, job: &Past, note: Note) -> Result<()> {
        let Some(incident) = job.row.incident_id else { return Ok(()) };
        let message = &job.message;
        let actor = Actor {
            kind: message.actor_kind,
            id: message.actor_id.clone(),
            name: message.actor_name.clone(),
        };
        let key = note.key.clone();
        let at = job.row.ended_at.or_else(|| job.last.as_ref()?.ended_at);
        self.peers.record_step(cx, &key, note.step(incident, actor, at)).await
    }

    fn tell_later(&self, job: &Past, error: &Error) -> Outcome {
        let ended_for = self.source.now() - job.row.ended_at.unwrap_or(job.row.created_at);
        let hopeless = matches!(error.kind, Kind::NotFound | Kind::Invalid);
        if hopeless || ended_for > NOTE_PATIENCE {
            metrics::counter!("pulseops_notification_notes_given_up_total").increment(1);
            tracing::warn!(
                notification.id = %job.row.id, error = %error.chain(),
                "the incident's timeline will not have this delivery"
            );
            return Outcome::Done;
        }
        not_yet(job, error);
        let (shortest, longest) = NOTE_PAUSES;
        Outcome::Again(self.source.now() + ended_for.clamp(shortest, longest))
    }
}

/// Whether a delivery that ended so owes the timeline something.
pub(super) fn is_owed(row: &Notification, status: Status) -> bool {
    is_end_told(row, status) || row.notes.is_some()
}

fn is_end_told(row: &Notification, status: Status) -> bool {
    row.incident_id.is_some() && matches!(status, Status::Delivered | Status::Dead)
}

/// A key that was used with other words has told the same thing before; an incident that is gone has
/// no timeline.
fn told_before(answer: Result<()>) -> Result<()> {
    answer.or_else(|error| match error.kind {
        Kind::Invalid | Kind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn not_yet(job: &Past, error: &Error) -> bool {
    tracing::debug!(notification.id = %job.row.id, error = %error.chain(), "the timeline is told later");
    false
}
