//! The rows that a request becomes: pure.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use platform::ctx::Ctx;
use platform::leased::{self, Claim};
use uuid::Uuid;

use super::request::Request;
use crate::channels::Destination;
use crate::delivery::Job;
use crate::ids::{MessageId, NotificationId};
use crate::kinds::{Kind, Status};
use crate::notes::{self, Note};
use crate::store::attempts::Attempt;
use crate::store::messages::Message;
use crate::store::notifications::{NewNotification, Notification};
use crate::store::order::Turn;
use crate::targets::{LeftOut, Resolved, Told, Via};

/// Names that a note shows of those who are left out for one reason.
const MAX_NAMES: usize = 8;

/// Rows ready to be inserted.
pub struct Plan {
    pub message: Message,
    pub notifications: Vec<NewNotification>,
    pub attempts: Vec<Attempt>,
    pub begun: Vec<Begun>,
    /// Kinds of those that are over before they begin: a later word has gone to their destination.
    pub overtaken: Vec<Kind>,
    /// Whom the message leaves out, when no delivery of this plan can tell it.
    pub notes: Option<serde_json::Value>,
}

/// A delivery whose first attempt is claimed.
pub struct Begun {
    pub claim: Claim,
    pub job: Job,
    pub to: Result<Destination, &'static str>,
}

impl Plan {
    /// One delivery for each of those told. Those whose turn has not come wait for `order_wait` at
    /// most; whose turn is over is not sent. One of them tells who is left out: the first that goes.
    pub fn new(
        cx: &Ctx,
        request: &Request,
        message: Message,
        resolved: &Resolved,
        turns: &HashMap<String, Turn>,
        order_wait: TimeDelta,
    ) -> Self {
        let mut plan = Self {
            message,
            notifications: Vec::new(),
            attempts: Vec::new(),
            begun: Vec::new(),
            overtaken: Vec::new(),
            notes: None,
        };
        let now = cx.source.now();
        let about = request.about.map(|about| about.incident_id);
        let mut notes = about.and_then(|incident| notes::write(&notes_of(incident, &resolved.left_out)));
        for told in &resolved.told {
            let mut row = notification(cx, request, &plan.message, told, now);
            let turn = turns.get(&row.order_key).copied().unwrap_or(Turn::Now);
            if turn != Turn::Never {
                row.notes = notes.take();
            }
            match turn {
                Turn::Now => plan.begin(row, told, now),
                Turn::After(since) => plan.wait(row, since + order_wait),
                Turn::Never => plan.cancel(row, now),
            }
        }
        match (notes, plan.notifications.last_mut()) {
            (Some(notes), Some(last)) => (last.row.notes, last.row.due_at) = (Some(notes), Some(now)),
            (notes, _) => plan.notes = notes,
        }
        plan
    }

    /// The deliveries, in the order in which they were made.
    pub fn rows(&self) -> impl Iterator<Item = &Notification> + Clone {
        self.notifications.iter().map(|new| &new.row)
    }

    fn begin(&mut self, mut row: Notification, told: &Told, now: DateTime<Utc>) {
        let birth = leased::birth(now);
        row.due_at = Some(birth.due_at);
        let attempt = Attempt::started(&row, 1, birth.epoch, birth.due_at);
        self.attempts.push(attempt.clone());
        let job = Job { row: row.clone(), message: self.message.clone(), attempt };
        let claim = birth.claim(row.org_id, row.id.uuid());
        self.begun.push(Begun { claim, job, to: told.way.to.clone() });
        self.notifications.push(NewNotification {
            row,
            lease_until: Some(birth.lease_until),
            epoch: birth.epoch,
            attempts: birth.attempts,
        });
    }

    fn wait(&mut self, mut row: Notification, until: DateTime<Utc>) {
        row.due_at = Some(until);
        self.notifications.push(NewNotification { row, lease_until: None, epoch: 0, attempts: 0 });
    }

    fn cancel(&mut self, mut row: Notification, now: DateTime<Utc>) {
        self.overtaken.push(row.kind);
        row.status = Status::Cancelled;
        row.ended_at = Some(now);
        self.notifications.push(NewNotification { row, lease_until: None, epoch: 0, attempts: 0 });
    }
}

/// The message that `request` asks for. Unless it is `complete`, the request comes again.
pub fn message(cx: &Ctx, request: &Request, complete: bool) -> Message {
    Message {
        org_id: cx.org,
        id: MessageId(cx.id()),
        send_key: request.key.clone(),
        subject: request.content.subject.clone(),
        text_body: request.content.text.clone(),
        json_body: request.content.json.clone(),
        incident_id: request.about.map(|about| about.incident_id),
        run_id: request.about.map(|about| about.run_id),
        nobody_reachable: false,
        actor_kind: request.actor.kind,
        actor_id: request.actor.id.clone(),
        actor_name: request.actor.name.clone(),
        trace: cx.trace.to_string(),
        created_at: cx.source.now(),
        complete,
        carries_code: request.carries_code,
    }
}

fn notification(
    cx: &Ctx,
    request: &Request,
    message: &Message,
    told: &Told,
    now: DateTime<Utc>,
) -> Notification {
    let (channel_id, contact_method_id) = match told.way.via {
        Via::Channel(id) => (Some(id), None),
        Via::Method(id) => (None, Some(id)),
        Via::ServerLog => (None, None),
    };
    Notification {
        org_id: cx.org,
        id: NotificationId(cx.id()),
        key: told.key(&request.key),
        message_id: message.id,
        status: Status::Pending,
        kind: told.way.kind,
        channel_id,
        contact_method_id,
        user_id: told.user,
        recipient: told.names.join(", "),
        address_shown: told.way.address_shown.clone(),
        incident_id: message.incident_id,
        run_id: message.run_id,
        order_key: request.order_key(told),
        sequence: request.sequence,
        decided_at: request.decided_at,
        decided_status: request.about.and_then(|about| about.status),
        spent: 0,
        failing_told: false,
        notes: None,
        created_at: now,
        delivered_at: None,
        ended_at: None,
        due_at: None,
    }
}

/// One note for each method and reason, in a stable order.
fn notes_of(incident: Uuid, left_out: &[LeftOut]) -> Vec<Note> {
    let mut reasons: Vec<(&str, &str)> = left_out.iter().map(|it| (it.method, it.why)).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let note = |(method, why): (&str, &str)| {
        let same = left_out.iter().filter(|it| (it.method, it.why) == (method, why));
        let mut names: Vec<&str> = same.map(|it| it.recipient.as_str()).collect();
        names.sort_unstable();
        let mut recipient = names[..names.len().min(MAX_NAMES)].join(", ");
        if names.len() > MAX_NAMES {
            recipient = format!("{recipient} and {} more", names.len() - MAX_NAMES);
        }
        Note::of_left_out(incident, recipient, method, why)
    };
    reasons.into_iter().map(note).collect()
}
