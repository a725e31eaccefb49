use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::Page;
use platform::sql::sql;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::TimeKey;
use crate::json::{ExternalRef, Image, Json, Labels, Link, Source};
use crate::kinds::{IncidentId, ServiceId, Severity, Status, Urgency};
use crate::lifecycle::Life;
use crate::schema::{incident_assignees, incidents};

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
    fn column<'a, T>(rows: &'a [Incident], of: impl Fn(&'a Incident) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
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

/// Those of `ids` that exist.
pub async fn find_all(conn: &mut AsyncPgConnection, org: OrgId, ids: &[IncidentId]) -> Result<Vec<Incident>> {
    let rows = incidents::table
        .select(Incident::as_select())
        .filter(incidents::org_id.eq(org).and(incidents::id.eq_any(ids)))
        .load(conn)
        .await?;
    Ok(rows)
}

/// What a list of incidents is narrowed to; an empty list narrows nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub statuses: Vec<Status>,
    pub severities: Vec<Severity>,
    pub urgencies: Vec<Urgency>,
    pub service_ids: Vec<ServiceId>,
    pub team_ids: Vec<Uuid>,
    pub assignee_ids: Vec<Uuid>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

/// The key that a page of incidents ends with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    Number((i64, Uuid)),
    Time(TimeKey),
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<Key>,
) -> Result<Vec<Incident>> {
    let mut query =
        incidents::table.select(Incident::as_select()).filter(incidents::org_id.eq(org)).into_boxed();
    if !filter.statuses.is_empty() {
        query = query.filter(incidents::status.eq_any(&filter.statuses));
        if !filter.statuses.contains(&Status::Resolved) {
            // Says to the planner what the partial index of open incidents says.
            query =
                query.filter(diesel::dsl::sql::<diesel::sql_types::Bool>("incidents.status <> 'resolved'"));
        }
    }
    if !filter.severities.is_empty() {
        query = query.filter(incidents::severity.eq_any(&filter.severities));
    }
    if !filter.urgencies.is_empty() {
        query = query.filter(incidents::urgency.eq_any(&filter.urgencies));
    }
    if !filter.service_ids.is_empty() {
        query = query.filter(incidents::service_id.eq_any(&filter.service_ids));
    }
    if !filter.team_ids.is_empty() {
        query = query.filter(incidents::team_id.eq_any(&filter.team_ids));
    }
    if !filter.assignee_ids.is_empty() {
        let assigned = incident_assignees::table
            .filter(incident_assignees::org_id.eq(org))
            .filter(incident_assignees::user_id.eq_any(&filter.assignee_ids))
            .select(incident_assignees::incident_id);
        query = query.filter(incidents::id.eq_any(assigned));
    }
    if let Some(after) = filter.created_after {
        query = query.filter(incidents::created_at.ge(after));
    }
    if let Some(before) = filter.created_before {
        query = query.filter(incidents::created_at.lt(before));
    }
    let (query, descending, after) = (query.limit(page.limit()), page.sort.descending, page.after.clone());
    let query = match page.sort.field {
        "number" => {
            let after = after.and_then(Key::number);
            platform::keyset!(query, incidents::number, incidents::id, descending, after)
        }
        _ => {
            let after = after.and_then(Key::time);
            platform::keyset!(query, incidents::created_at, incidents::id, descending, after)
        }
    };
    Ok(query.load(conn).await?)
}

impl Key {
    fn number(self) -> Option<(i64, Uuid)> {
        match self {
            Self::Number(key) => Some(key),
            Self::Time(_) => None,
        }
    }

    fn time(self) -> Option<TimeKey> {
        match self {
            Self::Time(key) => Some(key),
            Self::Number(_) => None,
        }
    }

    /// The key of a row in a list sorted by `field`.
    pub fn of(field: &str, row: &Incident) -> Self {
        match field {
            "number" => Self::Number((row.number, row.id.uuid())),
            _ => Self::Time((row.created_at, row.id.uuid())),
        }
    }
}
