//! Runs: leased work.

use std::collections::HashMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::{Error, Result};
use platform::page::Page;
use platform::sql::sql;
use uuid::Uuid;

use crate::schema::runs::{self, dsl};

/// The table, as the driver names it.
pub const TABLE: &str = "runs";
/// Rows in one INSERT: binds are limited to 65,535.
const CHUNK: usize = 1_000;

/// A row.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = runs)]
pub struct Run {
    pub org_id: Uuid,
    pub id: Uuid,
    pub kind: String,
    pub program_id: Uuid,
    pub name: String,
    pub incident_id: Uuid,
    pub incident_number: i64,
    pub origin: String,
    pub trigger_event: Uuid,
    pub trigger_version: i64,
    pub depth: i32,
    pub trace: String,
    pub status: String,
    pub program: serde_json::Value,
    pub state: serde_json::Value,
    pub incident: Vec<u8>,
    pub nudges: i32,
    pub hold_until: Option<DateTime<Utc>>,
    pub decided_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub detail: String,
    pub due_at: Option<DateTime<Utc>>,
    pub lease_until: Option<DateTime<Utc>>,
    pub epoch: i64,
    pub attempts: i32,
}

/// Inserts runs whose origin has not made one yet; returns the ids of those inserted.
pub async fn insert(conn: &mut AsyncPgConnection, rows: &[Run]) -> Result<Vec<Uuid>> {
    let mut inserted = Vec::with_capacity(rows.len());
    for rows in rows.chunks(CHUNK) {
        let ids: Vec<Uuid> = diesel::insert_into(runs::table)
            .values(rows)
            .on_conflict_do_nothing()
            .returning(dsl::id)
            .get_results(conn)
            .await?;
        inserted.extend(ids);
    }
    Ok(inserted)
}

pub async fn get(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Run> {
    let row = runs::table.find((org, id)).first(conn).await.optional()?;
    row.ok_or_else(|| Error::not_found("run"))
}

/// The run, its row locked until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Option<Run>> {
    Ok(runs::table.find((org, id)).for_update().first(conn).await.optional()?)
}

/// The runs of an incident that have not ended, locked in the one order in which everybody locks.
pub async fn lock_incident(conn: &mut AsyncPgConnection, org: Uuid, incident: Uuid) -> Result<Vec<Run>> {
    let query = runs::table
        .filter(dsl::org_id.eq(org))
        .filter(dsl::incident_id.eq(incident))
        .filter(dsl::status.eq_any(["held", "running"]))
        .order(dsl::id)
        .for_update();
    Ok(query.load(conn).await?)
}

/// See [`lock_incidents_of_all`].
pub const OF_INCIDENTS: &str = "SELECT r.* FROM runs r JOIN unnest($1, $2) AS k(org_id, incident_id) \
     ON r.org_id = k.org_id AND r.incident_id = k.incident_id \
     WHERE r.status IN ('held', 'running') ORDER BY r.id FOR UPDATE OF r";

/// The runs of these incidents (organization, incident) that have not ended, locked in order.
pub async fn lock_incidents_of_all(
    conn: &mut AsyncPgConnection,
    incidents: &[(Uuid, Uuid)],
) -> Result<Vec<Run>> {
    let (orgs, ids): (Vec<Uuid>, Vec<Uuid>) = incidents.iter().copied().unzip();
    let query = sql(OF_INCIDENTS).bind::<Array<SqlUuid>, _>(orgs).bind::<Array<SqlUuid>, _>(ids);
    Ok(query.load(conn).await?)
}

#[derive(QueryableByName)]
struct Escalated {
    #[diesel(sql_type = SqlUuid)]
    org_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    incident_id: Uuid,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// The last version of each of these incidents (organization, incident) by which an escalation was
/// started; those by workflows' steps left out.
pub async fn escalated_at(
    conn: &mut AsyncPgConnection,
    incidents: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), i64>> {
    let (orgs, ids): (Vec<Uuid>, Vec<Uuid>) = incidents.iter().copied().unzip();
    let rows: Vec<Escalated> = sql("SELECT r.org_id, r.incident_id, max(r.trigger_version) AS version \
         FROM runs r JOIN unnest($1, $2) AS k(org_id, incident_id) \
         ON r.org_id = k.org_id AND r.incident_id = k.incident_id \
         WHERE r.kind = 'policy' AND r.origin LIKE 'event:%' GROUP BY 1, 2")
    .bind::<Array<SqlUuid>, _>(orgs)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.org_id, row.incident_id), row.version)).collect())
}

/// A run that somebody's taking the incident ends.
pub struct Cancelled {
    pub org_id: Uuid,
    pub id: Uuid,
    /// Where it stood; as it was when `None`: nobody can read it, and nothing is owed for it.
    pub state: Option<serde_json::Value>,
    pub detail: String,
}

/// Ends runs as cancelled. They stay due for their last timeline entries; a step under way has lost
/// its lease.
pub async fn cancel_of_all(
    conn: &mut AsyncPgConnection,
    rows: Vec<Cancelled>,
    at: DateTime<Utc>,
) -> Result<()> {
    let (mut orgs, mut ids, mut states, mut details) = (vec![], vec![], vec![], vec![]);
    for row in rows {
        orgs.push(row.org_id);
        ids.push(row.id);
        states.push(row.state);
        details.push(row.detail);
    }
    sql("UPDATE runs r SET status = 'cancelled', ended_at = $1, lease_until = NULL, \
         due_at = CASE WHEN c.state IS NULL THEN NULL ELSE $2::timestamptz END, \
         epoch = r.epoch + 1, attempts = 0, hold_until = NULL, state = coalesce(c.state, r.state), \
         detail = c.detail \
         FROM unnest($3, $4, $5, $6) AS c(org_id, id, state, detail) \
         WHERE r.org_id = c.org_id AND r.id = c.id")
    .bind::<Timestamptz, _>(at)
    .bind::<Timestamptz, _>(at)
    .bind::<Array<SqlUuid>, _>(orgs)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Nullable<Jsonb>>, _>(states)
    .bind::<Array<Text>, _>(details)
    .execute(conn)
    .await?;
    platform::leased::wake_on_commit(conn, TABLE);
    Ok(())
}

