//! Alerts whose time has come, some of an organization in one commit: load, decide, store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, Trace};
use platform::db::Db;
use platform::error::Result;
use platform::leased::{self, Claim, Outcome, Work};
use platform::source::Source;

use super::TABLE;
use crate::NAME;
use crate::announce;
use crate::incidents::{self as core, Opening};
use crate::json::Actor;
use crate::kinds::{AlertId, AlertStatus, IncidentId, RuleId, ServiceId, SourceKind, TimelineKind};
use crate::store::alerts::{self as store, Alert, Changed};
use crate::store::incidents::{self, Incident};
use crate::store::services::{self, Service};
use crate::store::timeline;

/// Alerts of one organization in a commit at most.
const SLICE: i64 = 100;

/// Resolves alerts that stayed quiet for as long as their rule or service says, and with the last
/// one its incident; opens the incident of an alert that still fires when its service's pause is over.
#[derive(Clone, Debug)]
pub struct DueAlerts {
    db: Db,
    source: Source,
}

impl DueAlerts {
    pub fn new(db: &Db, source: &Source) -> Self {
        Self { db: db.clone(), source: source.clone() }
    }
}

#[async_trait]
impl Work for DueAlerts {
    const TABLE: &'static str = TABLE;

    async fn step(&self, claim: Claim) -> Result<()> {
        let source = self.source.clone();
        let cx = Ctx::service(NAME, claim.org, source.clone(), Trace::new(&source), None);
        // What has failed before is tried alone: nobody else waits for it.
        let others = if claim.attempts > 1 { 0 } else { SLICE };
        platform::tx!(self.db, &cx, |conn| {
            let mut next = look(&cx, conn, AlertId(claim.id), others).await?;
            let outcome = match next.remove(&AlertId(claim.id)) {
                Some(Some(at)) => Outcome::Next(at),
                Some(None) => Outcome::Done,
                None => Outcome::Again(cx.now),
            };
            store::settle(conn, cx.org, &next).await?;
            leased::finish(conn, TABLE, &claim, outcome).await
        })
    }
}

/// What is to be done about an alert whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Resolve,
    Wait(DateTime<Utc>),
    Nothing,
}

/// Of an alert without incident that was to open one and to resolve itself, what came first counts.
fn verdict(alert: &Alert, service: &Service, now: DateTime<Utc>) -> Verdict {
    if alert.status == AlertStatus::Resolved {
        return Verdict::Nothing;
    }
    if alert.incident_id.is_some() {
        return match alert.due_at {
            Some(due) if due <= now => Verdict::Resolve,
            Some(due) => Verdict::Wait(due),
            None => Verdict::Nothing,
        };
    }
    let (quiet, opens) = (alert.quiet_at(), service.paused_until.unwrap_or(alert.started_at));
    match quiet {
        _ if service.archived_at.is_some() => Verdict::Resolve,
        Some(quiet) if quiet <= now && quiet <= opens => Verdict::Resolve,
        _ if opens <= now => Verdict::Open,
        _ => Verdict::Wait(quiet.map_or(opens, |quiet| quiet.min(opens))),
    }
}

/// When each alert that was looked at is due again; one that changed on the way is left out.
type Next = BTreeMap<AlertId, Option<DateTime<Utc>>>;

/// Locks go from incidents to alerts, each in the order of their ids, as everywhere.
async fn look(cx: &Ctx, conn: &mut AsyncPgConnection, id: AlertId, others: i64) -> Result<Next> {
    let seen: BTreeMap<AlertId, Option<IncidentId>> =
        store::due(conn, cx.org, id, others).await?.into_iter().collect();
    let of: Vec<IncidentId> = seen.values().flatten().copied().collect();
    let locked = incidents::lock_all(conn, cx.org, &of).await?;
    let ids: Vec<AlertId> = seen.keys().copied().collect();
    let mut alerts = store::lock_due(conn, cx.org, id, &ids).await?;
    alerts.retain(|alert| seen.get(&alert.id) == Some(&alert.incident_id));
    let now = store::database_now(conn).await?;
    let services = services_of(cx, conn, &alerts).await?;

    let (mut next, mut open, mut quiet) = (Next::new(), Vec::new(), Vec::new());
    for alert in alerts {
        let Some(service) = services.get(&alert.service_id) else { continue };
        let verdict = verdict(&alert, service, now);
        let again = match verdict {
            Verdict::Open => alert.quiet_at(),
            Verdict::Wait(until) => Some(until),
            Verdict::Resolve | Verdict::Nothing => None,
        };
        next.insert(alert.id, again);
        match verdict {
            Verdict::Open => open.push((alert, service.clone())),
            Verdict::Resolve => quiet.push(alert),
            Verdict::Wait(_) | Verdict::Nothing => {}
        }
    }
    open_incidents(cx, conn, open).await?;
    resolve(cx, conn, quiet, locked).await?;
    Ok(next)
}

async fn services_of(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    alerts: &[Alert],
) -> Result<HashMap<ServiceId, Arc<Service>>> {
    let mut ids: Vec<ServiceId> = alerts.iter().map(|alert| alert.service_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = services::find_all(conn, cx.org, &ids).await?;
    Ok(rows.into_iter().map(|service| (service.id, Arc::new(service))).collect())
}

async fn open_incidents(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    alerts: Vec<(Alert, Arc<Service>)>,
) -> Result<()> {
    let (mut changed, mut openings) = (Vec::new(), Vec::new());
    for (mut alert, service) in alerts {
        alert.incident_id = Some(IncidentId(cx.id()));
        alert.version += 1;
        let actor = actor(&alert);
        let attributes = alert.attributes.0.clone();
        openings.push(Opening::of_alert(cx.clone(), service, actor, &alert, attributes));
        changed.push(Changed { alert, attributes: false });
    }
    core::open(conn, openings).await?;
    store::update_open(conn, &changed).await
}

async fn resolve(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    alerts: Vec<Alert>,
    mut incidents: HashMap<IncidentId, Incident>,
) -> Result<()> {
    let ids: Vec<AlertId> = alerts.iter().map(|alert| alert.id).collect();
    store::resolve(conn, cx.org, &ids, cx.now).await?;
    let mut entries = Vec::new();
    let mut touched: BTreeMap<IncidentId, (Incident, Actor)> = BTreeMap::new();
    for alert in &alerts {
        let (Some(incident), actor) = (alert.incident_id, actor(alert)) else { continue };
        let (key, data) = ((alert.org_id, incident), announce::alert(alert));
        entries.push(announce::entry_of(cx, key, cx.now, TimelineKind::AlertResolved, &actor, data));
        if let Some(row) = incidents.remove(&incident) {
            touched.insert(incident, (row, actor));
        }
    }
    timeline::append(conn, &entries).await?;
    core::resolve_quiet(cx, conn, touched.into_values().collect()).await?;
    metrics::counter!("pulseops_incident_alerts_auto_resolved_total").increment(ids.len() as u64);
    Ok(())
}

fn actor(alert: &Alert) -> Actor {
    match alert.source_kind {
        SourceKind::Rule => Actor::rule(RuleId(alert.source_id), &alert.source_name),
        SourceKind::Integration | SourceKind::Person => Actor::service(NAME),
    }
}

#[cfg(test)]
pub(super) mod tests;
