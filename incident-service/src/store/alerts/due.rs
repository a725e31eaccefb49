//! Alerts as leased work.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::sql::sql;

use super::Alert;
use crate::kinds::{AlertId, IncidentId, RuleId, ServiceId};
use crate::store::When;

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = SqlUuid)]
    id: AlertId,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    incident_id: Option<IncidentId>,
}

// What is due for longer is the driver's to find: it knows how far back to look.
const DUE: &str = "
WITH arg AS (SELECT $1 AS org_id, $2 AS id)
SELECT a.id, a.incident_id FROM arg JOIN alerts a ON a.org_id = arg.org_id AND a.id = arg.id
UNION
(SELECT a.id, a.incident_id FROM arg JOIN alerts a ON a.org_id = arg.org_id
 WHERE a.due_at BETWEEN pulseops.now() - interval '1 minute' AND pulseops.now()
   AND (a.lease_until IS NULL OR a.lease_until < pulseops.now())
 ORDER BY a.due_at LIMIT $3)";

/// The alert `id`, and up to `others` of the organization that are due and that nobody has leased;
/// with their incidents.
pub async fn due(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: AlertId,
    others: i64,
) -> Result<Vec<(AlertId, Option<IncidentId>)>> {
    let query = sql(DUE).bind::<SqlUuid, _>(org).bind::<SqlUuid, _>(id).bind::<BigInt, _>(others);
    Ok(query.load::<Due>(conn).await?.into_iter().map(|row| (row.id, row.incident_id)).collect())
}

const LOCK_DUE: &str = "
SELECT a.* FROM (SELECT $1 AS org_id, $2 AS id, $3 AS ids) arg
JOIN alerts a ON a.org_id = arg.org_id AND a.id = ANY (arg.ids)
WHERE a.id = arg.id
   OR (a.due_at <= pulseops.now() AND (a.lease_until IS NULL OR a.lease_until < pulseops.now()))
ORDER BY a.id FOR UPDATE OF a";

/// The alert `id`, and those of `ids` that are still due and not leased; nobody else changes them
/// until the transaction ends.
pub async fn lock_due(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    id: AlertId,
    ids: &[AlertId],
) -> Result<Vec<Alert>> {
    let query = sql(LOCK_DUE).bind::<SqlUuid, _>(org).bind::<SqlUuid, _>(id);
    Ok(query.bind::<Array<SqlUuid>, _>(ids).load(conn).await?)
}

const SETTLE: &str = "
UPDATE alerts a SET due_at = k.due_at, lease_until = NULL, epoch = a.epoch + 1, attempts = 0
FROM (SELECT $1 AS org_id) arg, unnest($2, $3) AS k(id, due_at)
WHERE a.org_id = arg.org_id AND a.id = k.id";

/// Ends the turn of alerts that were handled without a lease; whoever claimed one meanwhile loses it.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    next: &BTreeMap<AlertId, Option<DateTime<Utc>>>,
) -> Result<()> {
    if next.is_empty() {
        return Ok(());
    }
    sql(SETTLE)
        .bind::<SqlUuid, _>(org)
        .bind::<Array<SqlUuid>, _>(next.keys().copied().collect::<Vec<_>>())
        .bind::<Array<Nullable<Timestamptz>>, _>(next.values().copied().collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

const RESOLVE: &str = "
UPDATE alerts SET status = 'resolved', resolved_at = $1, version = version + 1
WHERE org_id = $2 AND id = ANY ($3)";

/// Resolves alerts. Their due times are for their leases to clear.
pub async fn resolve(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[AlertId],
    at: DateTime<Utc>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let query = sql(RESOLVE).bind::<Timestamptz, _>(at).bind::<SqlUuid, _>(org);
    query.bind::<Array<SqlUuid>, _>(ids).execute(conn).await?;
    Ok(())
}

const LOOK: &str = "
WITH arg AS (SELECT $1 AS org_id, $2 AS service_id, $3 AS at),
waiting AS (
    SELECT a.org_id, a.id, arg.at FROM arg
    JOIN alerts a ON a.org_id = arg.org_id AND a.service_id = arg.service_id
    WHERE a.status = 'firing' AND a.incident_id IS NULL ORDER BY a.id FOR UPDATE OF a
)
UPDATE alerts a SET due_at = least(a.due_at, w.at)
FROM waiting w WHERE a.org_id = w.org_id AND a.id = w.id";

/// Has the open alerts of a service that have no incident looked at, at `at` or when they are due
/// anyway.
pub async fn look(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    service: ServiceId,
    at: DateTime<Utc>,
) -> Result<()> {
    let query = sql(LOOK).bind::<SqlUuid, _>(org).bind::<SqlUuid, _>(service);
    query.bind::<Timestamptz, _>(at).execute(conn).await?;
    Ok(())
}

/// Whose open alerts resolve themselves otherwise than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    OfRule(RuleId),
    /// Rules that say it themselves are left out.
    OfService,
}

const SET_QUIET: &str = "
WITH arg AS (SELECT $1 AS org_id, $2 AS service_id, $3::uuid AS rule_id, $4::int8 AS quiet_ms, $5::timestamptz AS due_at),
open AS (
    SELECT a.org_id, a.id, arg.quiet_ms, arg.due_at FROM arg
    JOIN alerts a ON a.org_id = arg.org_id AND a.service_id = arg.service_id
    WHERE a.status = 'firing' AND CASE WHEN arg.rule_id IS NOT NULL THEN a.source_id = arg.rule_id
        ELSE NOT EXISTS (SELECT FROM rules r
                         WHERE r.org_id = a.org_id AND r.id = a.source_id AND r.auto_resolve_ms IS NOT NULL) END
    ORDER BY a.id FOR UPDATE OF a
)
UPDATE alerts a
SET auto_resolve_ms = o.quiet_ms, due_at = least(o.due_at, CASE WHEN a.incident_id IS NULL THEN a.due_at END)
FROM open o WHERE a.org_id = o.org_id AND a.id = o.id";

/// Sets after how long without an event the open alerts of a service resolve themselves, counted
/// from now: at `due_at`. `None`: only people resolve them.
pub async fn set_quiet(
    conn: &mut AsyncPgConnection,
    (org, service, whose): (OrgId, ServiceId, Quiet),
    quiet_ms: Option<i64>,
    due_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let rule = match whose {
        Quiet::OfRule(rule) => Some(rule),
        Quiet::OfService => None,
    };
    sql(SET_QUIET)
        .bind::<SqlUuid, _>(org)
        .bind::<SqlUuid, _>(service)
        .bind::<Nullable<SqlUuid>, _>(rule)
        .bind::<Nullable<BigInt>, _>(quiet_ms)
        .bind::<Nullable<Timestamptz>, _>(due_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// The database's clock: what due times are compared with.
pub async fn database_now(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>> {
    let now: When = sql("SELECT pulseops.now() AS at").get_result(conn).await?;
    now.at.ok_or_else(|| Error::internal("pulseops.now() is null"))
}
