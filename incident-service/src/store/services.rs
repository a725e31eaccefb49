use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use uuid::Uuid;

use crate::json::{Json, Labels, Link};
use crate::kinds::{ServiceId, UrgencyRule};
use crate::schema::{rule_sets, services};

/// A component that can fail. Names of team and policy are kept as they were when the reference
/// was written.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = services, treat_none_as_null = true)]
pub struct Service {
    pub org_id: OrgId,
    pub id: ServiceId,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub team_id: Option<Uuid>,
    pub team_name: String,
    pub policy_id: Option<Uuid>,
    pub policy_name: String,
    pub labels: Json<Labels>,
    pub runbook_url: Option<String>,
    pub links: Json<Vec<Link>>,
    pub urgency_rule: UrgencyRule,
    pub paused_until: Option<DateTime<Utc>>,
    pub auto_resolve_ms: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub archived_at: Option<DateTime<Utc>>,
    pub version: i64,
}

/// What a list of services is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub team_ids: Vec<Uuid>,
    pub slugs: Vec<String>,
    pub archived: bool,
}

/// Whether an archived service has this slug.
pub async fn is_slug_archived(conn: &mut AsyncPgConnection, org: OrgId, slug: &str) -> Result<bool> {
    let holder = services::table.filter(services::org_id.eq(org)).filter(services::slug.eq(slug));
    let archived = holder.filter(services::archived_at.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(archived)).get_result(conn).await?)
}

pub async fn insert(conn: &mut AsyncPgConnection, service: &Service) -> Result<()> {
    diesel::insert_into(services::table).values(service).execute(conn).await?;
    let set = (
        rule_sets::org_id.eq(service.org_id),
        rule_sets::service_id.eq(service.id),
        rule_sets::version.eq(1_i64),
    );
    diesel::insert_into(rule_sets::table).values(set).execute(conn).await?;
    Ok(())
}

/// Replaces the row.
pub async fn update(conn: &mut AsyncPgConnection, service: &Service) -> Result<()> {
    diesel::update(services::table.find((service.org_id, service.id))).set(service).execute(conn).await?;
    Ok(())
}

/// Tells the engine that something of this service or its rules is different.
pub async fn touch_rules(conn: &mut AsyncPgConnection, org: OrgId, service: ServiceId) -> Result<()> {
    diesel::update(rule_sets::table.find((org, service)))
        .set(rule_sets::version.eq(rule_sets::version + 1))
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn find(conn: &mut AsyncPgConnection, org: OrgId, id: ServiceId) -> Result<Option<Service>> {
    let found = services::table.find((org, id)).select(Service::as_select()).first(conn).await.optional()?;
    Ok(found)
}

/// Those of `ids` that exist.
pub async fn find_all(conn: &mut AsyncPgConnection, org: OrgId, ids: &[ServiceId]) -> Result<Vec<Service>> {
    let rows = services::table
        .select(Service::as_select())
        .filter(services::org_id.eq(org).and(services::id.eq_any(ids)))
        .load(conn)
        .await?;
    Ok(rows)
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: ServiceId) -> Result<Service> {
    find(conn, org, id).await?.ok_or_else(|| Error::not_found("service"))
}

/// Like [`get`], and nobody else changes it until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection, org: OrgId, id: ServiceId) -> Result<Service> {
    let found = services::table
        .find((org, id))
        .select(Service::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    found.ok_or_else(|| Error::not_found("service"))
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<ConfigKey>,
) -> Result<Vec<Service>> {
    let mut query =
        services::table.select(Service::as_select()).filter(services::org_id.eq(org)).into_boxed();
    if !filter.archived {
        query = query.filter(services::archived_at.is_null());
    }
    if !filter.team_ids.is_empty() {
        query = query.filter(services::team_id.eq_any(&filter.team_ids));
    }
    if !filter.slugs.is_empty() {
        query = query.filter(services::slug.eq_any(&filter.slugs));
    }
    Ok(platform::config_list!(query, services, page).load(conn).await?)
}

/// Services by id or slug, archived ones too.
pub async fn resolve(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[Uuid],
    slugs: &[&str],
) -> Result<Vec<Service>> {
    let rows = services::table
        .select(Service::as_select())
        .filter(services::org_id.eq(org))
        .filter(services::id.eq_any(ids).or(services::slug.eq_any(slugs)))
        .load(conn)
        .await?;
    Ok(rows)
}
