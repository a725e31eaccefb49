mod list;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::sql::sql;
use uuid::Uuid;

use super::column;
use crate::json::{ExternalRef, Image, Json, Labels, Link, Source};
use crate::kinds::{IncidentId, ServiceId, Severity, Status, Urgency};
use crate::lifecycle::Life;
use crate::schema::{incident_assignees, incidents};

pub use list::{Filter, Key, list};

/// What needs attention.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = incidents)]
pub struct Incident {
    pub org_id: OrgId,
    pub id: IncidentId,
    pub number: i64,
    pub title: String,
    pub description: String,
    pub severity: Severity,
    pub urgency: Urgency,
    #[diesel(embed)]
    pub life: Life,
    pub service_id: ServiceId,
    pub team_id: Option<Uuid>,
    pub team_name: String,
    pub assignee_ids: Vec<Uuid>,
    pub source: Json<Source>,
    pub labels: Json<Labels>,
    pub custom_fields: Option<serde_json::Value>,
    pub links: Json<Vec<Link>>,
    pub images: Json<Vec<Image>>,
    pub runbook_url: Option<String>,
    pub conference_url: Option<String>,
    pub external_refs: Json<Vec<ExternalRef>>,
    pub created_at: DateTime<Utc>,
    pub snoozed_until: Option<DateTime<Utc>>,
    pub merged_into_id: Option<IncidentId>,
    pub version: i64,
}

/// What of an incident changes after it was opened.
#[derive(AsChangeset)]
#[diesel(table_name = incidents, treat_none_as_null = true)]
struct Change<'a> {
    title: &'a str,
    description: &'a str,
    severity: Severity,
    urgency: Urgency,
    assignee_ids: &'a [Uuid],
    labels: &'a Json<Labels>,
    custom_fields: Option<&'a serde_json::Value>,
    links: &'a Json<Vec<Link>>,
    images: &'a Json<Vec<Image>>,
    runbook_url: Option<&'a str>,
    conference_url: Option<&'a str>,
    external_refs: &'a Json<Vec<ExternalRef>>,
    version: i64,
}

/// How the path names an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Id(IncidentId),
    Number(i64),
}

impl Named {
    /// Reads the path variable `id`: a UUID or a number.
    ///
    /// # Errors
    /// Invalid at `id`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => IncidentId::parse("id", text).map(Self::Id),
        }
    }
}

const NUMBERS: &str = "
INSERT INTO incident_counters AS c (org_id, last)
SELECT org_id, k FROM unnest($1, $2) AS n(org_id, k) ORDER BY org_id
ON CONFLICT (org_id) DO UPDATE SET last = c.last + excluded.last
RETURNING org_id, last AS number";

/// The last number of a block of an organization's.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Numbers {
    #[diesel(sql_type = SqlUuid)]
    pub org_id: OrgId,
    #[diesel(sql_type = BigInt)]
    pub number: i64,
}

/// Takes blocks of numbers, one per organization; returns the last number of each.
pub async fn take_numbers(conn: &mut AsyncPgConnection, blocks: &[(OrgId, i64)]) -> Result<Vec<Numbers>> {
    let (orgs, sizes): (Vec<OrgId>, Vec<i64>) = blocks.iter().copied().unzip();
    let numbers =
        sql(NUMBERS).bind::<Array<SqlUuid>, _>(orgs).bind::<Array<BigInt>, _>(sizes).load(conn).await?;
    Ok(numbers)
}

const INSERT: &str = "
INSERT INTO incidents (
    org_id, id, number, title, description, severity, urgency, service_id, team_id, team_name,
    source, labels, custom_fields, links, images, runbook_url, conference_url, external_refs,
    created_at, version, assignee_ids, status, auto_resolved, resolution_note, reopen_count)
SELECT k.*, '{}', 'triggered', false, '', 0
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) AS k";

/// Inserts incidents that were just opened: triggered, nobody assigned.
pub async fn insert(conn: &mut AsyncPgConnection, rows: &[Incident]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql(INSERT)
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.org_id))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.id))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.number))
        .bind::<Array<Text>, _>(column(rows, |row| row.title.as_str()))
        .bind::<Array<Text>, _>(column(rows, |row| row.description.as_str()))
        .bind::<Array<Text>, _>(column(rows, |row| row.severity))
        .bind::<Array<Text>, _>(column(rows, |row| row.urgency))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.service_id))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(rows, |row| row.team_id))
        .bind::<Array<Text>, _>(column(rows, |row| row.team_name.as_str()))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.source))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.labels))
        .bind::<Array<Nullable<Jsonb>>, _>(column(rows, |row| row.custom_fields.as_ref()))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.links))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.images))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.runbook_url.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.conference_url.as_deref()))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.external_refs))
        .bind::<Array<Timestamptz>, _>(column(rows, |row| row.created_at))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.version))
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes what can change of an incident.
pub async fn update(conn: &mut AsyncPgConnection, row: &Incident) -> Result<()> {
    let change = Change {
        title: &row.title,
        description: &row.description,
        severity: row.severity,
        urgency: row.urgency,
        assignee_ids: &row.assignee_ids,
        labels: &row.labels,
        custom_fields: row.custom_fields.as_ref(),
        links: &row.links,
        images: &row.images,
        runbook_url: row.runbook_url.as_deref(),
        conference_url: row.conference_url.as_deref(),
        external_refs: &row.external_refs,
        version: row.version,
    };
    diesel::update(incidents::table.find((row.org_id, row.id)))
        .set((change, &row.life))
        .execute(conn)
        .await?;
    Ok(())
}

