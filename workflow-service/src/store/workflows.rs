//! Workflows.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::{Ctx, parse_id};
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use platform::sql::sql;
use uuid::Uuid;

use super::configured::configured;
use crate::schema::workflows::{self, dsl};

/// A row.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = workflows, primary_key(org_id, id), treat_none_as_null = true)]
pub struct Workflow {
    pub org_id: Uuid,
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub triggers: Vec<String>,
    pub condition: String,
    /// Steps that the condition takes at worst.
    pub cost: i64,
    pub service_ids: Vec<Uuid>,
    pub hold_paging_ms: i64,
    pub steps: Vec<u8>,
    pub disabled: bool,
    pub labels: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub version: i64,
    pub archived_at: Option<DateTime<Utc>>,
}

configured!(workflows, Workflow, "workflow");

impl Workflow {
    /// What it adds to the cost of its organization's incidents.
    pub fn cost_in_force(&self) -> i64 {
        if self.disabled || self.archived_at.is_some() { 0 } else { self.cost }
    }
}

/// Until the transaction ends nobody else adds to what is live in the organization.
pub async fn lock_live(conn: &mut AsyncPgConnection, org: Uuid) -> Result<()> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('pulseops live workflows ' || $1, 0))";
    sql(LOCK).bind::<Text, _>(org.to_string()).execute(conn).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Cost {
    #[diesel(sql_type = BigInt)]
    cost: i64,
}

/// See [`cost_beside`].
pub const COST_BESIDE: &str = "SELECT coalesce(sum(cost), 0)::int8 AS cost FROM workflows \
     WHERE org_id = $1 AND id <> $2 AND archived_at IS NULL AND NOT disabled";

/// What the conditions in force of an organization cost together, this one left out.
pub async fn cost_beside(conn: &mut AsyncPgConnection, row: &Workflow) -> Result<i64> {
    let query = sql(COST_BESIDE).bind::<SqlUuid, _>(row.org_id).bind::<SqlUuid, _>(row.id);
    Ok(query.get_result::<Cost>(conn).await?.cost)
}

/// How many the organization has that are not archived.
pub async fn count_live(conn: &mut AsyncPgConnection, org: Uuid) -> Result<i64> {
    let live = workflows::table.filter(dsl::org_id.eq(org)).filter(dsl::archived_at.is_null());
    Ok(live.count().get_result(conn).await?)
}

/// Which version of a workflow there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
#[diesel(table_name = workflows)]
pub struct Version {
    pub org_id: Uuid,
    pub id: Uuid,
    pub version: i64,
}

/// See [`triggered_of_all`].
pub const TRIGGERED: &str = "SELECT org_id, id, version FROM workflows \
     WHERE org_id = ANY ($1) AND triggers && $2 AND (service_ids = '{}' OR service_ids && $3) \
     AND archived_at IS NULL AND NOT disabled ORDER BY org_id, created_at, id";

/// Those of any of the organizations that one of the events, of one of the services, may start.
pub async fn triggered_of_all(
    conn: &mut AsyncPgConnection,
    orgs: &[Uuid],
    triggers: &[&str],
    services: &[Uuid],
) -> Result<Vec<Version>> {
    let rows = sql(TRIGGERED)
        .bind::<Array<SqlUuid>, _>(orgs)
        .bind::<Array<Text>, _>(triggers)
        .bind::<Array<SqlUuid>, _>(services)
        .load(conn)
        .await?;
    Ok(rows)
}

/// See [`find_of_all`].
pub const OF_ALL: &str =
    "SELECT w.* FROM workflows w JOIN unnest($1, $2) AS k(org_id, id) USING (org_id, id)";

/// Those with these keys (organization, id).
pub async fn find_of_all(conn: &mut AsyncPgConnection, keys: &[(Uuid, Uuid)]) -> Result<Vec<Workflow>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (orgs, ids): (Vec<Uuid>, Vec<Uuid>) = keys.iter().copied().unzip();
    Ok(sql(OF_ALL).bind::<Array<SqlUuid>, _>(orgs).bind::<Array<SqlUuid>, _>(ids).load(conn).await?)
}
