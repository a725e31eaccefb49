//! Compiled rules by service, kept until the version of the service's rule set moves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use platform::consumer::Breaks;
use platform::ctx::OrgId;
use platform::error::Result;

use super::selection::{Names, Selection};
use super::template::{self, Facts, Template};
use super::{Event, Limit};
use crate::json::Condition;
use crate::kinds::{RuleId, ServiceId};
use crate::store::rules::{self, Rule};
use crate::store::services::Service;

/// A rule ready to run.
#[derive(Debug)]
pub struct CompiledRule {
    pub row: Rule,
    selection: Selection,
    /// None: the rule's slug and the group.
    dedup_key: Option<Template>,
    /// None: the rule's name.
    title: Option<Template>,
}

impl CompiledRule {
    /// `None`, and an error in the log, for a rule that does not compile any more: it was compiled
    /// when it was saved.
    pub fn compile(row: Rule) -> Option<Self> {
        let template = |text: &str| match text {
            "" => Some(None),
            text => Template::parse(text).ok().map(Some),
        };
        let selection = Selection::compile(&row.selection)
            .inspect_err(
                |bad| tracing::error!(rule.id = %row.id, error = %bad, "a saved rule does not compile"),
            )
            .ok()?;
        let (dedup_key, title) = (template(&row.dedup_key)?, template(&row.title)?);
        Some(Self { row, selection, dedup_key, title })
    }

    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The window of a counting rule; none for `each`.
    pub fn limit(&self) -> Option<Limit> {
        match self.row.condition.0 {
            Condition::Each => None,
            Condition::Count { at_least, window_ms } => Some(Limit {
                at_least: usize::try_from(at_least).unwrap_or(1),
                window: TimeDelta::milliseconds(window_ms),
            }),
        }
    }

    /// How long a matched event must be remembered beside the lateness.
    pub fn window(&self) -> TimeDelta {
        self.limit().map_or(TimeDelta::zero(), |limit| limit.window)
    }

    /// Which alert a firing at `event` belongs to: what the rule says, unless that is blank.
    pub fn dedup_key(&self, event: &Event, service: &Service) -> String {
        let said = self.dedup_key.as_ref().map(|text| text.render(&self.facts(event, service)));
        let said = said.filter(|text| !text.trim().is_empty());
        template::key(&said.unwrap_or_else(|| self.group_key(event)))
    }

    /// The rule's slug and the group. Different groups have different keys, as they have different
    /// windows.
    fn group_key(&self, event: &Event) -> String {
        let mut key = self.row.slug.clone();
        for (index, name) in self.row.group_by.iter().enumerate() {
            key.push(if index == 0 { ':' } else { ',' });
            key.push_str(&event.attribute(name).replace('\\', "\\\\").replace(',', "\\,"));
        }
        key
    }

    /// Title of the alert and its incident: what the rule says, unless that is blank.
    pub fn title(&self, event: &Event, service: &Service) -> String {
        let said = self.title.as_ref().map(|text| template::title(&text.render(&self.facts(event, service))));
        said.filter(|title| !title.is_empty()).unwrap_or_else(|| self.row.name.clone())
    }

    fn facts<'a>(&'a self, event: &'a Event, service: &'a Service) -> Facts<'a> {
        Facts {
            rule: &self.row.slug,
            service: &service.slug,
            event_name: &event.name,
            event_dedup_key: &event.dedup_key,
            event_severity: event.severity.as_str(),
            event_value: event.value,
            attributes: &event.attributes,
        }
    }
}

/// A service and its rules in force, found by event name.
#[derive(Debug)]
pub struct RuleSet {
    pub version: i64,
    pub service: Arc<Service>,
    pub rules: Vec<Arc<CompiledRule>>,
    by_name: HashMap<String, Vec<usize>>,
    of_any_name: Vec<usize>,
}

