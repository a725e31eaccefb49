//! What this service listens to: `pulseops.events.v1`, consumer `rules`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::bus::Delivered;
use platform::consumer::{After, BatchCtx, Breaks, Handler};
use platform::error::Result;

use crate::alerts::{self, Signal};
use crate::engine::{
    Decided, Event, Fired, Known, Matched, Memory, RuleSet, RuleSets, Window, Windows, decide, matches,
};
use crate::json::{Actor, Source};
use crate::kinds::SourceKind;
use crate::store::windows::{self, WindowKey};

/// Name of the consumer.
pub const RULES: &str = "rules";

/// Applies the rules to batches of events.
#[derive(Debug)]
pub struct Rules {
    sets: RuleSets,
    memory: Memory,
    lateness: TimeDelta,
}

impl Rules {
    /// Events may come this late and still count where they belong.
    pub fn new(lateness: TimeDelta) -> Self {
        Self { sets: RuleSets::default(), memory: Memory::default(), lateness }
    }

    /// Events of the batch that rules select, and of how many records: of the first, when they are work
    /// enough. Services that are not known are counted and left out: the intake has refused events for
    /// them before.
    async fn select(
        &self,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<(Vec<Matched>, usize)> {
        let events: Vec<Event> =
            batch.iter().map(|record| Event::decode(record, self.lateness)).collect::<Result<_>>()?;
        let mut seen = HashSet::new();
        let keys = events.iter().map(|event| (event.org, event.service));
        let keys: Vec<_> = keys.filter(|key| seen.insert(*key)).collect();
        let loaded = self.sets.load(conn, &keys, &mut Breaks::of_batch()).await?;
        let (mut matched, mut taken, mut unknown) = (Vec::new(), 0, 0);
        let mut breaks = Breaks::of_batch();
        for (record, event) in events.into_iter().enumerate() {
            let key = (event.org, event.service);
            if loaded.waiting.contains(&key) {
                break;
            }
            let set: Option<&Arc<RuleSet>> = loaded.sets.get(&key);
            unknown += u64::from(set.is_none());
            matched.extend(set.and_then(|set| matches(record, event, set)));
            taken += 1;
            breaks.take(conn).await?;
            if breaks.enough() {
                break;
            }
        }
        metrics::counter!("pulseops_incident_events_total").increment(taken as u64);
        metrics::counter!("pulseops_incident_events_of_unknown_service_total").increment(unknown);
        Ok((matched, taken))
    }

    /// Leaves out events that were counted before, in this batch or an earlier one.
    async fn unseen(
        &self,
        conn: &mut AsyncPgConnection,
        matched: Vec<Matched>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Matched>> {
        let mut sightings = BTreeMap::new();
        let mut first: Vec<Matched> = Vec::with_capacity(matched.len());
        let total = matched.len();
        for event in matched {
            if sightings.insert(event.identity(), event.sighting(self.lateness, now)).is_none() {
                first.push(event);
            }
        }
        let sightings: Vec<_> = sightings.into_values().collect();
        let new: HashSet<_> = windows::see(conn, &sightings).await?.into_iter().collect();
        first.retain(|event| new.contains(&event.identity()));
        let duplicates = (total - first.len()) as u64;
        metrics::counter!("pulseops_incident_duplicate_events_total").increment(duplicates);
        Ok(first)
    }

    /// The windows that these events may move: from memory, else from the database.
    async fn windows(
        &self,
        conn: &mut AsyncPgConnection,
        partition: i32,
        events: &[Matched],
    ) -> Result<Windows> {
        let keys: HashSet<WindowKey> = events.iter().flat_map(Matched::windows).collect();
        let keys: Vec<WindowKey> = keys.into_iter().collect();
        let mut known = self.memory.take(partition, &keys);
        let cold: Vec<WindowKey> = keys.into_iter().filter(|key| !known.contains_key(key)).collect();
        if !cold.is_empty() {
            for row in windows::load(conn, &cold).await? {
                let window = Window::decode(&row.state).unwrap_or_else(|| {
                    tracing::error!(rule.id = %row.rule_id, "the state of a window cannot be read; it starts anew");
                    Window::default()
                });
                let (key, generation, expires_at) = (row.key(), row.generation, row.expires_at);
                known.insert(key, Known { generation, window, expires_at });
            }
        }
        Ok(known)
    }
}

#[async_trait]
impl Handler for Rules {
    async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<After> {
        let (matched, taken) = self.select(conn, batch).await?;
        if matched.is_empty() {
            return Ok(After::none().of_first(taken));
        }
        let events = self.unseen(conn, matched, cx.now).await?;
        let windows = self.windows(conn, cx.partition, &events).await?;
        let decided = decide(&events, windows, self.lateness, cx.now);
        let signals = signals(cx, batch, &decided);
        windows::save(conn, &decided.changed).await?;
        alerts::apply(conn, signals).await?;
        let (memory, partition, now) = (self.memory.clone(), cx.partition, cx.now);
        Ok(After::call(move || memory.keep(partition, decided.windows, now)).of_first(taken))
    }

    fn lost(&self, partition: i32) {
        self.memory.forget(partition);
    }
}

fn signals(cx: &BatchCtx, batch: &[Delivered], decided: &Decided) -> Vec<Signal> {
    let signal = |fired: &Fired| {
        let rule = &fired.set.rules[fired.rule].row;
        let service = fired.set.service.clone();
        Signal {
            cx: cx.ctx(&batch[fired.record]),
            source: Source { kind: SourceKind::Rule, id: rule.id.uuid(), name: rule.name.clone() },
            actor: Actor::rule(rule.id, &rule.name),
            dedup_key: fired.dedup_key.clone(),
            severity: rule.severity,
            title: fired.title.clone(),
            labels: rule.labels.0.clone(),
            attributes: fired.attributes.clone(),
            value: fired.value,
            firings: fired.firings,
            cooldown_ms: rule.cooldown_ms,
            auto_resolve_ms: rule.quiet_ms(&service),
            service,
        }
    };
    decided.fired.iter().map(signal).collect()
}
