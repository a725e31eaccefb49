//! The SQL of leases on rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::slots::Room;
use super::{Claim, LEASE_LOST, Outcome, wake_on_commit};
use crate::ctx::OrgId;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::sql::sql;

type SqlUuid = diesel::sql_types::Uuid;

/// Ends a step in the transaction open on `conn`, which records what happened.
///
/// # Errors
/// Conflict, code [`LEASE_LOST`]: the row belongs to somebody else by now; the transaction must be
/// rolled back.
pub async fn finish(
    conn: &mut AsyncPgConnection,
    table: &'static str,
    claim: &Claim,
    outcome: Outcome,
) -> Result<()> {
    let due_at = match &outcome {
        Outcome::Done => None,
        Outcome::Again(at) | Outcome::Next(at) => Some(*at),
        Outcome::Dead(reason) => {
            metrics::counter!("pulseops_leased_dead_total", "table" => table).increment(1);
            tracing::warn!(table, row.id = %claim.id, attempts = claim.attempts, reason, "leased work is dead");
            None
        }
    };
    // Long overdue is due now: the driver does not look far back.
    let text = format!(
        "UPDATE {table} SET
            due_at = (SELECT greatest(at, pulseops.now() - interval '30 seconds')
                      FROM (SELECT $1::timestamptz AS at) due WHERE at IS NOT NULL),
            lease_until = NULL, attempts = CASE WHEN $2 THEN 0 ELSE attempts END
         WHERE org_id = $3 AND id = $4 AND epoch = $5"
    );
    let ended = sql(text)
        .bind::<Nullable<Timestamptz>, _>(due_at)
        .bind::<Bool, _>(matches!(outcome, Outcome::Next(_)))
        .bind::<SqlUuid, _>(claim.org)
        .bind::<SqlUuid, _>(claim.id)
        .bind::<BigInt, _>(claim.epoch)
        .execute(conn)
        .await?;
    if ended == 0 {
        return Err(Error::conflict(LEASE_LOST, "somebody else has taken over this work"));
    }
    if due_at.is_some() {
        wake_on_commit(conn, table);
    }
    Ok(())
}

/// What a look for due rows found.
pub(super) struct Found {
    pub(super) claims: Vec<Claim>,
    /// Time until the next row is due.
    pub(super) next_in: Option<Duration>,
}

/// The rows that one driver looks after.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) table: &'static str,
    pub(super) only: &'static str,
}

/// Takes rows that are due, not before `low`, and free, as many as there is `room` for, in turns
/// between organizations: the first is the one behind `turn`.
pub(super) async fn claim(
    db: &Db,
    lane: Lane,
    low: DateTime<Utc>,
    turn: OrgId,
    room: &Room,
) -> Result<Found> {
    let text = statement(lane);
    let (orgs, rooms): (Vec<OrgId>, Vec<i64>) =
        room.of.iter().map(|(org, room)| (*org, *room as i64)).unzip();
    let rows: Vec<Row> = crate::system_tx!(db, "leased work", |conn| {
        let rows = sql(text.clone())
            .bind::<Timestamptz, _>(low)
            .bind::<SqlUuid, _>(turn)
            .bind::<BigInt, _>(room.each as i64)
            .bind::<Array<SqlUuid>, _>(&orgs)
            .bind::<Array<BigInt>, _>(&rooms)
            .bind::<BigInt, _>(room.all as i64)
            .load(conn)
            .await?;
        Ok(rows)
    })?;
    let next_in = rows.iter().find_map(|row| row.next_in).map(|s| Duration::from_secs_f64(s.max(0.0)));
    Ok(Found { claims: rows.into_iter().filter_map(Row::claim).collect(), next_in })
}

/// How many rows a look goes through to see whose turn it may be: more than a few processes hold in an
/// ordinary storm. When more are due, it goes from one organization to the next instead, through all that
/// have unfinished rows: a backlog of one must not be walked to get to another.
const WALK: usize = 1_024;