impl RuleSet {
    pub fn new(version: i64, service: Service, rules: Vec<Arc<CompiledRule>>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut of_any_name = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            match rule.selection.names() {
                Names::Any => of_any_name.push(index),
                Names::Only(names) => {
                    for name in names {
                        by_name.entry(name.clone()).or_default().push(index);
                    }
                }
            }
        }
        Self { version, service: Arc::new(service), rules, by_name, of_any_name }
    }

    /// The rules that may select an event of this name.
    pub fn candidates(&self, event_name: &str) -> impl Iterator<Item = (usize, &CompiledRule)> {
        let pinned = self.by_name.get(event_name).map_or(&[][..], Vec::as_slice);
        pinned.iter().chain(&self.of_any_name).map(|index| (*index, &*self.rules[*index]))
    }

    /// What it takes in memory, roughly and in bytes: a compiled expression is many small nodes.
    fn weight(&self) -> u32 {
        let of_rule = |rule: &Arc<CompiledRule>| RULE_WEIGHT + rule.row.bulk() * CHARACTER_WEIGHT;
        let rules: i64 = self.rules.iter().map(of_rule).sum();
        u32::try_from(RULE_WEIGHT + rules).unwrap_or(u32::MAX)
    }
}

/// Which service of which organization.
pub type SetKey = (OrgId, ServiceId);

/// The sets of a batch's services. Unknown services are left out; an archived one is there without rules.
#[derive(Debug, Default)]
pub struct Loaded {
    pub sets: HashMap<SetKey, Arc<RuleSet>>,
    /// Services whose sets are compiled in a later batch: this one ends before their first event.
    pub waiting: HashSet<SetKey>,
}

/// What sets weigh at most together before those go that were used least recently: as much as four
/// organizations can have.
const MAX_WEIGHT: u64 = 512 << 20;
/// Weight of a rule beside its expression.
const RULE_WEIGHT: i64 = 512;
/// Weight of one of [`Rule::bulk`].
const CHARACTER_WEIGHT: i64 = 64;

/// The compiled sets of a process. Cloning shares them.
#[derive(Clone, Debug)]
pub struct RuleSets(Cache<SetKey, Arc<RuleSet>>);

impl Default for RuleSets {
    fn default() -> Self {
        Self::of_weight(MAX_WEIGHT)
    }
}

impl RuleSets {
    fn of_weight(max: u64) -> Self {
        let cache = Cache::builder().eviction_policy(EvictionPolicy::lru());
        Self(cache.weigher(|_, set: &Arc<RuleSet>| set.weight()).max_capacity(max).build())
    }

    /// The sets of these services as committed now. That of the first is there in any case; when `breaks`
    /// say that it is enough, the others that are not compiled yet wait.
    pub async fn load(
        &self,
        conn: &mut AsyncPgConnection,
        keys: &[SetKey],
        breaks: &mut Breaks,
    ) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut stale: HashMap<SetKey, i64> = HashMap::new();
        for set in breaks.waiting(rules::set_versions(conn, keys)).await? {
            match self.0.get(&set.key()).filter(|known| known.version == set.version) {
                Some(current) => drop(loaded.sets.insert(set.key(), current)),
                None => drop(stale.insert(set.key(), set.version)),
            }
        }
        for (index, key) in keys.iter().enumerate() {
            let Some(version) = stale.get(key) else { continue };
            if index > 0 && breaks.enough() {
                loaded.waiting.insert(*key);
            } else if let Some(set) = self.compile(conn, *key, *version, breaks).await? {
                self.0.insert(*key, set.clone());
                loaded.sets.insert(*key, set);
            }
        }
        Ok(loaded)
    }

    /// Rules that stand at the version they had are taken over as they are. The rows may be newer than
    /// `version` says; then the next batch looks at them once more.
    async fn compile(
        &self,
        conn: &mut AsyncPgConnection,
        key: SetKey,
        version: i64,
        breaks: &mut Breaks,
    ) -> Result<Option<Arc<RuleSet>>> {
        let set = breaks.waiting(rules::set(conn, key)).await?;
        let Some((service, mut rows)) = set else { return Ok(None) };
        if service.archived_at.is_some() {
            rows.clear();
        }
        let known = self.0.get(&key);
        let known = known.iter().flat_map(|set| &set.rules).map(|rule| (rule.row.id, rule.clone()));
        let mut known: HashMap<RuleId, Arc<CompiledRule>> = known.collect();
        let mut compiled = Vec::with_capacity(rows.len());
        for row in rows {
            let same = known.remove(&row.id).filter(|known| known.row.version == row.version);
            compiled.extend(same.or_else(|| CompiledRule::compile(row).map(Arc::new)));
            breaks.take(conn).await?;
        }
        Ok(Some(Arc::new(RuleSet::new(version, service, compiled))))
    }
}
