use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::schema::audit;

#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = audit)]
pub struct NewEntry {
    pub org_id: OrgId,
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Uuid,
    pub actor_name: String,
    pub action: String,
    pub subject_kind: String,
    pub subject_id: Uuid,
    pub before: Option<Json>,
    pub after: Option<Json>,
    pub request_id: Uuid,
}

pub async fn insert(conn: &mut AsyncPgConnection, entry: &NewEntry) -> Result<()> {
    diesel::insert_into(audit::table).values(entry).execute(conn).await?;
    Ok(())
}

/// Those that are there already stay as they are.
pub async fn insert_missing(conn: &mut AsyncPgConnection, entries: &[NewEntry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    diesel::insert_into(audit::table).values(entries).on_conflict_do_nothing().execute(conn).await?;
    Ok(())
}
