//! The pure middle of a batch: which rules select which events, and what follows for windows and
//! alerts. Nothing here waits, reads a clock or draws a number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use platform::ctx::OrgId;
use uuid::Uuid;

use super::memory::{Known, Windows};
use super::sets::{CompiledRule, RuleSet};
use super::{Event, Window};
use crate::kinds::ServiceId;
use crate::store::windows::{Row, Sighting, WindowKey};

/// An event that rules of its service select.
#[derive(Clone, Debug)]
pub struct Matched {
    /// Which of the batch.
    pub record: usize,
    pub event: Event,
    pub set: Arc<RuleSet>,
    /// Indexes in `set.rules`.
    pub rules: Vec<usize>,
    pub hash: Uuid,
}

impl Matched {
    /// What makes two events the same one.
    pub fn identity(&self) -> (OrgId, ServiceId, Uuid) {
        (self.event.org, self.event.service, self.hash)
    }

    /// Remembered as long as a rule that counted it may still count; for one that is handled late, from
    /// `now`.
    pub fn sighting(&self, lateness: TimeDelta, now: DateTime<Utc>) -> Sighting {
        let windows = self.rules.iter().map(|rule| self.set.rules[*rule].window());
        let longest = windows.max().unwrap_or(TimeDelta::zero());
        Sighting {
            org: self.event.org,
            service: self.event.service,
            event: self.hash,
            accepted_at: self.event.accepted_at,
            expires_at: self.event.accepted_at.max(now) + longest + lateness,
        }
    }

    /// The windows that the event may move.
    pub fn windows(&self) -> impl Iterator<Item = WindowKey> {
        self.selected().filter(|rule| rule.limit().is_some()).map(|rule| self.window_key(rule))
    }

    fn selected(&self) -> impl Iterator<Item = &CompiledRule> {
        self.rules.iter().map(|rule| &*self.set.rules[*rule])
    }

    fn window_key(&self, rule: &CompiledRule) -> WindowKey {
        let group = self.event.group(&rule.row.group_by);
        WindowKey { org: self.event.org, rule: rule.row.id, group }
    }
}

/// Which rules select `event`; `None` when none does. An expression that fails on it does not.
pub fn matches(record: usize, event: Event, set: &Arc<RuleSet>) -> Option<Matched> {
    let mut candidates = set.candidates(&event.name).peekable();
    candidates.peek()?;
    let rules: Vec<usize> = {
        let scope = event.scope(&set.service.slug);
        let selects = |rule: &CompiledRule| {
            rule.selection().selects(&scope).unwrap_or_else(|fault| {
                metrics::counter!("pulseops_incident_selection_errors_total").increment(1);
                tracing::debug!(rule.id = %rule.row.id, %fault, "a selection failed on an event");
                false
            })
        };
        candidates.filter(|(_, rule)| selects(rule)).map(|(index, _)| index).collect()
    };
    let hash = event.hash();
    (!rules.is_empty()).then(|| Matched { record, event, set: set.clone(), rules, hash })
}

/// What a rule says about one dedup key in this batch.
#[derive(Clone, Debug)]
pub struct Fired {
    pub set: Arc<RuleSet>,
    /// Index in `set.rules`.
    pub rule: usize,
    pub dedup_key: String,
    pub title: String,
    /// Times the condition was met; 0 when events only matched.
    pub firings: i64,
    /// Record of the event that met it last, else of the last that matched.
    pub record: usize,
    /// Of the event that met it last.
    pub attributes: BTreeMap<String, String>,
    pub value: Option<f64>,
}

/// What follows from a batch.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// In the order of first mention.
    pub fired: Vec<Fired>,
    /// The windows as they are now, changed or not.
    pub windows: Windows,
    /// Those that changed, as rows.
    pub changed: Vec<Row>,
}

/// Applies events, each new and in order, to their windows. A window of another generation of its
/// rule is void.
pub fn decide(events: &[Matched], mut windows: Windows, lateness: TimeDelta, now: DateTime<Utc>) -> Decided {
    let mut signals = Signals::default();
    let mut changed: BTreeSet<WindowKey> = BTreeSet::new();
    for matched in events {
        let accepted_at = matched.event.accepted_at;
        for index in &matched.rules {
            let rule = &matched.set.rules[*index];
            let fires = match rule.limit() {
                None => true,
                Some(limit) => {
                    let (key, reach) = (matched.window_key(rule), limit.window + lateness);
                    let known = known(&mut windows, key, rule.row.generation);
                    known.window.forget_before(accepted_at - reach);
                    known.expires_at = known.expires_at.max(minute_after(accepted_at.max(now) + reach));
                    changed.insert(key);
                    known.window.add(matched.event.time, limit)
                }
            };
            signals.add(matched, *index, fires);
        }
    }
    let changed = changed.into_iter().filter_map(|key| Some(row(key, windows.get(&key)?))).collect();
    Decided { fired: signals.list, windows, changed }
}

fn known(windows: &mut Windows, key: WindowKey, generation: i64) -> &mut Known {
    let fresh = || Known { generation, window: Window::default(), expires_at: DateTime::<Utc>::UNIX_EPOCH };
    let known = windows.entry(key).or_insert_with(fresh);
    if known.generation != generation {
        *known = fresh();
    }
    known
}

fn row(key: WindowKey, known: &Known) -> Row {
    Row {
        org_id: key.org,
        rule_id: key.rule,
        group_hash: key.group,
        generation: known.generation,
        state: known.window.encode(),
        expires_at: known.expires_at,
    }
}

/// Whole minutes: most updates of a window leave the index by expiry alone.
fn minute_after(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at) + TimeDelta::minutes(1)
}

#[derive(Default)]
struct Signals {
    list: Vec<Fired>,
    by_key: HashMap<(OrgId, Uuid, String), usize>,
}

impl Signals {
    /// Without a firing an event only matters to an alert that would resolve itself.
    fn add(&mut self, matched: &Matched, index: usize, fires: bool) {
        let Matched { set, event, record, .. } = matched;
        let rule = &set.rules[index];
        let resolves_itself = rule.row.quiet_ms(&set.service).is_some();
        if !fires && !resolves_itself {
            return;
        }
        let dedup_key = rule.dedup_key(event, &set.service);
        let key = (event.org, rule.row.id.uuid(), dedup_key.clone());
        let at = *self.by_key.entry(key).or_insert(self.list.len());
        if at == self.list.len() {
            self.list.push(Fired {
                set: set.clone(),
                rule: index,
                dedup_key,
                title: String::new(),
                firings: 0,
                record: *record,
                attributes: BTreeMap::new(),
                value: None,
            });
        }
        let fired = &mut self.list[at];
        if fires || fired.firings == 0 {
            fired.record = *record;
        }
        if fires {
            fired.firings += 1;
            fired.title = rule.title(event, &set.service);
            fired.attributes = event.attributes.clone();
            fired.value = event.value;
        }
    }
}

#[cfg(test)]
mod tests;
