mod due;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::Page;
use platform::sql::sql;
use uuid::Uuid;

use super::{Id, TimeKey, column};
use crate::json::{Json, Labels, Source};
use crate::kinds::{AlertId, AlertStatus, IncidentId, ServiceId, Severity, SourceKind};
use crate::schema::alerts;

pub use due::{Quiet, database_now, due, lock_due, look, resolve, set_quiet, settle};

/// What a detector says, one open alert per service, source and dedup key.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = alerts)]
pub struct Alert {
    pub org_id: OrgId,
    pub id: AlertId,
    pub service_id: ServiceId,
    /// None while the service was paused.
    pub incident_id: Option<IncidentId>,
    pub source_kind: SourceKind,
    pub source_id: Uuid,
    pub source_name: String,
    pub dedup_key: String,
    pub status: AlertStatus,
    pub severity: Severity,
    pub title: String,
    pub labels: Json<Labels>,
    /// Of the last event that fired.
    pub attributes: Json<Labels>,
    /// Of the last event that fired.
    pub value: Option<f64>,
    /// How often it was triggered.
    pub count: i64,
    pub started_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// Quiet for this long, it resolves itself.
    pub auto_resolve_ms: Option<i64>,
    pub version: i64,
    /// When it is looked at again: to resolve itself or, without an incident, to open one.
    pub due_at: Option<DateTime<Utc>>,
}

impl Alert {
    /// When it has been quiet for long enough to resolve itself, if nothing more comes.
    pub fn quiet_at(&self) -> Option<DateTime<Utc>> {
        crate::alerts::due_at(self.last_at, self.auto_resolve_ms)
    }

    /// Has it looked at at `at`, or earlier when it is due anyway.
    pub fn look_at(&mut self, at: DateTime<Utc>) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    pub fn source(&self) -> Source {
        Source { kind: self.source_kind, id: self.source_id, name: self.source_name.clone() }
    }

    pub fn key(&self) -> AlertKey {
        AlertKey {
            org: self.org_id,
            service: self.service_id,
            source: self.source_id,
            dedup_key: self.dedup_key.clone(),
        }
    }
}

/// What at most one open alert has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertKey {
    pub org: OrgId,
    pub service: ServiceId,
    pub source: Uuid,
    pub dedup_key: String,
}

/// See [`lock_open`].
pub const LOCK_OPEN: &str = "
SELECT a.* FROM alerts a
JOIN unnest($1, $2, $3, $4) AS k(org_id, service_id, source_id, dedup_key)
  ON k.org_id = a.org_id AND k.service_id = a.service_id AND k.source_id = a.source_id AND k.dedup_key = a.dedup_key
WHERE a.status = 'firing' ORDER BY a.id FOR UPDATE OF a";

/// The open alerts of these keys; nobody else changes them until the transaction ends.
pub async fn lock_open(conn: &mut AsyncPgConnection, keys: &[AlertKey]) -> Result<Vec<Alert>> {
    let rows = sql(LOCK_OPEN)
        .bind::<Array<SqlUuid>, _>(column(keys, |key| key.org))
        .bind::<Array<SqlUuid>, _>(column(keys, |key| key.service))
        .bind::<Array<SqlUuid>, _>(column(keys, |key| key.source))
        .bind::<Array<Text>, _>(column(keys, |key| key.dedup_key.as_str()))
        .load(conn)
        .await?;
    Ok(rows)
}

#[derive(QueryableByName)]
struct Resolved {
    #[diesel(sql_type = BigInt)]
    index: i64,
    #[diesel(sql_type = Timestamptz)]
    resolved_at: DateTime<Utc>,
}

const LAST_RESOLVED: &str = "
SELECT k.index, a.resolved_at
FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS k(org_id, service_id, source_id, dedup_key, index)
CROSS JOIN LATERAL (
    SELECT resolved_at FROM alerts
    WHERE org_id = k.org_id AND service_id = k.service_id AND source_id = k.source_id
      AND dedup_key = k.dedup_key AND status = 'resolved'
    ORDER BY resolved_at DESC LIMIT 1) a";

/// When the last resolved alert of each key was resolved.
pub async fn last_resolved(
    conn: &mut AsyncPgConnection,
    keys: &[AlertKey],
) -> Result<Vec<(AlertKey, DateTime<Utc>)>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Resolved> = sql(LAST_RESOLVED)
        .bind::<Array<SqlUuid>, _>(column(keys, |key| key.org))
        .bind::<Array<SqlUuid>, _>(column(keys, |key| key.service))
        .bind::<Array<SqlUuid>, _>(column(keys, |key| key.source))
        .bind::<Array<Text>, _>(column(keys, |key| key.dedup_key.as_str()))
        .load(conn)
        .await?;
    let key_of = |index: i64| usize::try_from(index - 1).ok().and_then(|index| keys.get(index));
    Ok(rows.iter().filter_map(|row| Some((key_of(row.index)?.clone(), row.resolved_at))).collect())
}

const INSERT: &str = "
INSERT INTO alerts (
    org_id, id, service_id, incident_id, source_kind, source_id, source_name, dedup_key, severity, title,
    labels, attributes, value, count, started_at, last_at, auto_resolve_ms, version, due_at, status)
SELECT k.*, 'firing'
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) AS k";

