//! Workflows.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use platform::sql::sql;
use uuid::Uuid;

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

pub async fn insert(conn: &mut AsyncPgConnection, row: &Workflow) -> Result<()> {
    diesel::insert_into(workflows::table).values(row).execute(conn).await?;
    Ok(())
}

pub async fn update(conn: &mut AsyncPgConnection, row: &Workflow) -> Result<()> {
    let target = workflows::table.find((row.org_id, row.id));
    diesel::update(target).set(row).execute(conn).await?;
    Ok(())
}

pub async fn get(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Workflow> {
    let row = workflows::table.find((org, id)).first(conn).await.optional()?;
    row.ok_or_else(|| Error::not_found("workflow"))
}

pub async fn get_for_update(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Workflow> {
    let row = workflows::table.find((org, id)).for_update().first(conn).await.optional()?;
    row.ok_or_else(|| Error::not_found("workflow"))
}

/// A page of them, the archived too when asked for.
pub async fn list(
    conn: &mut AsyncPgConnection,
    org: Uuid,
    archived: bool,
    page: &Page<ConfigKey>,
) -> Result<Vec<Workflow>> {
    let mut query = workflows::table.filter(dsl::org_id.eq(org)).into_boxed();
    if !archived {
        query = query.filter(dsl::archived_at.is_null());
    }
    Ok(platform::config_list!(query, dsl, page).load(conn).await?)
}

/// Those of any of the organizations that one of the events may start.
pub async fn triggered_of_all(
    conn: &mut AsyncPgConnection,
    orgs: &[Uuid],
    triggers: &[&str],
) -> Result<Vec<Workflow>> {
    let rows = sql("SELECT * FROM workflows WHERE org_id = ANY ($1) AND triggers && $2 \
         AND archived_at IS NULL AND NOT disabled ORDER BY org_id, created_at, id")
    .bind::<Array<SqlUuid>, _>(orgs)
    .bind::<Array<Text>, _>(triggers)
    .load(conn)
    .await?;
    Ok(rows)
}
