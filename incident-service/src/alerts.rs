//! Alerts: what detectors say, counted under their dedup key. A new one opens an incident.

mod attributes;
mod due;
mod signal;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::Result;
use platform::leased;
use platform::page::Page;
use proto::incident::v1 as wire;

pub use due::DueAlerts;
pub use signal::{Signal, apply};

use crate::convert;
use crate::kinds::{AlertId, AlertStatus, ServiceId, Severity};
use crate::store::TimeKey;
use crate::store::alerts::{self as store, Alert, Filter, Quiet};
use crate::store::incidents::{self, Named};

/// Leased: an alert that stays quiet resolves itself, one that was not told of for a pause is told.
pub const TABLE: &str = "alerts";

/// When an alert that was last triggered at `last` resolves itself.
pub fn due_at(last: DateTime<Utc>, auto_resolve_ms: Option<i64>) -> Option<DateTime<Utc>> {
    last.checked_add_signed(TimeDelta::milliseconds(auto_resolve_ms?))
}

/// Open alerts resolve themselves after `quiet_ms` without an event, from now on.
pub async fn set_quiet(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    (service, whose): (ServiceId, Quiet),
    quiet_ms: Option<i64>,
) -> Result<()> {
    leased::wake_on_commit(conn, TABLE);
    store::set_quiet(conn, (cx.org, service, whose), quiet_ms, due_at(cx.now, quiet_ms)).await
}

/// Whether a service is paused, or there at all, is different: its alerts without incidents are
/// looked at.
pub async fn look(cx: &Ctx, conn: &mut AsyncPgConnection, service: ServiceId) -> Result<()> {
    leased::wake_on_commit(conn, TABLE);
    store::look(conn, cx.org, service, cx.now).await
}

pub async fn get(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<Alert> {
    store::get(conn, cx.org, AlertId::parse("id", id)?).await
}

/// One page of alerts.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListAlertsRequest,
) -> Result<wire::ListAlertsResponse> {
    let page = platform::page!(request, &["started_at"], "-started_at")?;
    let filter = Filter {
        incident_id: None,
        statuses: request.status.iter().copied().filter_map(AlertStatus::from_wire).collect(),
        service_ids: parse_ids("service_id", &request.service_id)?,
        severities: request.severity.iter().copied().filter_map(Severity::from_wire).collect(),
        dedup_keys: request.dedup_key.clone(),
    };
    answer(cx, conn, &filter, &page).await
}

/// One page of an incident's alerts, newest first.
pub async fn list_of_incident(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListIncidentAlertsRequest,
) -> Result<wire::ListAlertsResponse> {
    let page = platform::page!(request, "-started_at")?;
    let incident = incidents::get(conn, cx.org, Named::parse(&request.id)?).await?;
    let filter = Filter { incident_id: Some(incident.id), ..Filter::default() };
    answer(cx, conn, &filter, &page).await
}

async fn answer(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    filter: &Filter,
    page: &Page<TimeKey>,
) -> Result<wire::ListAlertsResponse> {
    let rows = store::list(conn, cx.org, filter, page).await?;
    let key = |row: &Alert| (row.started_at, row.id.uuid());
    let (rows, next_page_token) = page.finish(rows, key)?;
    Ok(wire::ListAlertsResponse { items: rows.iter().map(convert::alert).collect(), next_page_token })
}
