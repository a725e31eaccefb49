//! What the rules of a batch say becomes alerts and incidents, a slice at a time: load, decide, store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::leased;

use super::{TABLE, attributes, due_at};
use crate::announce;
use crate::incidents::{self, Opening};
use crate::json::{Actor, Json, Labels, Source};
use crate::kinds::{AlertId, AlertStatus, IncidentId, Severity, TimelineKind};
use crate::store::alerts::{self as store, Alert, AlertKey, Changed};
use crate::store::services::Service;
use crate::store::timeline::{self, Entry};

/// An alert that was triggered more often than this gets no more timeline entries: only its count
/// tells. The contract says so at `TIMELINE_KIND_ALERT_ADDED`.
const LOGGED_TRIGGERS: i64 = 10;

/// An alert without an incident is looked at so soon: whoever ends a pause while a batch is under way
/// does not see the alerts of that batch.
const FIRST_LOOK: TimeDelta = TimeDelta::seconds(2);

/// What a detector says about one dedup key in one batch.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Caused by the last event.
    pub cx: Ctx,
    pub service: Arc<Service>,
    pub source: Source,
    pub actor: Actor,
    pub dedup_key: String,
    pub severity: Severity,
    pub title: String,
    pub labels: Labels,
    /// The last event's that met the condition.
    pub attributes: BTreeMap<String, String>,
    /// The last event's that met the condition.
    pub value: Option<f64>,
    /// How often the condition was met. 0: events only matched, which keeps an open alert from
    /// resolving itself and nothing else.
    pub firings: i64,
    /// No new alert for this long after the last one was resolved.
    pub cooldown_ms: i64,
    pub auto_resolve_ms: Option<i64>,
}

impl Signal {
    fn key(&self) -> AlertKey {
        AlertKey {
            org: self.service.org_id,
            service: self.service.id,
            source: self.source.id,
            dedup_key: self.dedup_key.clone(),
        }
    }

    fn is_paused(&self) -> bool {
        self.service.paused_until.is_some_and(|until| until > self.cx.now)
    }

    fn alert(&self) -> Alert {
        let now = self.cx.now;
        Alert {
            org_id: self.service.org_id,
            id: AlertId(self.cx.id()),
            service_id: self.service.id,
            incident_id: None,
            source_kind: self.source.kind,
            source_id: self.source.id,
            source_name: self.source.name.clone(),
            dedup_key: self.dedup_key.clone(),
            status: AlertStatus::Firing,
            severity: self.severity,
            title: self.title.clone(),
            labels: Json(self.labels.clone()),
            attributes: Json(attributes::kept(&self.attributes)),
            value: self.value,
            count: self.firings,
            started_at: now,
            last_at: now,
            resolved_at: None,
            auto_resolve_ms: self.auto_resolve_ms,
            version: 1,
            due_at: due_at(now, self.auto_resolve_ms),
        }
    }
}

/// What is to be written.
#[derive(Debug, Default)]
struct Decision {
    born: Vec<Alert>,
    changed: Vec<Changed>,
    openings: Vec<Opening>,
    entries: Vec<Entry>,
    suppressed: u64,
}

/// Applies the signals of a batch; each key stands in it once.
pub async fn apply(conn: &mut AsyncPgConnection, signals: Vec<Signal>) -> Result<()> {
    if signals.is_empty() {
        return Ok(());
    }
    let keys: Vec<AlertKey> = signals.iter().map(Signal::key).collect();
    let open: HashMap<AlertKey, Alert> =
        store::lock_open(conn, &keys).await?.into_iter().map(|alert| (alert.key(), alert)).collect();
    let cooling: Vec<AlertKey> = signals
        .iter()
        .filter(|signal| signal.firings > 0 && signal.cooldown_ms > 0)
        .map(Signal::key)
        .filter(|key| !open.contains_key(key))
        .collect();
    let resolved = store::last_resolved(conn, &cooling).await?.into_iter().collect();
    write(conn, decide(signals, open, &resolved)).await
}

