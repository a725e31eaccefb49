use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use serde_json::Value as Json;

use crate::schema::organizations;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = organizations, check_for_backend(diesel::pg::Pg))]
pub struct Organization {
    pub org_id: OrgId,
    pub slug: String,
    pub name: String,
    pub time_zone: String,
    pub labels: Json,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub archived_at: Option<DateTime<Utc>>,
    pub version: i64,
}

/// False when the slug is taken.
pub async fn insert(conn: &mut AsyncPgConnection, new: &Organization) -> Result<bool> {
    let inserted = diesel::insert_into(organizations::table)
        .values(new)
        .on_conflict(organizations::slug)
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId) -> Result<Organization> {
    let found =
        organizations::table.find(org).select(Organization::as_select()).first(conn).await.optional()?;
    found.ok_or_else(|| Error::not_found("organization"))
}

/// Takes the lock under which the organization's users are changed, one at a time, so that two
/// owners cannot demote each other. New sessions and keys do not wait for it.
pub async fn lock(conn: &mut AsyncPgConnection, org: OrgId) -> Result<()> {
    let found: Option<OrgId> = organizations::table
        .find(org)
        .select(organizations::org_id)
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    found.map(drop).ok_or_else(|| Error::not_found("organization"))
}
