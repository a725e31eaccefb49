use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::sql::sql;
use uuid::Uuid;

use super::database_now;
use crate::schema::{refresh_tokens, sessions};
use crate::words::{SessionEnd, SessionId, UserId};

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, check_for_backend(diesel::pg::Pg))]
pub struct Session {
    pub org_id: OrgId,
    pub id: SessionId,
    pub user_id: UserId,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_reason: Option<SessionEnd>,
    pub version: i64,
}

#[derive(Insertable)]
#[diesel(table_name = refresh_tokens)]
pub struct NewRefreshToken<'a> {
    pub org_id: OrgId,
    pub id: Uuid,
    pub session_id: SessionId,
    pub hash: &'a [u8],
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A refresh token as a refresh needs it.
#[derive(Clone, Copy, Debug)]
pub struct RefreshToken {
    pub id: Uuid,
    pub spent: bool,
    /// By the database's clock.
    pub expired: bool,
}

pub async fn insert(conn: &mut AsyncPgConnection, new: &Session) -> Result<()> {
    diesel::insert_into(sessions::table).values(new).execute(conn).await?;
    Ok(())
}

pub async fn insert_token(conn: &mut AsyncPgConnection, new: &NewRefreshToken<'_>) -> Result<()> {
    diesel::insert_into(refresh_tokens::table).values(new).execute(conn).await?;
    Ok(())
}

/// Whose token this is: across organizations, so in a system transaction.
pub async fn find_by_token(conn: &mut AsyncPgConnection, hash: &[u8]) -> Result<Option<(OrgId, SessionId)>> {
    let found = refresh_tokens::table
        .filter(refresh_tokens::hash.eq(hash))
        .select((refresh_tokens::org_id, refresh_tokens::session_id))
        .first(conn)
        .await;
    Ok(found.optional()?)
}

pub async fn find(conn: &mut AsyncPgConnection, org: OrgId, id: SessionId) -> Result<Option<Session>> {
    let query = sessions::table.find((org, id)).select(Session::as_select());
    Ok(query.first(conn).await.optional()?)
}

/// The session under its lock: its tokens are rotated, and it is ended, one after another.
pub async fn find_to_change(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: SessionId,
) -> Result<Option<Session>> {
    let query = sessions::table.find((org, id)).select(Session::as_select());
    Ok(query.for_update().first(conn).await.optional()?)
}

pub async fn find_token(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    hash: &[u8],
) -> Result<Option<RefreshToken>> {
    let found: Option<(Uuid, bool, bool)> = refresh_tokens::table
        .filter(refresh_tokens::org_id.eq(org))
        .filter(refresh_tokens::hash.eq(hash))
        .select((
            refresh_tokens::id,
            refresh_tokens::spent_at.is_not_null(),
            refresh_tokens::expires_at.le(database_now()),
        ))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(id, spent, expired)| RefreshToken { id, spent, expired }))
}

pub async fn spend_token(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: Uuid,
    at: DateTime<Utc>,
) -> Result<()> {
    diesel::update(refresh_tokens::table.find((org, id)))
        .set(refresh_tokens::spent_at.eq(at))
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn touch(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: SessionId,
    at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    diesel::update(sessions::table.find((org, id)))
        .set((sessions::last_used_at.eq(at), sessions::expires_at.eq(expires_at)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the session; `None` when it has ended before.
pub async fn revoke(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: SessionId,
    at: DateTime<Utc>,
    why: SessionEnd,
) -> Result<Option<Session>> {
    let open = sessions::table.find((org, id)).filter(sessions::revoked_at.is_null());
    let revoked = diesel::update(open)
        .set((
            sessions::revoked_at.eq(at),
            sessions::revoked_reason.eq(why),
            sessions::version.eq(sessions::version + 1),
        ))
        .returning(Session::as_returning())
        .get_result(conn)
        .await;
    Ok(revoked.optional()?)
}

/// Ends every open session of the user; returns how many.
pub async fn revoke_of_user(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    user: UserId,
    at: DateTime<Utc>,
    why: SessionEnd,
) -> Result<usize> {
    let open = sessions::table
        .filter(sessions::org_id.eq(org))
        .filter(sessions::user_id.eq(user))
        .filter(sessions::revoked_at.is_null());
    let revoked = diesel::update(open)
        .set((
            sessions::revoked_at.eq(at),
            sessions::revoked_reason.eq(why),
            sessions::version.eq(sessions::version + 1),
        ))
        .execute(conn)
        .await?;
    Ok(revoked)
}

/// Removes up to `limit` expired refresh tokens of all organizations.
pub async fn delete_expired_tokens(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize> {
    let delete = sql("DELETE FROM refresh_tokens WHERE ctid = ANY (ARRAY(SELECT ctid FROM refresh_tokens \
         WHERE expires_at <= pulseops.now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))");
    Ok(delete.bind::<BigInt, _>(limit).execute(conn).await?)
}

/// Removes up to `limit` sessions whose last refresh token has expired; their tokens go along.
pub async fn delete_expired(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize> {
    let delete = sql("DELETE FROM sessions WHERE ctid = ANY (ARRAY(SELECT ctid FROM sessions \
         WHERE expires_at <= pulseops.now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))");
    Ok(delete.bind::<BigInt, _>(limit).execute(conn).await?)
}