fn decide(
    signals: Vec<Signal>,
    mut open: HashMap<AlertKey, Alert>,
    resolved: &HashMap<AlertKey, DateTime<Utc>>,
) -> Decision {
    let mut decision = Decision::default();
    for signal in signals {
        let key = signal.key();
        match open.remove(&key) {
            Some(alert) => decision.trigger_again(signal, alert),
            None if signal.firings == 0 => {}
            None if is_cooling(&signal, resolved.get(&key)) => decision.suppressed += 1,
            None => decision.trigger(signal),
        }
    }
    decision
}

fn is_cooling(signal: &Signal, resolved_at: Option<&DateTime<Utc>>) -> bool {
    resolved_at.is_some_and(|at| *at + TimeDelta::milliseconds(signal.cooldown_ms) > signal.cx.now)
}

impl Decision {
    fn trigger(&mut self, signal: Signal) {
        let mut alert = signal.alert();
        if signal.is_paused() {
            alert.look_at(signal.cx.now + FIRST_LOOK);
        } else {
            self.open(signal, &mut alert);
        }
        self.born.push(alert);
    }

    /// Counted and logged, no new page. One that has no incident, because its service was paused
    /// when it came, gets it now.
    fn trigger_again(&mut self, signal: Signal, mut alert: Alert) {
        let (before, mut shows_others) = (alert.count, false);
        if signal.firings > 0 {
            let attributes = Json(attributes::kept(&signal.attributes));
            shows_others = attributes != alert.attributes;
            (alert.attributes, alert.value) = (attributes, signal.value);
        }
        alert.count += signal.firings;
        alert.last_at = signal.cx.now;
        alert.auto_resolve_ms = signal.auto_resolve_ms;
        alert.due_at = due_at(alert.last_at, alert.auto_resolve_ms);
        alert.version += 1;
        match alert.incident_id {
            None if signal.firings == 0 || signal.is_paused() => alert.look_at(signal.cx.now + FIRST_LOOK),
            None => self.open(signal, &mut alert),
            Some(incident) if signal.firings > 0 && before <= LOGGED_TRIGGERS => {
                self.entries.push(triggered_again(&signal, &alert, incident));
            }
            Some(_) => {}
        }
        self.changed.push(Changed { alert, attributes: shows_others });
    }

    fn open(&mut self, signal: Signal, alert: &mut Alert) {
        alert.incident_id = Some(IncidentId(signal.cx.id()));
        let Signal { cx, service, actor, attributes, .. } = signal;
        self.openings.push(Opening::of_alert(cx, service, actor, alert, attributes));
    }
}

fn triggered_again(signal: &Signal, alert: &Alert, incident: IncidentId) -> Entry {
    let (cx, actor) = (&signal.cx, &signal.actor);
    let data = announce::alert(alert);
    announce::entry_of(cx, (alert.org_id, incident), cx.now, TimelineKind::AlertAdded, actor, data)
}

async fn write(conn: &mut AsyncPgConnection, decision: Decision) -> Result<()> {
    let Decision { born, changed, openings, entries, suppressed } = decision;
    incidents::open(conn, openings).await?;
    store::insert(conn, &born).await?;
    store::update_open(conn, &changed).await?;
    timeline::append(conn, &entries).await?;
    if born.iter().chain(changed.iter().map(|it| &it.alert)).any(|alert| alert.due_at.is_some()) {
        leased::wake_on_commit(conn, TABLE);
    }
    metrics::counter!("pulseops_incident_alerts_total").increment(born.len() as u64);
    metrics::counter!("pulseops_incident_alerts_again_total").increment(changed.len() as u64);
    metrics::counter!("pulseops_incident_alerts_suppressed_total").increment(suppressed);
    Ok(())
}

#[cfg(test)]
mod tests;
