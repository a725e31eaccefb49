//! What became of each try of each step.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::Result;
use platform::sql::sql;
use uuid::Uuid;

use crate::engine::Record;
use crate::schema::run_steps::{self, dsl};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = run_steps)]
pub struct RunStep {
    pub org_id: Uuid,
    pub id: Uuid,
    pub run_id: Uuid,
    pub path: String,
    pub kind: String,
    pub outcome: String,
    pub detail: String,
    pub attempt: i32,
    pub level: i32,
    pub round: i32,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub entry: Option<String>,
    pub noted_at: Option<DateTime<Utc>>,
}

impl RunStep {
    /// The row of a try of `run`.
    pub fn new(
        org_id: Uuid,
        id: Uuid,
        run_id: Uuid,
        record: Record,
        started_at: DateTime<Utc>,
        ended_at: DateTime<Utc>,
    ) -> Self {
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        Self {
            org_id,
            id,
            run_id,
            path: record.path,
            kind: record.kind.to_owned(),
            outcome: record.result.as_str().to_owned(),
            detail: record.detail,
            attempt: number(record.attempt),
            level: number(record.level),
            round: number(record.round),
            started_at,
            ended_at,
            entry: record.entry.map(|entry| entry.as_str().to_owned()),
            noted_at: None,
        }
    }
}

/// Rows in one INSERT: binds are limited to 65,535.
const CHUNK: usize = 2_000;

/// Inserts what is not there yet: a try comes to an outcome once.
pub async fn insert(conn: &mut AsyncPgConnection, rows: &[RunStep]) -> Result<()> {
    for rows in rows.chunks(CHUNK) {
        diesel::insert_into(run_steps::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    }
    Ok(())
}

/// The steps of a run, in the order in which they came.
pub async fn list(conn: &mut AsyncPgConnection, org: Uuid, run: Uuid) -> Result<Vec<RunStep>> {
    let query = run_steps::table.filter(dsl::org_id.eq(org)).filter(dsl::run_id.eq(run)).order(dsl::id);
    Ok(query.load(conn).await?)
}

/// The newest `limit` steps of each of these runs, in the order in which they came.
pub async fn list_newest(
    conn: &mut AsyncPgConnection,
    org: Uuid,
    runs: &[Uuid],
    limit: i64,
) -> Result<Vec<RunStep>> {
    let rows = sql("SELECT s.* FROM unnest($1) AS r(id) CROSS JOIN LATERAL ( \
           SELECT * FROM run_steps WHERE org_id = $2 AND run_id = r.id ORDER BY id DESC LIMIT $3 \
         ) s ORDER BY s.run_id, s.id")
    .bind::<Array<SqlUuid>, _>(runs)
    .bind::<SqlUuid, _>(org)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows)
}

/// The steps of a run whose timeline entry is owed, in the order in which they came.
pub async fn owed(conn: &mut AsyncPgConnection, org: Uuid, run: Uuid) -> Result<Vec<RunStep>> {
    let query = run_steps::table
        .filter(dsl::org_id.eq(org))
        .filter(dsl::run_id.eq(run))
        .filter(dsl::entry.is_not_null())
        .filter(dsl::noted_at.is_null())
        .order(dsl::id);
    Ok(query.load(conn).await?)
}

/// Their timeline entries are written.
pub async fn noted(conn: &mut AsyncPgConnection, org: Uuid, ids: &[Uuid], at: DateTime<Utc>) -> Result<()> {
    if !ids.is_empty() {
        let rows = run_steps::table.filter(dsl::org_id.eq(org)).filter(dsl::id.eq_any(ids));
        diesel::update(rows).set(dsl::noted_at.eq(at)).execute(conn).await?;
    }
    Ok(())
}
