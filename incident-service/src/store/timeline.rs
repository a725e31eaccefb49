use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Jsonb, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use platform::page::Page;
use platform::sql::sql;
use uuid::Uuid;

use super::{TimeKey, column};
use crate::json::{Actor, Json};
use crate::kinds::{IncidentId, TimelineKind};
use crate::schema::timeline;

/// One entry; never changed.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = timeline)]
pub struct Entry {
    pub org_id: OrgId,
    pub incident_id: IncidentId,
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub kind: TimelineKind,
    pub actor: Json<Actor>,
    /// A `TimelineEntry` with nothing but its `data`.
    pub data: Vec<u8>,
}

const APPEND: &str = "
INSERT INTO timeline (org_id, incident_id, id, at, kind, actor, data)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)";

pub async fn append(conn: &mut AsyncPgConnection, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    sql(APPEND)
        .bind::<Array<SqlUuid>, _>(column(entries, |entry| entry.org_id))
        .bind::<Array<SqlUuid>, _>(column(entries, |entry| entry.incident_id))
        .bind::<Array<SqlUuid>, _>(column(entries, |entry| entry.id))
        .bind::<Array<Timestamptz>, _>(column(entries, |entry| entry.at))
        .bind::<Array<Text>, _>(column(entries, |entry| entry.kind))
        .bind::<Array<Jsonb>, _>(column(entries, |entry| &entry.actor))
        .bind::<Array<Binary>, _>(column(entries, |entry| entry.data.as_slice()))
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    incident: IncidentId,
    kinds: &[TimelineKind],
    page: &Page<TimeKey>,
) -> Result<Vec<Entry>> {
    let mut query = timeline::table
        .select(Entry::as_select())
        .filter(timeline::org_id.eq(org).and(timeline::incident_id.eq(incident)))
        .into_boxed();
    if !kinds.is_empty() {
        query = query.filter(timeline::kind.eq_any(kinds));
    }
    Ok(platform::keyset!(query, timeline::at, timeline::id, page).load(conn).await?)
}
