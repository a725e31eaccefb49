//! Escalation policies.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use platform::sql::sql;
use uuid::Uuid;

use crate::schema::escalation_policies::{self, dsl};

/// A row.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = escalation_policies, primary_key(org_id, id), treat_none_as_null = true)]
pub struct Policy {
    pub org_id: Uuid,
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub levels: Vec<u8>,
    pub target_names: serde_json::Value,
    pub repeat: i32,
    pub labels: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub version: i64,
    pub archived_at: Option<DateTime<Utc>>,
}

pub async fn insert(conn: &mut AsyncPgConnection, row: &Policy) -> Result<()> {
    diesel::insert_into(escalation_policies::table).values(row).execute(conn).await?;
    Ok(())
}

pub async fn update(conn: &mut AsyncPgConnection, row: &Policy) -> Result<()> {
    let target = escalation_policies::table.find((row.org_id, row.id));
    diesel::update(target).set(row).execute(conn).await?;
    Ok(())
}

pub async fn get(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Policy> {
    let row = escalation_policies::table.find((org, id)).first(conn).await.optional()?;
    row.ok_or_else(|| Error::not_found("escalation policy"))
}

pub async fn get_for_update(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Policy> {
    let row = escalation_policies::table.find((org, id)).for_update().first(conn).await.optional()?;
    row.ok_or_else(|| Error::not_found("escalation policy"))
}

/// A page of them, the archived too when asked for.
pub async fn list(
    conn: &mut AsyncPgConnection,
    org: Uuid,
    archived: bool,
    page: &Page<ConfigKey>,
) -> Result<Vec<Policy>> {
    let mut query = escalation_policies::table.filter(dsl::org_id.eq(org)).into_boxed();
    if !archived {
        query = query.filter(dsl::archived_at.is_null());
    }
    Ok(platform::config_list!(query, dsl, page).load(conn).await?)
}

/// Those with these ids, archived ones too, of whatever organization.
pub async fn find_of_all(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> Result<Vec<Policy>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = "SELECT * FROM escalation_policies WHERE id = ANY ($1)";
    Ok(sql(text).bind::<Array<SqlUuid>, _>(ids).load(conn).await?)
}

/// The one with this id, archived or not.
pub async fn find(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Option<Policy>> {
    Ok(escalation_policies::table.find((org, id)).first(conn).await.optional()?)
}

/// Which of `ids` exist and are not archived.
pub async fn live(conn: &mut AsyncPgConnection, org: Uuid, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let query = escalation_policies::table
        .filter(dsl::org_id.eq(org))
        .filter(dsl::id.eq_any(ids))
        .filter(dsl::archived_at.is_null());
    Ok(query.select(dsl::id).load(conn).await?)
}
