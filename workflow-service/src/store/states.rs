//! The incidents' states, as far as this service has heard.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::Result;
use platform::sql::sql;
use uuid::Uuid;

use crate::schema::incident_states::{self, dsl};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = incident_states)]
pub struct IncidentState {
    pub org_id: Uuid,
    pub incident_id: Uuid,
    pub number: i64,
    pub status: String,
    pub version: i64,
    pub at: DateTime<Utc>,
}

const UPSERT: &str = "
INSERT INTO incident_states (org_id, incident_id, number, status, version, at)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6)
ON CONFLICT ON CONSTRAINT incident_states_pkey DO UPDATE
SET number = excluded.number, status = excluded.status, version = excluded.version, at = excluded.at
WHERE incident_states.version < excluded.version";

/// What was applied so far of these incidents, by organization and incident.
pub async fn find_of_all(
    conn: &mut AsyncPgConnection,
    incidents: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), IncidentState>> {
    let (orgs, ids): (Vec<Uuid>, Vec<Uuid>) = incidents.iter().copied().unzip();
    let rows: Vec<IncidentState> = sql("SELECT s.* FROM incident_states s \
         JOIN unnest($1, $2) AS k(org_id, incident_id) USING (org_id, incident_id)")
    .bind::<Array<SqlUuid>, _>(orgs)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.org_id, row.incident_id), row)).collect())
}

/// Writes what is newer than what stands there; one row per incident.
pub async fn upsert_of_all(conn: &mut AsyncPgConnection, rows: &[IncidentState]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    fn column<T>(rows: &[IncidentState], of: impl Fn(&IncidentState) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    sql(UPSERT)
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.org_id))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.incident_id))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.number))
        .bind::<Array<Text>, _>(column(rows, |row| row.status.clone()))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.version))
        .bind::<Array<Timestamptz>, _>(column(rows, |row| row.at))
        .execute(conn)
        .await?;
    Ok(())
}

/// The state of one incident.
pub async fn find(conn: &mut AsyncPgConnection, org: Uuid, incident: Uuid) -> Result<Option<IncidentState>> {
    let query = incident_states::table.filter(dsl::org_id.eq(org)).filter(dsl::incident_id.eq(incident));
    Ok(query.first(conn).await.optional()?)
}
