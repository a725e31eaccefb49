//! Escalation policies.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::{Ctx, parse_id};
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use platform::sql::sql;
use uuid::Uuid;

use super::configured::configured;
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

configured!(escalation_policies, Policy, "escalation policy");

/// See [`find_of_all`].
pub const OF_ALL: &str = "SELECT p.* FROM escalation_policies p \
     JOIN unnest($1, $2) AS k(org_id, id) USING (org_id, id)";

/// Those with these keys (organization, id), archived ones too.
pub async fn find_of_all(conn: &mut AsyncPgConnection, keys: &[(Uuid, Uuid)]) -> Result<Vec<Policy>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (orgs, ids): (Vec<Uuid>, Vec<Uuid>) = keys.iter().copied().unzip();
    Ok(sql(OF_ALL).bind::<Array<SqlUuid>, _>(orgs).bind::<Array<SqlUuid>, _>(ids).load(conn).await?)
}

/// Which of `ids` exist and are not archived.
pub async fn live(conn: &mut AsyncPgConnection, org: Uuid, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let query = escalation_policies::table
        .filter(dsl::org_id.eq(org))
        .filter(dsl::id.eq_any(ids))
        .filter(dsl::archived_at.is_null());
    Ok(query.select(dsl::id).load(conn).await?)
}
