//! The rows that a request becomes.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::leased::{self, Birth, Claim};
use uuid::Uuid;

use super::Request;
use crate::delivery::Job;
use crate::ids::{MessageId, NotificationId};
use crate::kinds::Status;
use crate::render;
use crate::store;
use crate::store::channels::Channel;
use crate::store::messages::Message;
use crate::store::notifications::{Attempt, NewNotification, Notification};
use crate::targets::{Sealed, Told, Via, Way};

/// How soon a delivery looks again whether what goes before it is done.
pub const ORDER_PAUSE: TimeDelta = TimeDelta::milliseconds(500);

/// Rows ready to be inserted.
pub(super) struct Plan {
    pub notifications: Vec<NewNotification>,
    pub attempts: Vec<Attempt>,
    pub begun: Vec<Begun>,
}

/// A delivery whose first attempt is claimed.
pub(super) struct Begun {
    pub claim: Claim,
    pub job: Job,
    pub via: Via,
    pub sealed: Sealed,
}

impl Plan {
    /// One delivery for each of `told`; those whose order key is in `blocked` wait their turn.
    pub fn new(cx: &Ctx, request: &Request, message: &Message, told: &[Told], blocked: &[String]) -> Self {
        let mut plan = Self { notifications: Vec::new(), attempts: Vec::new(), begun: Vec::new() };
        let now = cx.source.now();
        for told in told {
            let row = notification(cx, request, message, told, now);
            match blocked.contains(&row.order_key) {
                true => plan.wait(row, now),
                false => plan.begin(row, message, &told.way, leased::birth(now)),
            }
        }
        plan
    }

    fn begin(&mut self, row: Notification, message: &Message, way: &Way, birth: Birth) {
        let attempt = Attempt::started(&row, 1, birth.epoch, birth.due_at);
        self.attempts.push(attempt.clone());
        let job = Job { row: row.clone(), message: message.clone(), attempt };
        let claim = birth.claim(row.org_id, row.id.uuid());
        self.begun.push(Begun { claim, job, via: way.via, sealed: way.sealed.clone() });
        self.notifications.push(born(row, birth));
    }

    fn wait(&mut self, mut row: Notification, now: DateTime<Utc>) {
        row.due_at = Some(now + ORDER_PAUSE);
        self.notifications.push(NewNotification { row, lease_until: None, epoch: 0, attempts: 0 });
    }
}

fn born(row: Notification, birth: Birth) -> NewNotification {
    NewNotification {
        row: Notification { due_at: Some(birth.due_at), ..row },
        lease_until: Some(birth.lease_until),
        epoch: birth.epoch,
        attempts: birth.attempts,
    }
}

pub(super) fn message(cx: &Ctx, request: &Request, nobody_reachable: bool) -> Message {
    Message {
        org_id: cx.org,
        id: MessageId(cx.id()),
        send_key: request.key.clone(),
        subject: request.content.subject.clone(),
        text_body: request.content.text.clone(),
        json_body: request.content.json.clone(),
        incident_id: Some(request.incident_id),
        run_id: Some(request.run_id),
        nobody_reachable,
        actor_kind: request.actor.kind,
        actor_id: request.actor.id.clone(),
        actor_name: request.actor.name.clone(),
        trace: cx.trace.to_string(),
        created_at: cx.source.now(),
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
        incident_id: Some(request.incident_id),
        run_id: Some(request.run_id),
        order_key: told.order_key(&request.incident_id.to_string()),
        sequence: request.sequence,
        decided_at: request.decided_at,
        decided_status: request.decided_status,
        spent: 0,
        created_at: now,
        delivered_at: None,
        ended_at: None,
        due_at: Some(now),
    }
}

/// A delivery that only shows that `channel` works, inserted and leased; run its claim right after
/// the commit. It belongs to no incident, so nothing cancels it and nobody's timeline has it.
///
/// # Errors
/// Those of the database.
pub async fn test(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    channel: &Channel,
) -> Result<(Notification, Message, Attempt, Claim)> {
    let now = cx.source.now();
    let content = render::test(&channel.id.to_string(), &channel.name, now);
    let send_key = format!("test:{}", cx.id());
    let actor = crate::convert::actor(&cx.actor());
    let message = Message {
        org_id: cx.org,
        id: MessageId(cx.id()),
        subject: content.subject,
        text_body: content.text,
        json_body: content.json,
        incident_id: None,
        run_id: None,
        nobody_reachable: false,
        actor_kind: actor.kind,
        actor_id: actor.id,
        actor_name: actor.name,
        trace: cx.trace.to_string(),
        created_at: now,
        send_key,
    };
    let told = Told {
        way: Way {
            via: Via::Channel(channel.id),
            kind: channel.kind,
            address_shown: channel.address_shown.clone(),
            address_digest: Vec::new(),
            sealed: Sealed::default(),
        },
        user: None,
        names: vec![channel.name.clone()],
    };
    let row = Notification {
        org_id: cx.org,
        id: NotificationId(cx.id()),
        key: told.key(&message.send_key),
        message_id: message.id,
        status: Status::Pending,
        kind: channel.kind,
        channel_id: Some(channel.id),
        contact_method_id: None,
        user_id: None,
        recipient: channel.name.clone(),
        address_shown: channel.address_shown.clone(),
        incident_id: None::<Uuid>,
        run_id: None,
        order_key: told.order_key(&message.send_key),
        sequence: 0,
        decided_at: now,
        decided_status: None,
        spent: 0,
        created_at: now,
        delivered_at: None,
        ended_at: None,
        due_at: Some(now),
    };
    let birth = leased::birth(now);
    let attempt = Attempt::started(&row, 1, birth.epoch, now);
    store::messages::insert_message(conn, &message).await?;
    store::notifications::insert_notifications(conn, &[born(row.clone(), birth)]).await?;
    store::notifications::insert_attempts(conn, std::slice::from_ref(&attempt)).await?;
    let claim = birth.claim(row.org_id, row.id.uuid());
    Ok((row, message, attempt, claim))
}
