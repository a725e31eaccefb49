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
pub struct NewEntry<'a> {
    pub org_id: OrgId,
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub actor_kind: &'static str,
    pub actor_id: Uuid,
    pub actor_name: String,
    pub action: &'static str,
    pub subject_kind: &'static str,
    pub subject_id: Uuid,
    pub before: Option<&'a Json>,
    pub after: Option<&'a Json>,
    pub request_id: Uuid,
}

pub async fn insert(conn: &mut AsyncPgConnection, entry: &NewEntry<'_>) -> Result<()> {
    diesel::insert_into(audit::table).values(entry).execute(conn).await?;
    Ok(())
}
