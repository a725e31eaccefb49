//! Counts and durations, worked out by the database over the filtered records.

use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use uuid::Uuid;

use super::Filter;
use crate::kinds::Severity;

/// By what numbers are split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    None,
    Service,
    Team,
    Severity,
    /// Day of creation in this IANA time zone.
    Day(String),
}

impl Grouping {
    /// Key and name of a group as SQL.
    fn sql(&self) -> (&'static str, &'static str) {
        match self {
            Self::None => ("''", "''"),
            Self::Service => ("service_id::text", "(array_agg(service_name ORDER BY created_at DESC))[1]"),
            Self::Team => (
                "coalesce(team_id::text, '')",
                "coalesce((array_agg(team_name ORDER BY created_at DESC))[1], '')",
            ),
            Self::Severity => ("severity", "min(severity)"),
            Self::Day(_) => ("to_char(created_at AT TIME ZONE $9, 'YYYY-MM-DD')", "''"),
        }
    }

    fn time_zone(&self) -> &str {
        match self {
            Self::Day(zone) => zone,
            _ => "UTC",
        }
    }
}

/// Numbers of one group; durations in milliseconds.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
pub struct StatisticRow {
    #[diesel(sql_type = Text)]
    pub key: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = BigInt)]
    pub incidents: i64,
    #[diesel(sql_type = BigInt)]
    pub acknowledged: i64,
    #[diesel(sql_type = BigInt)]
    pub resolved: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub mtta_mean_ms: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub mtta_p50_ms: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub mtta_p90_ms: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub mttr_mean_ms: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub mttr_p50_ms: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub mttr_p90_ms: Option<i64>,
}

/// How many incidents of one service and severity are in which state.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
pub struct CountRow {
    #[diesel(sql_type = Text)]
    pub severity: Severity,
    #[diesel(sql_type = SqlUuid)]
    pub service_id: Uuid,
    /// As its newest incident says.
    #[diesel(sql_type = Text)]
    pub service_name: String,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    #[diesel(sql_type = BigInt)]
    pub triggered: i64,
    #[diesel(sql_type = BigInt)]
    pub acknowledged: i64,
    #[diesel(sql_type = BigInt)]
    pub resolved: i64,
}

const FILTERED: &str = "
FROM incident_records
WHERE org_id = $1 AND NOT merged
  AND ($2::uuid[] = '{}' OR service_id = ANY ($2))
  AND ($3::uuid[] = '{}' OR team_id = ANY ($3))
  AND ($4::text[] = '{}' OR severity = ANY ($4))
  AND ($5::text[] = '{}' OR urgency = ANY ($5))
  AND ($6::bool IS NULL OR (resolved_at IS NOT NULL AND auto_resolved = $6))
  AND created_at >= coalesce($7, '-infinity') AND created_at < coalesce($8, 'infinity')
  AND $9::text IS NOT NULL";

const DURATIONS: &str = "
  count(*) AS incidents,
  count(mtta_ms) AS acknowledged,
  count(mttr_ms) AS resolved,
  round(avg(mtta_ms))::int8 AS mtta_mean_ms,
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY mtta_ms))::int8 AS mtta_p50_ms,
  round(percentile_cont(0.9) WITHIN GROUP (ORDER BY mtta_ms))::int8 AS mtta_p90_ms,
  round(avg(mttr_ms))::int8 AS mttr_mean_ms,
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY mttr_ms))::int8 AS mttr_p50_ms,
  round(percentile_cont(0.9) WITHIN GROUP (ORDER BY mttr_ms))::int8 AS mttr_p90_ms";

const COUNTS: &str = "
SELECT severity, service_id, (array_agg(service_name ORDER BY created_at DESC))[1] AS service_name,
  count(*) AS total,
  count(*) FILTER (WHERE status = 'triggered') AS triggered,
  count(*) FILTER (WHERE status = 'acknowledged') AS acknowledged,
  count(*) FILTER (WHERE status = 'resolved') AS resolved";

/// MTTA and MTTR of every group that has an incident; without a grouping none or one.
pub async fn statistics(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    by: &Grouping,
) -> Result<Vec<StatisticRow>> {
    let (key, name) = by.sql();
    let query = format!("SELECT {key} AS key, {name} AS name, {DURATIONS} {FILTERED} GROUP BY 1 ORDER BY 1");
    Ok(bound!(query, org, filter, by.time_zone()).load(conn).await?)
}

/// Counts of every service and severity that has an incident, of one moment: every total of a summary
/// is a sum of these. Those with the newest incident come last.
pub async fn counts(conn: &mut AsyncPgConnection, org: OrgId, filter: &Filter) -> Result<Vec<CountRow>> {
    let query = format!("{COUNTS} {FILTERED} GROUP BY severity, service_id ORDER BY max(created_at)");
    Ok(bound!(query, org, filter, "").load(conn).await?)
}

/// Binds the parameters that both statements share; a macro, because the type grows with each.
macro_rules! bound {
    ($query:expr, $org:expr, $filter:expr, $time_zone:expr) => {
        sql_query($query)
            .bind::<SqlUuid, _>($org)
            .bind::<Array<SqlUuid>, _>(&$filter.service_ids)
            .bind::<Array<SqlUuid>, _>(&$filter.team_ids)
            .bind::<Array<Text>, _>(&$filter.severities)
            .bind::<Array<Text>, _>(&$filter.urgencies)
            .bind::<Nullable<Bool>, _>($filter.auto_resolved)
            .bind::<Nullable<Timestamptz>, _>($filter.created_after)
            .bind::<Nullable<Timestamptz>, _>($filter.created_before)
            .bind::<Text, _>($time_zone)
    };
}
use bound;
