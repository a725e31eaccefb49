use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;

use super::notifications::{Notification, PART};
use crate::ids::NotificationId;
use crate::kinds::AttemptOutcome;
use crate::schema::attempts;

/// One try, written by the claim before anything is sent.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = attempts, check_for_backend(diesel::pg::Pg))]
pub struct Attempt {
    pub org_id: OrgId,
    pub notification_id: NotificationId,
    pub number: i32,
    /// The lease under which it was claimed.
    pub epoch: i64,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: AttemptOutcome,
    pub status: i32,
    pub detail: String,
}

impl Attempt {
    /// A try that begins now.
    pub fn started(of: &Notification, number: i32, epoch: i64, at: DateTime<Utc>) -> Self {
        Self {
            org_id: of.org_id,
            notification_id: of.id,
            number,
            epoch,
            started_at: at,
            ended_at: None,
            outcome: AttemptOutcome::Started,
            status: 0,
            detail: String::new(),
        }
    }
}

pub async fn insert_attempts(conn: &mut AsyncPgConnection, rows: &[Attempt]) -> Result<()> {
    for part in rows.chunks(PART) {
        diesel::insert_into(attempts::table).values(part).execute(conn).await?;
    }
    Ok(())
}

/// The attempts of these notifications, each one's in their order.
pub async fn find_attempts(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[NotificationId],
) -> Result<Vec<Attempt>> {
    let rows = attempts::table
        .filter(attempts::org_id.eq(org).and(attempts::notification_id.eq_any(ids)))
        .order((attempts::notification_id, attempts::number))
        .select(Attempt::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

pub async fn find_last_attempt(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: NotificationId,
) -> Result<Option<Attempt>> {
    let row = attempts::table
        .filter(attempts::org_id.eq(org).and(attempts::notification_id.eq(id)))
        .order(attempts::number.desc())
        .select(Attempt::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row)
}

/// Makes an attempt that never began one that begins now, under the lease `epoch`.
pub async fn begin_anew(
    conn: &mut AsyncPgConnection,
    unbegun: &Attempt,
    epoch: i64,
    at: DateTime<Utc>,
) -> Result<Attempt> {
    let this = attempts::table.find((unbegun.org_id, unbegun.notification_id, unbegun.number));
    let begun = diesel::update(this)
        .set((attempts::epoch.eq(epoch), attempts::started_at.eq(at)))
        .returning(Attempt::as_returning())
        .get_result(conn)
        .await?;
    Ok(begun)
}

/// Ends an attempt that never began: there is nothing to be told any more.
pub async fn call_off(conn: &mut AsyncPgConnection, unbegun: Attempt, at: DateTime<Utc>) -> Result<Attempt> {
    let detail = "a later word has gone to its destination".to_owned();
    let ended = Attempt { ended_at: Some(at), outcome: AttemptOutcome::Cancelled, detail, ..unbegun };
    end_attempt(conn, &ended).await?;
    Ok(ended)
}

/// Writes what became of an attempt.
pub async fn end_attempt(conn: &mut AsyncPgConnection, ended: &Attempt) -> Result<()> {
    diesel::update(attempts::table.find((ended.org_id, ended.notification_id, ended.number)))
        .filter(attempts::epoch.eq(ended.epoch))
        .set((
            attempts::ended_at.eq(ended.ended_at),
            attempts::outcome.eq(ended.outcome),
            attempts::status.eq(ended.status),
            attempts::detail.eq(&ended.detail),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
