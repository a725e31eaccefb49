//! Queries over `incident_records`.

mod statistics;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::page::Page;
use uuid::Uuid;

pub use statistics::{CountRow, Grouping, StatisticRow, counts, statistics};

use crate::record::{Key, Record};
use crate::schema::incident_records::{self, dsl};

/// Which incidents. Empty lists filter nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub service_ids: Vec<Uuid>,
    pub team_ids: Vec<Uuid>,
    pub severities: Vec<&'static str>,
    pub urgencies: Vec<&'static str>,
    pub statuses: Vec<&'static str>,
    pub auto_resolved: Option<bool>,
    /// Inclusive.
    pub created_after: Option<DateTime<Utc>>,
    /// Exclusive.
    pub created_before: Option<DateTime<Utc>>,
}

/// The records of these incidents.
pub async fn find_records(conn: &mut AsyncPgConnection, keys: &[Key]) -> Result<HashMap<Key, Record>> {
    let (orgs, ids): (Vec<OrgId>, Vec<Uuid>) = keys.iter().copied().unzip();
    let rows: Vec<Record> = incident_records::table
        .filter(dsl::org_id.eq_any(orgs).and(dsl::incident_id.eq_any(ids)))
        .select(Record::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| ((row.org_id, row.incident_id), row)).collect())
}

/// Writes records; one that is there with a later version stays.
pub async fn upsert_records(conn: &mut AsyncPgConnection, records: Vec<Record>) -> Result<usize> {
    macro_rules! newer {
        ($($column:ident),+ $(,)?) => { ($(dsl::$column.eq(excluded(dsl::$column))),+) };
    }
    let upsert = diesel::insert_into(incident_records::table)
        .values(records)
        .on_conflict((dsl::org_id, dsl::incident_id))
        .do_update()
        .set(newer!(
            version,
            title,
            status,
            severity,
            urgency,
            service_id,
            service_name,
            team_id,
            team_name,
            first_acknowledged_at,
            resolved_at,
            auto_resolved,
            escalations,
            reopen_count,
            merged,
            mtta_ms,
            mttr_ms,
        ));
    // Named in full: in scope it would collide with that of QueryDsl.
    let newer =
        diesel::query_dsl::methods::FilterDsl::filter(upsert, dsl::version.le(excluded(dsl::version)));
    Ok(newer.execute(conn).await?)
}

/// One page of records, by creation.
pub async fn list_records(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<(DateTime<Utc>, Uuid)>,
) -> Result<Vec<Record>> {
    let mut query = incident_records::table
        .filter(dsl::org_id.eq(org).and(dsl::merged.eq(false)))
        .select(Record::as_select())
        .into_boxed();
    // The rows of one service or team lie in order in its index; those of several must be sorted.
    query = match &filter.service_ids[..] {
        [] => query,
        [one] => query.filter(dsl::service_id.eq(one)),
        many => query.filter(dsl::service_id.eq_any(many)),
    };
    query = match &filter.team_ids[..] {
        [] => query,
        [one] => query.filter(dsl::team_id.eq(one)),
        many => query.filter(dsl::team_id.eq_any(many)),
    };
    if !filter.severities.is_empty() {
        query = query.filter(dsl::severity.eq_any(&filter.severities));
    }
    if !filter.urgencies.is_empty() {
        query = query.filter(dsl::urgency.eq_any(&filter.urgencies));
    }
    if let Some(auto_resolved) = filter.auto_resolved {
        query = query.filter(dsl::resolved_at.is_not_null().and(dsl::auto_resolved.eq(auto_resolved)));
    }
    if !filter.statuses.is_empty() {
        query = query.filter(dsl::status.eq_any(&filter.statuses));
    }
    if let Some(from) = filter.created_after {
        query = query.filter(dsl::created_at.ge(from));
    }
    if let Some(until) = filter.created_before {
        query = query.filter(dsl::created_at.lt(until));
    }
    Ok(platform::keyset!(query, dsl::created_at, dsl::incident_id, page).load(conn).await?)
}
