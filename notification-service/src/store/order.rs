//! Whose turn it is: what goes to one destination about one incident goes out in the order of its
//! sequence.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::secret::sha256;
use platform::sql::sql;
use uuid::Uuid;

use super::notifications::Notification;
use crate::kinds::Progress;

/// When a delivery may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// Something earlier is open; the youngest of it was made at this time.
    After(DateTime<Utc>),
    /// Something later says something else and has gone out, maybe just now: its word must stay the last.
    Never,
}

/// Locks of one incident: so many that the ends of its deliveries seldom meet at one, and so few that a
/// message to a thousand destinations does not fill the server's table of locks.
const STRIPES: u8 = 64;

/// Makes transactions that look at what stands under these order keys of an incident, or change it, go
/// one after the other: without it two of them at once would not see each other. A transaction takes
/// all that it needs at once, in one order for all.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    incident: Uuid,
    order_keys: &[String],
) -> Result<()> {
    let stripes: BTreeSet<u8> = order_keys.iter().map(|key| sha256(key.as_bytes())[0] % STRIPES).collect();
    super::lock_all(conn, stripes.iter().map(|stripe| format!("order/{org}/{incident}/{stripe}"))).await
}

/// The turns of deliveries of `sequence` under these order keys, decided when their incident had
/// `status`; a key that is missing may go. What is not younger than `since` is not waited for. Take
/// the [`lock`] first.
pub async fn find_turns(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    order_keys: &[String],
    sequence: i64,
    status: Option<Progress>,
    since: DateTime<Utc>,
) -> Result<HashMap<String, Turn>> {
    let rows: Vec<Row> =
        sql("WITH mine AS (SELECT $1::int8 AS sequence, $2::text AS status, $3::timestamptz AS since)
         SELECT n.order_key,
            max(n.created_at) FILTER (WHERE n.sequence < m.sequence AND n.status = 'pending'
                AND n.due_at IS NOT NULL AND n.created_at > m.since) AS waits_since,
            bool_or(n.sequence > m.sequence AND n.decided_status IS DISTINCT FROM m.status AND EXISTS (
                SELECT FROM attempts a WHERE a.org_id = n.org_id AND a.notification_id = n.id
                AND a.outcome IN ('started', 'delivered'))) AS overtaken
         FROM notifications n CROSS JOIN mine m
         WHERE n.org_id = $4 AND n.order_key = ANY($5) GROUP BY n.order_key")
        .bind::<BigInt, _>(sequence)
        .bind::<Nullable<Text>, _>(status)
        .bind::<Timestamptz, _>(since)
        .bind::<diesel::sql_types::Uuid, _>(org)
        .bind::<Array<Text>, _>(order_keys)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.order_key.clone(), row.turn())).collect())
}

/// Lets those go that wait for `ended`, which is no longer open; returns how many. What has been
/// tried before waits for its own next try.
pub async fn release(
    conn: &mut AsyncPgConnection,
    ended: &Notification,
    now: DateTime<Utc>,
) -> Result<usize> {
    let released = sql("UPDATE notifications n SET due_at = w.now
         FROM (SELECT $1::timestamptz AS now) w
         WHERE n.org_id = $2 AND n.order_key = $3 AND n.sequence > $4 AND n.status = 'pending'
           AND n.due_at > w.now AND n.lease_until IS NULL
           AND NOT EXISTS (SELECT FROM attempts a WHERE a.org_id = n.org_id AND a.notification_id = n.id)")
    .bind::<Timestamptz, _>(now)
    .bind::<diesel::sql_types::Uuid, _>(ended.org_id)
    .bind::<Text, _>(ended.order_key.clone())
    .bind::<BigInt, _>(ended.sequence)
    .execute(conn)
    .await?;
    Ok(released)
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    order_key: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    waits_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    overtaken: bool,
}

impl Row {
    fn turn(&self) -> Turn {
        match self.waits_since {
            _ if self.overtaken => Turn::Never,
            Some(since) => Turn::After(since),
            None => Turn::Now,
        }
    }
}
