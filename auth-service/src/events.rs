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

use crate::convert;
use crate::store::users::User;
use crate::words::{KeyId, SessionId, UserId};

/// The topic.
pub static TOPIC: TopicSpec = TopicSpec::new(AUTH.name, AUTH.partitions, AUTH.retention_ms);

/// An organization was registered with its first user.
pub const USER_REGISTERED: &str = "pulseops.auth.user.registered.v1";
/// A user was added to an organization.
pub const USER_CREATED: &str = "pulseops.auth.user.created.v1";
/// Tokens are refused from now on.
pub const ACCESS_REVOKED: &str = "pulseops.auth.access.revoked.v1";

/// Who registered has shown the address; whoever was added by somebody else has not.
pub async fn user_registered(cx: &Ctx, conn: &mut AsyncPgConnection, user: &User) -> Result<()> {
    tell_user(cx, conn, USER_REGISTERED, user, true).await
}

pub async fn user_created(cx: &Ctx, conn: &mut AsyncPgConnection, user: &User) -> Result<()> {
    tell_user(cx, conn, USER_CREATED, user, false).await
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
        role: convert::role_to_proto(user.role).into(),
        verified,
    };
    append(cx, conn, ty, user.id.into(), user.version, &data).await
}

/// Every token of the user issued until `at` is refused; `version` is the user's.
pub async fn user_revoked(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    user: UserId,
    version: i64,
    at: DateTime<Utc>,
) -> Result<()> {
    revoked(cx, conn, Subject::UserId(user.to_string()), user.into(), version, at).await
}

/// As [`user_revoked`], for the tokens of one session.
pub async fn session_revoked(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    session: SessionId,
    version: i64,
    at: DateTime<Utc>,
) -> Result<()> {
    revoked(cx, conn, Subject::SessionId(session.to_string()), session.into(), version, at).await
}

/// As [`user_revoked`], for an API key or integration key.
pub async fn key_revoked(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    key: KeyId,
    version: i64,
    at: DateTime<Utc>,
) -> Result<()> {
    revoked(cx, conn, Subject::KeyId(key.to_string()), key.into(), version, at).await
}

async fn revoked(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    subject: Subject,
    aggregate: Uuid,
    version: i64,
    at: DateTime<Utc>,
) -> Result<()> {
    metrics::counter!("pulseops_auth_revocations_total").increment(1);
    let data = AccessRevoked { subject: Some(subject), at: Some(to_timestamp(at)) };
    append(cx, conn, ACCESS_REVOKED, aggregate, version, &data).await
}

async fn append(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    ty: &str,
    aggregate: Uuid,
    version: i64,
    data: &impl prost::Message,
) -> Result<()> {
    let envelope = Envelope::new(cx, crate::NAME, ty, aggregate, version);
    let key = cx.org.uuid().as_bytes().to_vec();
    outbox::append(conn, &[Message::new(&TOPIC, Record::new(key, envelope, data))]).await
}
