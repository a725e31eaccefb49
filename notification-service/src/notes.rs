//! What an incident's timeline is told, as it can wait in a row.

use chrono::{DateTime, Utc};
use platform::secret::sha256_hex;
use proto::api::v1::Actor;
use proto::incident::v1::RecordStepRequest;
use proto::incident::v1::record_step_request::Data;
use proto::incident::v1::{NoteData, NotificationData, TimelineKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::kinds::{AttemptOutcome, Kind, Status};
use crate::store::attempts::Attempt;
use crate::store::notifications::Notification;

/// Outcome of somebody who is named and not told this way.
const LEFT_OUT: &str = "left_out";

/// One entry of a timeline; told again under the same key it is the same entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub key: String,
    /// Empty: about no delivery in particular.
    notification_id: String,
    method: String,
    recipient: String,
    outcome: String,
    detail: String,
}

impl Note {
    /// How a delivery ended with its last attempt.
    pub fn of_end(row: &Notification, last: &Attempt) -> Self {
        let detail = match last.outcome {
            AttemptOutcome::Started => "how its last attempts ended is not known".to_owned(),
            _ => last.detail.clone(),
        };
        let key = format!("{}:note:{}", row.key, last.number);
        Self::of(row, key, row.status.as_str(), detail)
    }

    /// That the attempts of this budget fail and go on.
    pub fn of_failing(row: &Notification, failed: &Attempt) -> Self {
        let key = format!("{}:failing:{}", row.key, row.spent);
        Self::of(row, key, "retrying", format!("{}; it is tried again", failed.detail))
    }

    /// Whom a message leaves out. The same people for the same reason are told once an incident, not
    /// at every level.
    pub fn of_left_out(incident: Uuid, recipient: String, method: &str, why: &str) -> Self {
        let what = sha256_hex(format!("{incident}\0{method}\0{recipient}\0{why}").as_bytes());
        Self {
            key: format!("left-out:{}", &what[..32]),
            notification_id: String::new(),
            method: method.to_owned(),
            recipient,
            outcome: LEFT_OUT.to_owned(),
            detail: why.to_owned(),
        }
    }

    fn of(row: &Notification, key: String, outcome: &str, detail: String) -> Self {
        Self {
            key,
            notification_id: row.id.to_string(),
            method: row.kind.as_str().to_owned(),
            recipient: row.recipient.clone(),
            outcome: outcome.to_owned(),
            detail,
        }
    }

    /// The entry's kind. Whom a message leaves out is no failure: others have it.
    fn kind(&self) -> TimelineKind {
        match Status::parse(&self.outcome) {
            Some(Status::Delivered) => TimelineKind::Notified,
            _ if self.outcome == LEFT_OUT => TimelineKind::Note,
            _ => TimelineKind::NotificationFailed,
        }
    }

    /// The entry on the timeline of `incident`.
    pub fn step(self, incident: Uuid, actor: Actor, at: Option<DateTime<Utc>>) -> RecordStepRequest {
        RecordStepRequest {
            incident_id: incident.to_string(),
            kind: self.kind().into(),
            actor: Some(actor),
            at: at.map(proto::time::to_timestamp),
            data: Some(self.data()),
        }
    }

    fn data(self) -> Data {
        if self.outcome == LEFT_OUT {
            let by = Kind::parse(&self.method).map_or(String::new(), |kind| format!(" by {}", kind.as_str()));
            return Data::Note(NoteData {
                text: format!("not told{by}: {} ({})", self.recipient, self.detail),
            });
        }
        Data::Notification(NotificationData {
            notification_id: self.notification_id,
            method: self.method,
            recipient: self.recipient,
            outcome: self.outcome,
            detail: self.detail,
        })
    }
}

/// The notes that wait in a row.
pub fn read(waiting: Option<&Value>) -> Vec<Note> {
    waiting.and_then(|notes| Vec::deserialize(notes).ok()).unwrap_or_default()
}

/// Notes for a row; `None` when there are none.
pub fn write(notes: &[Note]) -> Option<Value> {
    let notes = Some(notes).filter(|notes| !notes.is_empty())?;
    Some(serde_json::to_value(notes).expect("strings are JSON"))
}
