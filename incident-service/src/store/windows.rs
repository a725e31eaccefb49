use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::sql::sql;
use uuid::Uuid;

use crate::kinds::{RuleId, ServiceId};

/// Which window: a rule's, for one group of attribute values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowKey {
    pub org: OrgId,
    pub rule: RuleId,
    pub group: Uuid,
}

/// A window as it is kept.
#[derive(Clone, Debug, QueryableByName)]
pub struct Row {
    #[diesel(sql_type = SqlUuid)]
    pub org_id: OrgId,
    #[diesel(sql_type = SqlUuid)]
    pub rule_id: RuleId,
    #[diesel(sql_type = SqlUuid)]
    pub group_hash: Uuid,
    #[diesel(sql_type = BigInt)]
    pub generation: i64,
    #[diesel(sql_type = Binary)]
    pub state: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
}

impl Row {
    pub fn key(&self) -> WindowKey {
        WindowKey { org: self.org_id, rule: self.rule_id, group: self.group_hash }
    }
}

/// See [`load`].
pub const LOAD: &str = "
SELECT w.* FROM windows w
JOIN unnest($1, $2, $3) AS k(org_id, rule_id, group_hash)
  ON k.org_id = w.org_id AND k.rule_id = w.rule_id AND k.group_hash = w.group_hash";

pub async fn load(conn: &mut AsyncPgConnection, keys: &[WindowKey]) -> Result<Vec<Row>> {
    let rows = sql(LOAD)
        .bind::<Array<SqlUuid>, _>(keys.iter().map(|key| key.org).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(keys.iter().map(|key| key.rule).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(keys.iter().map(|key| key.group).collect::<Vec<_>>())
        .load(conn)
        .await?;
    Ok(rows)
}

const SAVE: &str = "
INSERT INTO windows (org_id, rule_id, group_hash, generation, state, expires_at)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6)
ON CONFLICT (org_id, rule_id, group_hash) DO UPDATE
SET generation = excluded.generation, state = excluded.state, expires_at = excluded.expires_at";

pub async fn save(conn: &mut AsyncPgConnection, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql(SAVE)
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.org_id).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.rule_id).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.group_hash).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(rows.iter().map(|row| row.generation).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(rows.iter().map(|row| row.state.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(rows.iter().map(|row| row.expires_at).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// A matched event that must count once until `expires_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    pub org: OrgId,
    pub service: ServiceId,
    pub event: Uuid,
    pub accepted_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct New {
    #[diesel(sql_type = SqlUuid)]
    org_id: OrgId,
    #[diesel(sql_type = SqlUuid)]
    service_id: ServiceId,
    #[diesel(sql_type = SqlUuid)]
    event_hash: Uuid,
}

/// An expired row that was not swept yet counts as none.
const SEE: &str = "
INSERT INTO seen_events AS seen (org_id, service_id, event_hash, expires_at)
SELECT k.org_id, k.service_id, k.event_hash, k.expires_at
FROM unnest($1, $2, $3, $4, $5) AS k(org_id, service_id, event_hash, accepted_at, expires_at)
WHERE NOT EXISTS (SELECT FROM seen_events s WHERE s.org_id = k.org_id AND s.service_id = k.service_id
                  AND s.event_hash = k.event_hash AND s.expires_at > k.accepted_at)
ON CONFLICT (org_id, service_id, event_hash) DO UPDATE SET expires_at = excluded.expires_at
RETURNING org_id, service_id, event_hash";

/// Remembers these events and returns those that were not remembered: the ones that count. Each
/// event may stand in the slice once.
pub async fn see(
    conn: &mut AsyncPgConnection,
    sightings: &[Sighting],
) -> Result<Vec<(OrgId, ServiceId, Uuid)>> {
    if sightings.is_empty() {
        return Ok(Vec::new());
    }
    let new: Vec<New> = sql(SEE)
        .bind::<Array<SqlUuid>, _>(sightings.iter().map(|s| s.org).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(sightings.iter().map(|s| s.service).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(sightings.iter().map(|s| s.event).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(sightings.iter().map(|s| s.accepted_at).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(sightings.iter().map(|s| s.expires_at).collect::<Vec<_>>())
        .load(conn)
        .await?;
    Ok(new.into_iter().map(|row| (row.org_id, row.service_id, row.event_hash)).collect())
}

const POSITIONS: &str = "SELECT partition, next FROM positions WHERE consumer = $1 AND topic = $2";

#[derive(QueryableByName)]
struct Position {
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = BigInt)]
    next: i64,
}

/// (partition, next offset) of each partition of `topic` as far as `consumer` has come.
pub async fn positions(
    conn: &mut AsyncPgConnection,
    consumer: &'static str,
    topic: &'static str,
) -> Result<Vec<(i32, i64)>> {
    let rows: Vec<Position> =
        sql(POSITIONS).bind::<Text, _>(consumer).bind::<Text, _>(topic).load(conn).await?;
    Ok(rows.iter().map(|row| (row.partition, row.next)).collect())
}

const SWEEP_WINDOWS: &str = "
DELETE FROM windows WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM windows WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

const SWEEP_SEEN: &str = "
DELETE FROM seen_events WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM seen_events WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// Removes up to `limit` rows of each table whose time was over at `before`; returns how many went of
/// the table that lost more.
pub async fn sweep(conn: &mut AsyncPgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let sweep = |text: &'static str| sql(text).bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit);
    let windows = sweep(SWEEP_WINDOWS).execute(conn).await?;
    let seen = sweep(SWEEP_SEEN).execute(conn).await?;
    Ok(windows.max(seen))
}