/// Each organization's oldest rows are found by its own end of the index `(org_id, due_at)`. `ANY` of
/// one keeps the planner from the index on `due_at`, which holds them in the right order, too, but
/// among everybody's. Nothing is locked that is not taken, because nothing is read before it is needed.
fn statement(Lane { table, only }: Lane) -> String {
    format!(
        "WITH RECURSIVE given AS MATERIALIZED (
            SELECT $1::timestamptz AS low, $2::uuid AS turn, $3::int8 AS each, $4::uuid[] AS orgs, $5::int8[] AS rooms
        ),
        walk AS MATERIALIZED (
            SELECT t.org_id, (t.lease_until IS NULL OR t.lease_until < pulseops.now()) AS free FROM {table} t
            WHERE t.due_at >= (SELECT low FROM given) AND t.due_at <= pulseops.now() AND ({only})
            ORDER BY t.due_at LIMIT {WALK}
        ),
        with_rows(org_id, wrapped, step) AS (
            SELECT turn, false, 0 FROM given WHERE (SELECT count(*) FROM walk) = {WALK}
            UNION ALL
            SELECT next.org_id, next.wrapped, 1 FROM with_rows w, given g, LATERAL (
                (SELECT t.org_id, w.wrapped FROM {table} t
                 WHERE t.org_id > w.org_id AND t.due_at >= g.low AND ({only})
                 ORDER BY t.org_id, t.due_at LIMIT 1)
                UNION ALL
                (SELECT t.org_id, true FROM {table} t
                 WHERE NOT w.wrapped AND t.due_at >= g.low AND ({only})
                 ORDER BY t.org_id, t.due_at LIMIT 1)
                LIMIT 1
            ) next WHERE NOT next.wrapped OR next.org_id <= g.turn
        ),
        orgs AS (
            (SELECT w.org_id FROM walk w, given g WHERE w.free AND (SELECT count(*) FROM walk) < {WALK}
             GROUP BY w.org_id, g.turn ORDER BY w.org_id <= g.turn, w.org_id)
            UNION ALL
            SELECT org_id FROM with_rows WHERE step > 0
        ),
        due AS (
            SELECT d.org_id, d.id FROM orgs o, given g, LATERAL (
                SELECT t.org_id, t.id FROM {table} t
                WHERE t.org_id = ANY (ARRAY[o.org_id])
                  AND t.due_at >= g.low AND t.due_at <= pulseops.now()
                  AND (t.lease_until IS NULL OR t.lease_until < pulseops.now()) AND ({only})
                ORDER BY t.org_id, t.due_at
                LIMIT coalesce(g.rooms[array_position(g.orgs, o.org_id)], g.each)
                FOR UPDATE OF t SKIP LOCKED
            ) d LIMIT $6
        ),
        claimed AS (
            UPDATE {table} t
            SET lease_until = pulseops.now() + interval '3 seconds', epoch = t.epoch + 1, attempts = t.attempts + 1
            FROM due d WHERE t.org_id = d.org_id AND t.id = d.id
            RETURNING t.org_id, t.id, t.epoch, t.attempts
        )
        SELECT org_id, id, epoch, attempts, NULL::float8 AS next_in FROM claimed
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, extract(epoch FROM min(t.due_at) - pulseops.now())::float8
        FROM {table} t WHERE t.due_at > pulseops.now() AND ({only})"
    )
}

/// Below which due time nothing unfinished lies: that of the oldest row, or a minute ago. Rows may be
/// inserted with a due time that lies that much back; [`finish`] lets none lie back half as much.
pub(super) async fn lower_bound(db: &Db, lane: Lane) -> Result<DateTime<Utc>> {
    let Lane { table, only } = lane;
    let text = format!(
        "SELECT least(min(due_at), pulseops.now() - interval '1 minute') AS low
         FROM {table} WHERE due_at IS NOT NULL AND ({only})"
    );
    crate::system_tx!(db, "leased work", |conn| {
        let row: Low = sql(text.clone()).get_result(conn).await?;
        Ok(row.low)
    })
}

/// Prolongs leases. Rows that are locked are being finished and need none.
pub(super) async fn renew(db: &Db, table: &str, claims: &[Claim]) -> Result<()> {
    let text = format!(
        "UPDATE {table} t SET lease_until = pulseops.now() + interval '3 seconds'
         FROM (
            SELECT l.org_id, l.id FROM unnest($1, $2, $3) AS c(org_id, id, epoch)
            JOIN {table} l ON l.org_id = c.org_id AND l.id = c.id AND l.epoch = c.epoch
            WHERE l.lease_until IS NOT NULL FOR UPDATE OF l SKIP LOCKED
         ) mine
         WHERE t.org_id = mine.org_id AND t.id = mine.id"
    );
    on_all(&db.leases()?, text, claims).await
}

/// Gives back rows that were not started: somebody may take them at once, and it was no attempt.
pub(super) async fn release(db: &Db, table: &str, claims: &[Claim]) -> Result<()> {
    let text = format!(
        "UPDATE {table} t SET lease_until = NULL, attempts = greatest(t.attempts - 1, 0)
         FROM unnest($1, $2, $3) AS c(org_id, id, epoch)
         WHERE t.org_id = c.org_id AND t.id = c.id AND t.epoch = c.epoch"
    );
    on_all(db, text, claims).await
}

async fn on_all(db: &Db, text: String, claims: &[Claim]) -> Result<()> {
    let orgs: Vec<OrgId> = claims.iter().map(|claim| claim.org).collect();
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.id).collect();
    let epochs: Vec<i64> = claims.iter().map(|claim| claim.epoch).collect();
    crate::system_tx!(db, "leased work", |conn| {
        sql(text.clone())
            .bind::<Array<SqlUuid>, _>(&orgs)
            .bind::<Array<SqlUuid>, _>(&ids)
            .bind::<Array<BigInt>, _>(&epochs)
            .execute(conn)
            .await?;
        Ok(())
    })
}

/// Puts a row whose step failed back until `at`.
pub(super) async fn retry(db: &Db, table: &'static str, claim: &Claim, at: DateTime<Utc>) -> Result<()> {
    crate::system_tx!(db, "leased work", |conn| { finish(conn, table, claim, Outcome::Again(at)).await })
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    org_id: Option<OrgId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    epoch: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    attempts: Option<i32>,
    #[diesel(sql_type = Nullable<Double>)]
    next_in: Option<f64>,
}

impl Row {
    fn claim(self) -> Option<Claim> {
        Some(Claim { org: self.org_id?, id: self.id?, epoch: self.epoch?, attempts: self.attempts? })
    }
}

#[derive(diesel::QueryableByName)]
struct Low {
    #[diesel(sql_type = Timestamptz)]
    low: DateTime<Utc>,
}
