use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use platform::sql::sql;

use super::Number;
use super::services::{self, Service};
use crate::json::{Condition, Json, Labels};
use crate::kinds::{RuleId, ServiceId, Severity};
use crate::schema::rules;

/// A failure condition over the events of a service.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = rules, treat_none_as_null = true)]
pub struct Rule {
    pub org_id: OrgId,
    pub id: RuleId,
    pub service_id: ServiceId,
    pub slug: String,
    pub name: String,
    pub selection: String,
    /// Steps that the selection takes at worst.
    pub cost: i64,
    pub condition: Json<Condition>,
    pub group_by: Vec<String>,
    /// Moves when selection, condition or grouping change: older windows are void.
    pub generation: i64,
    pub severity: Severity,
    pub dedup_key: String,
    pub title: String,
    pub cooldown_ms: i64,
    pub auto_resolve_ms: Option<i64>,
    pub disabled: bool,
    pub labels: Json<Labels>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
    pub archived_at: Option<DateTime<Utc>>,
    pub version: i64,
}

impl Rule {
    /// What it adds to what the rules of its service ask.
    pub fn burden_in_force(&self) -> Burden {
        if self.disabled || self.archived_at.is_some() {
            return Burden::default();
        }
        let length = i64::try_from(self.selection.chars().count()).unwrap_or(i64::MAX);
        Burden { cost: self.cost, length, bulk: self.bulk() }
    }

    /// What the compiled selection takes in memory, in characters of one that matches no pattern.
    pub fn bulk(&self) -> i64 {
        let each = if self.selection.contains("matches") { OF_PATTERNS } else { 1 };
        i64::try_from(self.selection.chars().count()).unwrap_or(i64::MAX).saturating_mul(each)
    }

    /// After how long without a matching event its alerts resolve themselves: what it says, else what
    /// the service says.
    pub fn quiet_ms(&self, service: &Service) -> Option<i64> {
        self.auto_resolve_ms.or(service.auto_resolve_ms)
    }
}

/// What a list of rules is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub service_ids: Vec<ServiceId>,
    pub archived: bool,
}

/// Whether an archived rule has this slug.
pub async fn is_slug_archived(conn: &mut AsyncPgConnection, org: OrgId, slug: &str) -> Result<bool> {
    let holder = rules::table.filter(rules::org_id.eq(org)).filter(rules::slug.eq(slug));
    let archived = holder.filter(rules::archived_at.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(archived)).get_result(conn).await?)
}

pub async fn insert(conn: &mut AsyncPgConnection, rule: &Rule) -> Result<()> {
    diesel::insert_into(rules::table).values(rule).execute(conn).await?;
    Ok(())
}

pub async fn update(conn: &mut AsyncPgConnection, rule: &Rule) -> Result<()> {
    diesel::update(rules::table.find((rule.org_id, rule.id))).set(rule).execute(conn).await?;
    Ok(())
}

const COUNT: &str = "
SELECT count(*) AS number FROM rules WHERE org_id = $1 AND service_id = $2 AND archived_at IS NULL";

/// How many rules a service has, archived ones left out.
pub async fn count(conn: &mut AsyncPgConnection, org: OrgId, service: ServiceId) -> Result<i64> {
    let query = sql(COUNT).bind::<SqlUuid, _>(org).bind::<SqlUuid, _>(service);
    Ok(query.get_result::<Number>(conn).await?.number)
}

/// As what a character of a selection counts that matches patterns. Measured, compiled and used: 330 to
/// 3,000 bytes, about a thousand for an ordinary pattern; 22 to 50 where there is no pattern.
pub const OF_PATTERNS: i64 = 16;

/// What rules ask of those who evaluate, compile and keep them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub struct Burden {
    /// Steps that the selections take at worst, all tried on one event.
    #[diesel(sql_type = BigInt)]
    pub cost: i64,
    /// Characters of the selections.
    #[diesel(sql_type = BigInt)]
    pub length: i64,
    /// What the compiled selections take in memory, as of [`Rule::bulk`].
    #[diesel(sql_type = BigInt)]
    pub bulk: i64,
}

impl Burden {
    /// Whether it is more than `other` in anything.
    pub fn exceeds(&self, other: &Self) -> bool {
        self.cost > other.cost || self.length > other.length || self.bulk > other.bulk
    }
}

