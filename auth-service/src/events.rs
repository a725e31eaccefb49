//! What the others hear: topic `pulseops.auth.v1`, keyed by organization, one partition, so that
//! every process tails it as one sequence.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::bus::{Envelope, Record, TopicSpec};
use platform::ctx::Ctx;
use platform::error::Result;
use platform::outbox::{self, Message};
use proto::events::v1::access_revoked::Subject;
use proto::events::v1::{AccessRevoked, UserEvent};
use proto::time::to_timestamp;
use proto::topics::AUTH;
use uuid::Uuid;

use crate::store::users::User;
use crate::words::{KeyId, SessionId, UserId};

/// The topic.
pub static TOPIC: TopicSpec = TopicSpec::new(AUTH.name, AUTH.partitions, AUTH.retention_ms);

/// An organization was registered with its first user.
pub const USER_REGISTERED: &str = "pulseops.auth.user.registered.v1";
/// A user was added to an organization.
pub const USER_CREATED: &str = "pulseops.auth.user.created.v1";
/// A user was renamed, or has another role, or was disabled, enabled or archived.
pub const USER_CHANGED: &str = "pulseops.auth.user.changed.v1";
/// Tokens are refused from now on.
pub const ACCESS_REVOKED: &str = "pulseops.auth.access.revoked.v1";

/// Who registered has shown the address; whoever was added by somebody else has not.
pub async fn user_registered(cx: &Ctx, conn: &mut AsyncPgConnection, user: &User) -> Result<()> {
    tell_user(cx, conn, USER_REGISTERED, user, true).await
}

pub async fn user_created(cx: &Ctx, conn: &mut AsyncPgConnection, user: &User) -> Result<()> {
    tell_user(cx, conn, USER_CREATED, user, false).await
}

pub async fn user_changed(cx: &Ctx, conn: &mut AsyncPgConnection, user: &User) -> Result<()> {
    tell_user(cx, conn, USER_CHANGED, user, false).await
}

async fn tell_user(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    ty: &str,
    user: &User,
    verified: bool,
) -> Result<()> {
    let data = UserEvent {
        user_id: user.id.to_string(),
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role.wire(),
        verified,
        inactive: !user.is_active(),
    };
    outbox::append(conn, &[message(cx, ty, user.id.into(), user.version, &data)]).await
}

/// Whose tokens are refused.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    User(UserId),
    Session(SessionId),
    /// An API key or an integration key.
    Key(KeyId),
}

/// Every token of these that was issued until `at` is refused.
pub async fn revoked(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    whose: impl IntoIterator<Item = Whose>,
    at: DateTime<Utc>,
) -> Result<()> {
    let messages: Vec<_> = whose.into_iter().map(|whose| revocation(cx, whose, at)).collect();
    metrics::counter!("pulseops_auth_revocations_total").increment(messages.len() as u64);
    outbox::append(conn, &messages).await
}

/// It has no version: hearing it again changes nothing, and it may stand beside the event of the
/// change that it comes from.
fn revocation(cx: &Ctx, whose: Whose, at: DateTime<Utc>) -> Message {
    let (subject, aggregate) = match whose {
        Whose::User(id) => (Subject::UserId(id.to_string()), id.into()),
        Whose::Session(id) => (Subject::SessionId(id.to_string()), id.into()),
        Whose::Key(id) => (Subject::KeyId(id.to_string()), id.into()),
    };
    let data = AccessRevoked { subject: Some(subject), at: Some(to_timestamp(at)) };
    message(cx, ACCESS_REVOKED, aggregate, 0, &data)
}

fn message(cx: &Ctx, ty: &str, aggregate: Uuid, version: i64, data: &impl prost::Message) -> Message {
    let envelope = Envelope::new(cx, crate::NAME, ty, aggregate, version);
    let key = cx.org.uuid().as_bytes().to_vec();
    Message::new(&TOPIC, Record::new(key, envelope, data))
}
