//! How an incident's timeline hears of a delivery: after its end, once for each, however often it is
//! told. Until that has worked the row stays due.

use chrono::TimeDelta;
use platform::ctx::Ctx;
use platform::error::{Error, Kind, Result};
use platform::leased::{self, Claim, Outcome, Work};
use proto::api::v1::Actor;
use proto::incident::v1::record_step_request::Data;
use proto::incident::v1::{NotificationData, RecordStepRequest, TimelineKind};

use super::{Deliverer, Job};
use crate::kinds::Status;
use crate::store::notifications::Notification;

/// Shortest and longest wait before an ended delivery tells the timeline again.
const NOTE_PAUSES: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::seconds(60));
/// A timeline that cannot be told for this long is given up.
const NOTE_PATIENCE: TimeDelta = TimeDelta::hours(24);

impl Deliverer {
    /// Tells the incident's timeline how the delivery ended; until that has worked the row is due.
    pub(super) async fn note(&self, claim: &Claim, job: &Job) -> Result<()> {
        let cx = self.context(job);
        let outcome = match self.tell(&cx, job).await {
            Ok(()) => Outcome::Done,
            Err(error) => self.tell_later(job, &error),
        };
        platform::failpoint!("delivery.after_note");
        platform::tx!(self.db, &cx, |conn| {
            leased::finish(conn, Self::TABLE, claim, outcome.clone()).await
        })
    }

    async fn tell(&self, cx: &Ctx, job: &Job) -> Result<()> {
        if !is_told(&job.row, job.row.status) {
            return Ok(());
        }
        let key = format!("{}:note:{}", job.row.key, job.attempt.number);
        self.peers.record_step(cx, &key, timeline_step(job)).await
    }

    fn tell_later(&self, job: &Job, error: &Error) -> Outcome {
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
        tracing::debug!(notification.id = %job.row.id, error = %error.chain(), "the timeline is told later");
        let (shortest, longest) = NOTE_PAUSES;
        Outcome::Again(self.source.now() + ended_for.clamp(shortest, longest))
    }
}

/// Whether an incident's timeline is to have a delivery that ended so.
pub(super) fn is_told(row: &Notification, status: Status) -> bool {
    row.incident_id.is_some() && matches!(status, Status::Delivered | Status::Dead)
}

fn timeline_step(job: &Job) -> RecordStepRequest {
    let kind = match job.row.status {
        Status::Delivered => TimelineKind::Notified,
        Status::Pending | Status::Dead | Status::Cancelled => TimelineKind::NotificationFailed,
    };
    let message = &job.message;
    RecordStepRequest {
        incident_id: job.row.incident_id.map(|id| id.to_string()).unwrap_or_default(),
        kind: kind.into(),
        actor: Some(Actor {
            kind: message.actor_kind,
            id: message.actor_id.clone(),
            name: message.actor_name.clone(),
        }),
        at: job.row.ended_at.map(proto::time::to_timestamp),
        data: Some(Data::Notification(NotificationData {
            notification_id: job.row.id.to_string(),
            method: job.row.kind.as_str().to_owned(),
            recipient: job.row.recipient.clone(),
            outcome: job.row.status.as_str().to_owned(),
            detail: job.attempt.detail.clone(),
        })),
    }
}