/// Replaces the rows behind the filter by assignee.
pub async fn set_assignees(conn: &mut AsyncPgConnection, row: &Incident) -> Result<()> {
    use incident_assignees::dsl;
    let old = dsl::incident_assignees.filter(dsl::org_id.eq(row.org_id)).filter(dsl::incident_id.eq(row.id));
    diesel::delete(old).execute(conn).await?;
    let new: Vec<_> = row
        .assignee_ids
        .iter()
        .map(|user| (dsl::org_id.eq(row.org_id), dsl::user_id.eq(user), dsl::incident_id.eq(row.id)))
        .collect();
    diesel::insert_into(dsl::incident_assignees).values(new).execute(conn).await?;
    Ok(())
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, named: Named) -> Result<Incident> {
    let query = incidents::table.select(Incident::as_select()).filter(incidents::org_id.eq(org)).into_boxed();
    let query = match named {
        Named::Id(id) => query.filter(incidents::id.eq(id)),
        Named::Number(number) => query.filter(incidents::number.eq(number)),
    };
    query.first(conn).await.optional()?.ok_or_else(|| Error::not_found("incident"))
}

/// Like [`get`], and nobody else changes it until the transaction ends. Rows that only refer to
/// the incident (timeline entries, alerts) can still be written by others.
pub async fn lock(conn: &mut AsyncPgConnection, org: OrgId, named: Named) -> Result<Incident> {
    let found = match named {
        Named::Id(id) => {
            incidents::table
                .filter(incidents::org_id.eq(org).and(incidents::id.eq(id)))
                .select(Incident::as_select())
                .for_no_key_update()
                .first(conn)
                .await
        }
        Named::Number(number) => {
            incidents::table
                .filter(incidents::org_id.eq(org).and(incidents::number.eq(number)))
                .select(Incident::as_select())
                .for_no_key_update()
                .first(conn)
                .await
        }
    };
    found.optional()?.ok_or_else(|| Error::not_found("incident"))
}

/// Like [`lock`] for several, in the order of their ids.
pub async fn lock_all(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[IncidentId],
) -> Result<HashMap<IncidentId, Incident>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Incident> = incidents::table
        .filter(incidents::org_id.eq(org).and(incidents::id.eq_any(ids)))
        .select(Incident::as_select())
        .order(incidents::id)
        .for_no_key_update()
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

const RESOLVE: &str = "
UPDATE incidents i
SET status = 'resolved', resolved_at = k.resolved_at, resolved_by = k.resolved_by,
    auto_resolved = k.auto_resolved, resolution_note = k.note, version = k.version
FROM unnest($1, $2, $3, $4, $5, $6, $7)
  AS k(org_id, id, resolved_at, resolved_by, auto_resolved, note, version)
WHERE i.org_id = k.org_id AND i.id = k.id";

/// Writes that these incidents are resolved.
pub async fn resolve(conn: &mut AsyncPgConnection, rows: &[Incident]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql(RESOLVE)
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.org_id))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.id))
        .bind::<Array<Nullable<Timestamptz>>, _>(column(rows, |row| row.life.resolved_at))
        .bind::<Array<Nullable<Jsonb>>, _>(column(rows, |row| row.life.resolved_by.as_ref()))
        .bind::<Array<Bool>, _>(column(rows, |row| row.life.auto_resolved))
        .bind::<Array<Text>, _>(column(rows, |row| row.life.resolution_note.as_str()))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.version))
        .execute(conn)
        .await?;
    Ok(())
}

/// What automation asks about an incident, again and again.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = incidents)]
pub struct State {
    pub id: IncidentId,
    pub status: Status,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub version: i64,
}

impl From<&Incident> for State {
    fn from(row: &Incident) -> Self {
        Self {
            id: row.id,
            status: row.life.status,
            acknowledged_at: row.life.acknowledged_at,
            resolved_at: row.life.resolved_at,
            version: row.version,
        }
    }
}

/// The states of those of `ids` that exist.
pub async fn states(conn: &mut AsyncPgConnection, org: OrgId, ids: &[IncidentId]) -> Result<Vec<State>> {
    let rows = incidents::table
        .select(State::as_select())
        .filter(incidents::org_id.eq(org).and(incidents::id.eq_any(ids)))
        .load(conn)
        .await?;
    Ok(rows)
}