/// Until the transaction ends nobody else adds to what the organization's rules in force ask. Taken behind
/// the rows that a change of a rule locks.
pub async fn lock_in_force(conn: &mut AsyncPgConnection, org: OrgId) -> Result<()> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('pulseops rules in force ' || $1, 0))";
    sql(LOCK).bind::<Text, _>(org.to_string()).execute(conn).await?;
    Ok(())
}

const BURDEN_IN_FORCE: &str = "
SELECT coalesce(sum(cost) FILTER (WHERE own), 0)::int8 AS cost, coalesce(sum(length) FILTER (WHERE own), 0)::int8 AS length,
    coalesce(sum(length * CASE WHEN patterns THEN $1 ELSE 1 END), 0)::int8 AS bulk
FROM (SELECT r.service_id = $2 AS own, r.cost, char_length(r.selection) AS length, strpos(r.selection, 'matches') > 0 AS patterns
    FROM rules r JOIN services s ON s.org_id = r.org_id AND s.id = r.service_id
    WHERE r.org_id = $3 AND r.id <> $4 AND r.archived_at IS NULL AND NOT r.disabled AND s.archived_at IS NULL) r";

/// What the rules in force ask together, this one left out: cost and length those of its service, bulk
/// those of the organization.
pub async fn burden_beside(conn: &mut AsyncPgConnection, rule: &Rule) -> Result<Burden> {
    let query = sql(BURDEN_IN_FORCE)
        .bind::<BigInt, _>(OF_PATTERNS)
        .bind::<SqlUuid, _>(rule.service_id)
        .bind::<SqlUuid, _>(rule.org_id)
        .bind::<SqlUuid, _>(rule.id);
    Ok(query.get_result(conn).await?)
}

pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: RuleId) -> Result<Rule> {
    let found = rules::table.find((org, id)).select(Rule::as_select()).first(conn).await.optional()?;
    found.ok_or_else(|| Error::not_found("rule"))
}

/// Like [`get`], and nobody else changes it until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection, org: OrgId, id: RuleId) -> Result<Rule> {
    let found = rules::table
        .find((org, id))
        .select(Rule::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    found.ok_or_else(|| Error::not_found("rule"))
}

pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<ConfigKey>,
) -> Result<Vec<Rule>> {
    let mut query = rules::table.select(Rule::as_select()).filter(rules::org_id.eq(org)).into_boxed();
    if !filter.archived {
        query = query.filter(rules::archived_at.is_null());
    }
    if !filter.service_ids.is_empty() {
        query = query.filter(rules::service_id.eq_any(&filter.service_ids));
    }
    Ok(platform::config_list!(query, rules, page).load(conn).await?)
}

/// A service whose rule set stands at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, QueryableByName)]
pub struct SetVersion {
    #[diesel(sql_type = SqlUuid)]
    pub org_id: OrgId,
    #[diesel(sql_type = SqlUuid)]
    pub service_id: ServiceId,
    #[diesel(sql_type = BigInt)]
    pub version: i64,
}

impl SetVersion {
    pub fn key(&self) -> (OrgId, ServiceId) {
        (self.org_id, self.service_id)
    }
}

const SET_VERSIONS: &str = "
SELECT s.org_id, s.service_id, s.version FROM rule_sets s
JOIN unnest($1, $2) AS k(org_id, service_id) ON k.org_id = s.org_id AND k.service_id = s.service_id";

/// The versions of these services' rule sets, as committed now. Unknown services are left out.
pub async fn set_versions(
    conn: &mut AsyncPgConnection,
    keys: &[(OrgId, ServiceId)],
) -> Result<Vec<SetVersion>> {
    let (orgs, services): (Vec<OrgId>, Vec<ServiceId>) = keys.iter().copied().unzip();
    let versions = sql(SET_VERSIONS)
        .bind::<Array<SqlUuid>, _>(orgs)
        .bind::<Array<SqlUuid>, _>(services)
        .load(conn)
        .await?;
    Ok(versions)
}

const SET_RULES: &str = "
SELECT r.* FROM rules r WHERE r.org_id = $1 AND r.service_id = $2 AND r.archived_at IS NULL AND NOT r.disabled
ORDER BY r.created_at, r.id";

/// A service with the rules that are in force.
pub async fn set(
    conn: &mut AsyncPgConnection,
    (org, id): (OrgId, ServiceId),
) -> Result<Option<(Service, Vec<Rule>)>> {
    let Some(service) = services::find(conn, org, id).await? else { return Ok(None) };
    let rules = sql(SET_RULES).bind::<SqlUuid, _>(org).bind::<SqlUuid, _>(id).load(conn).await?;
    Ok(Some((service, rules)))
}