/// What a step of a run changes of it.
#[derive(AsChangeset)]
#[diesel(table_name = runs)]
pub struct Progress {
    pub status: String,
    pub state: serde_json::Value,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub detail: Option<String>,
}

/// Writes progress; the caller holds the row's lock and has compared the epoch.
pub async fn advance(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid, progress: &Progress) -> Result<()> {
    diesel::update(runs::table.find((org, id))).set(progress).execute(conn).await?;
    Ok(())
}

/// The run does not hold paging any more.
pub async fn end_hold(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<()> {
    let none = None::<DateTime<Utc>>;
    diesel::update(runs::table.find((org, id))).set(dsl::hold_until.eq(none)).execute(conn).await?;
    Ok(())
}

/// Makes a run that nobody works on due at `at`, and wakes the driver.
pub async fn make_due(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid, at: DateTime<Utc>) -> Result<()> {
    diesel::update(runs::table.find((org, id))).set(dsl::due_at.eq(at)).execute(conn).await?;
    platform::leased::wake_on_commit(conn, TABLE);
    Ok(())
}

/// Asks a run for its next level, now.
pub async fn nudge(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid, at: DateTime<Utc>) -> Result<()> {
    diesel::update(runs::table.find((org, id)))
        .set((dsl::nudges.eq(dsl::nudges + 1), dsl::due_at.eq(at)))
        .execute(conn)
        .await?;
    platform::leased::wake_on_commit(conn, TABLE);
    Ok(())
}

/// Which runs a list holds.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this workflow or policy.
    pub program_id: Option<Uuid>,
    /// Of any of these incidents; of all when empty.
    pub incident_ids: Vec<Uuid>,
    /// With any of these; with all when empty.
    pub statuses: Vec<&'static str>,
}

/// A row without what it needs to go on: its program, and the incident that it runs on.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = runs)]
pub struct Outline {
    pub id: Uuid,
    pub kind: String,
    pub program_id: Uuid,
    pub name: String,
    pub incident_id: Uuid,
    pub incident_number: i64,
    pub status: String,
    pub state: serde_json::Value,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub detail: String,
    pub due_at: Option<DateTime<Utc>>,
}

/// The outline of one run.
pub async fn get_outline(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Outline> {
    let row = runs::table.find((org, id)).select(Outline::as_select()).first(conn).await.optional()?;
    row.ok_or_else(|| Error::not_found("run"))
}

/// Runs, newest first: ids grow with time.
pub async fn list(
    conn: &mut AsyncPgConnection,
    org: Uuid,
    filter: &Filter,
    page: &Page<Uuid>,
) -> Result<Vec<Outline>> {
    let mut query = runs::table.filter(dsl::org_id.eq(org)).select(Outline::as_select()).into_boxed();
    if let Some(program) = filter.program_id {
        query = query.filter(dsl::program_id.eq(program));
    }
    if !filter.incident_ids.is_empty() {
        query = query.filter(dsl::incident_id.eq_any(filter.incident_ids.clone()));
    }
    if !filter.statuses.is_empty() {
        query = query.filter(dsl::status.eq_any(filter.statuses.clone()));
    }
    if let Some(before) = page.after {
        query = query.filter(dsl::id.lt(before));
    }
    Ok(query.order(dsl::id.desc()).limit(page.limit()).load(conn).await?)
}

/// The database's clock: what due times are compared with.
pub async fn database_now(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>> {
    #[derive(QueryableByName)]
    struct Now {
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
    }
    let row: Now = sql("SELECT pulseops.now() AS now").get_result(conn).await?;
    Ok(row.now)
}

/// See [`sweep`]. What still owes a timeline entry is due and stays.
pub const SWEEP: &str = "
WITH old AS (SELECT r.org_id, r.id, r.ended_at FROM runs r
    WHERE r.due_at IS NULL AND r.ended_at >= $1 AND r.ended_at < $2 AND NOT EXISTS (SELECT FROM incident_states i
        WHERE i.org_id = r.org_id AND i.incident_id = r.incident_id AND i.status <> 'resolved')
    ORDER BY r.ended_at LIMIT $3 FOR UPDATE OF r SKIP LOCKED),
steps AS (DELETE FROM run_steps s USING old o WHERE s.org_id = o.org_id AND s.run_id = o.id),
gone AS (DELETE FROM runs r USING old o WHERE r.org_id = o.org_id AND r.id = o.id RETURNING o.ended_at)
SELECT count(*) AS number, max(ended_at) AS last FROM gone";

/// What one [`sweep`] removed.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Swept {
    /// How many runs.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// When the last of them had ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last: Option<DateTime<Utc>>,
}

/// Removes up to `limit` runs that ended in `ended`, the oldest first, with their steps. Those of incidents
/// that are not resolved stay: what has started for an incident keeps it from starting again.
pub async fn sweep(conn: &mut AsyncPgConnection, ended: Range<DateTime<Utc>>, limit: i64) -> Result<Swept> {
    let query = sql(SWEEP)
        .bind::<Timestamptz, _>(ended.start)
        .bind::<Timestamptz, _>(ended.end)
        .bind::<BigInt, _>(limit);
    Ok(query.get_result(conn).await?)
}