/// Inserts alerts that were just triggered.
pub async fn insert(conn: &mut AsyncPgConnection, rows: &[Alert]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql(INSERT)
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.org_id))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.id))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.service_id))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(rows, |row| row.incident_id))
        .bind::<Array<Text>, _>(column(rows, |row| row.source_kind))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.source_id))
        .bind::<Array<Text>, _>(column(rows, |row| row.source_name.as_str()))
        .bind::<Array<Text>, _>(column(rows, |row| row.dedup_key.as_str()))
        .bind::<Array<Text>, _>(column(rows, |row| row.severity))
        .bind::<Array<Text>, _>(column(rows, |row| row.title.as_str()))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.labels))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.attributes))
        .bind::<Array<Nullable<Double>>, _>(column(rows, |row| row.value))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.count))
        .bind::<Array<Timestamptz>, _>(column(rows, |row| row.started_at))
        .bind::<Array<Timestamptz>, _>(column(rows, |row| row.last_at))
        .bind::<Array<Nullable<BigInt>>, _>(column(rows, |row| row.auto_resolve_ms))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.version))
        .bind::<Array<Nullable<Timestamptz>>, _>(column(rows, |row| row.due_at))
        .execute(conn)
        .await?;
    Ok(())
}

const UPDATE: &str = "
UPDATE alerts a
SET incident_id = k.incident_id, count = k.count, last_at = k.last_at, auto_resolve_ms = k.auto_resolve_ms,
    version = k.version, due_at = k.due_at, attributes = coalesce(k.attributes, a.attributes), value = k.value
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
  AS k(org_id, id, incident_id, count, last_at, auto_resolve_ms, version, due_at, attributes, value)
WHERE a.org_id = k.org_id AND a.id = k.id";

/// An open alert after something new of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    pub alert: Alert,
    /// Whether its attributes are others than before. They are large, and most events change none.
    pub attributes: bool,
}

/// Writes what a further trigger changes of open alerts.
pub async fn update_open(conn: &mut AsyncPgConnection, changed: &[Changed]) -> Result<()> {
    let rows: Vec<&Alert> = changed.iter().map(|it| &it.alert).collect();
    let rows = rows.as_slice();
    if rows.is_empty() {
        return Ok(());
    }
    sql(UPDATE)
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.org_id))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| row.id))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(rows, |row| row.incident_id))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.count))
        .bind::<Array<Timestamptz>, _>(column(rows, |row| row.last_at))
        .bind::<Array<Nullable<BigInt>>, _>(column(rows, |row| row.auto_resolve_ms))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.version))
        .bind::<Array<Nullable<Timestamptz>>, _>(column(rows, |row| row.due_at))
        .bind::<Array<Nullable<Jsonb>>, _>(column(changed, |it| {
            it.attributes.then_some(&it.alert.attributes)
        }))
        .bind::<Array<Nullable<Double>>, _>(column(rows, |row| row.value))
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: AlertId) -> Result<Alert> {
    let found = alerts::table.find((org, id)).select(Alert::as_select()).first(conn).await.optional()?;
    found.ok_or_else(|| Error::not_found("alert"))
}

const RESOLVE_OF: &str = "
UPDATE alerts SET status = 'resolved', resolved_at = $1, due_at = NULL, version = version + 1
WHERE org_id = $2 AND incident_id = $3 AND status = 'firing' RETURNING id";

/// Resolves the open alerts of an incident; returns how many there were.
pub async fn resolve_of(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    incident: IncidentId,
    at: DateTime<Utc>,
) -> Result<usize> {
    let resolved: Vec<Id> = sql(RESOLVE_OF)
        .bind::<Timestamptz, _>(at)
        .bind::<SqlUuid, _>(org)
        .bind::<SqlUuid, _>(incident)
        .load(conn)
        .await?;
    tracing::debug!(incident.id = %incident, alerts = ?resolved.iter().map(|row| row.id).collect::<Vec<_>>(), "alerts resolved");
    Ok(resolved.len())
}

const FIRING_OF: &str = "
SELECT incident_id AS id FROM alerts
WHERE org_id = $1 AND incident_id = ANY ($2) AND status = 'firing' GROUP BY incident_id";

/// Those of these incidents that have an open alert.
pub async fn firing_of(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    incidents: &[IncidentId],
) -> Result<HashSet<IncidentId>> {
    let query = sql(FIRING_OF).bind::<SqlUuid, _>(org).bind::<Array<SqlUuid>, _>(incidents);
    Ok(query.load::<Id>(conn).await?.into_iter().map(|row| IncidentId(row.id)).collect())
}

/// What a list of alerts is narrowed to; an empty list narrows nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub incident_id: Option<IncidentId>,
    pub statuses: Vec<AlertStatus>,
    pub service_ids: Vec<ServiceId>,
    pub severities: Vec<Severity>,
    pub dedup_keys: Vec<String>,
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<TimeKey>,
) -> Result<Vec<Alert>> {
    let mut query = alerts::table.select(Alert::as_select()).filter(alerts::org_id.eq(org)).into_boxed();
    if let Some(incident) = filter.incident_id {
        query = query.filter(alerts::incident_id.eq(incident));
    }
    if !filter.statuses.is_empty() {
        query = query.filter(alerts::status.eq_any(&filter.statuses));
        if !filter.statuses.contains(&AlertStatus::Resolved) {
            // Says to the planner what the partial index of open alerts says.
            query = query.filter(diesel::dsl::sql::<Bool>("alerts.status = 'firing'"));
        }
    }
    if !filter.service_ids.is_empty() {
        query = query.filter(alerts::service_id.eq_any(&filter.service_ids));
    }
    if !filter.severities.is_empty() {
        query = query.filter(alerts::severity.eq_any(&filter.severities));
    }
    if !filter.dedup_keys.is_empty() {
        query = query.filter(alerts::dedup_key.eq_any(&filter.dedup_keys));
    }
    Ok(platform::keyset!(query, alerts::started_at, alerts::id, page).load(conn).await?)
}
