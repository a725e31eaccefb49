use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::sql::sql;
use uuid::Uuid;

use crate::ids::{MessageId, UserId};
use crate::schema::{messages, notifications};

/// What is said, once for all notifications of one request.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = messages, check_for_backend(diesel::pg::Pg))]
pub struct Message {
    pub org_id: OrgId,
    pub id: MessageId,
    pub send_key: String,
    pub subject: String,
    pub text_body: String,
    pub json_body: String,
    pub incident_id: Option<Uuid>,
    pub run_id: Option<Uuid>,
    pub nobody_reachable: bool,
    pub actor_kind: i32,
    pub actor_id: String,
    pub actor_name: String,
    pub trace: String,
    pub created_at: DateTime<Utc>,
    /// False while the request comes again for people who were not known.
    pub complete: bool,
    /// The text has a [`PLACE`](crate::proofs::PLACE) for a code.
    pub carries_code: bool,
}

/// Whether the row is new: false when the request's key has made one before, which another
/// transaction may be doing right now; then this waits for its end.
pub async fn insert_message(conn: &mut AsyncPgConnection, row: &Message) -> Result<bool> {
    let inserted = diesel::insert_into(messages::table)
        .values(row)
        .on_conflict((messages::org_id, messages::send_key))
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}

/// The message of this key, locked until the transaction ends.
pub async fn get_by_key_for_update(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    send_key: &str,
) -> Result<Message> {
    let row = messages::table
        .filter(messages::org_id.eq(org).and(messages::send_key.eq(send_key)))
        .select(Message::as_select())
        .for_update()
        .first(conn)
        .await?;
    Ok(row)
}

/// Ends the request of this message: the same key adds nobody any more.
pub async fn complete_message(conn: &mut AsyncPgConnection, row: &Message) -> Result<()> {
    diesel::update(messages::table.find((row.org_id, row.id)))
        .set((messages::complete.eq(true), messages::nobody_reachable.eq(row.nobody_reachable)))
        .execute(conn)
        .await?;
    Ok(())
}

// What waits, or has ended or been replayed lately, keeps its whole message. The first is taken however
// many rows it has.
pub(super) const SWEEP: &str = "
WITH old AS (
    SELECT m.org_id, m.id, m.created_at FROM messages m CROSS JOIN (SELECT $1::timestamptz AS before) t
    WHERE m.created_at < t.before AND NOT EXISTS (
        SELECT FROM notifications n WHERE n.org_id = m.org_id AND n.message_id = m.id
          AND (n.due_at IS NOT NULL OR n.ended_at IS NULL OR n.ended_at >= t.before))
    ORDER BY m.created_at, m.id LIMIT $2 OFFSET $3 FOR UPDATE OF m SKIP LOCKED
),
sized AS (
    SELECT o.org_id, o.id, sum(r.rows) OVER (ORDER BY o.created_at, o.id) - r.rows AS rows_before
    FROM old o CROSS JOIN LATERAL (
        SELECT count(*) AS rows FROM notifications n
        WHERE n.org_id = o.org_id AND n.message_id = o.id) r
),
batch AS (SELECT org_id, id FROM sized WHERE rows_before < $4),
ended AS (
    DELETE FROM notifications n USING batch o
    WHERE n.org_id = o.org_id AND n.message_id = o.id AND n.due_at IS NULL RETURNING n.org_id, n.id
),
tries AS (DELETE FROM attempts a USING ended e WHERE a.org_id = e.org_id AND a.notification_id = e.id),
gone AS (DELETE FROM messages m USING batch o WHERE m.org_id = o.org_id AND m.id = o.id RETURNING m.id)
SELECT (SELECT count(*) FROM old) AS found, (SELECT count(*) FROM gone) AS gone";

/// What one transaction of the sweep takes.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub messages: i64,
    /// The oldest are passed over.
    pub skip: i64,
    /// Messages are taken until they have so many notifications.
    pub notifications: i64,
}

/// Removes messages of any organization that are older than `before` and over since then, the oldest
/// first, with all that became of them.
pub async fn sweep(conn: &mut AsyncPgConnection, before: DateTime<Utc>, batch: Batch) -> Result<Swept> {
    sql("SET LOCAL lock_timeout = '2s'").execute(conn).await?;
    let sweep = sql(SWEEP)
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(batch.messages)
        .bind::<BigInt, _>(batch.skip)
        .bind::<BigInt, _>(batch.notifications);
    Ok(sweep.get_result(conn).await?)
}

/// How many messages a sweep has found, and how many of them it has removed.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Swept {
    #[diesel(sql_type = BigInt)]
    pub found: i64,
    #[diesel(sql_type = BigInt)]
    pub gone: i64,
}

/// To whom the organization has had codes mailed since, and when.
pub async fn find_codes(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    since: DateTime<Utc>,
) -> Result<Vec<(Option<UserId>, DateTime<Utc>)>> {
    let same = notifications::org_id.eq(messages::org_id).and(notifications::message_id.eq(messages::id));
    let codes = messages::table
        .inner_join(notifications::table.on(same))
        .filter(messages::org_id.eq(org).and(messages::carries_code).and(messages::created_at.gt(since)))
        .select((notifications::user_id, messages::created_at));
    Ok(codes.load(conn).await?)
}

pub async fn get_message(conn: &mut AsyncPgConnection, org: OrgId, id: MessageId) -> Result<Message> {
    Ok(messages::table.find((org, id)).select(Message::as_select()).first(conn).await?)
}

/// The subjects of these messages.
pub async fn find_subjects(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, String>> {
    let rows: Vec<(MessageId, String)> = messages::table
        .filter(messages::org_id.eq(org).and(messages::id.eq_any(ids)))
        .select((messages::id, messages::subject))
        .load(conn)
        .await?;
    Ok(rows.into_iter().collect())
}
