use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::page::Page;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Incident;
use crate::kinds::{ServiceId, Severity, Status, Urgency};
use crate::schema::{incident_assignees, incidents};
use crate::store::TimeKey;

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
            query = query.filter(diesel::dsl::sql::<Bool>("incidents.status <> 'resolved'"));
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
