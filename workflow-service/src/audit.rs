//! Who changed which workflow or policy: told in the same transaction on `pulseops.audit.v1`, kept by
//! auth-service.

use diesel_async::AsyncPgConnection;
use platform::bus::{Envelope, Record, TopicSpec};
use platform::ctx::Ctx;
use platform::error::{Error, Result};
use platform::outbox::{self, Message};
use prost::Name;
use proto::audit::RECORDED;
use proto::events::v1::AuditEvent;
use proto::topics::AUDIT;
use uuid::Uuid;

/// The topic.
pub static TOPIC: TopicSpec = TopicSpec::new(AUDIT.name, AUDIT.partitions, AUDIT.retention_ms);

/// Tells `action` on the resource: `after` alone for a new one, both for a changed or archived one, none
/// when nobody can read it.
pub async fn write<M: Name>(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    action: &str,
    id: Uuid,
    before: Option<&M>,
    after: Option<&M>,
) -> Result<()> {
    let actor = cx.actor();
    let event = AuditEvent {
        actor_kind: actor.kind.as_str().to_owned(),
        actor_id: actor.id.to_string(),
        actor_name: actor.name,
        request_id: Uuid::from(cx.request_id).to_string(),
        ..AuditEvent::of(action, id, before, after).map_err(Error::internal)?
    };
    let envelope = Envelope::new(cx, crate::NAME, RECORDED, id, 0);
    outbox::append(conn, &[Message::new(&TOPIC, Record::new(id.as_bytes().to_vec(), envelope, &event))]).await
}
