//! Compiled rules by service, kept until the version of the service's rule set moves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use platform::ctx::OrgId;
use platform::error::Result;

use super::selection::{Names, Selection};
use super::template::{Facts, Template, cut};
use super::{Event, Limit};
use crate::json::Condition;
use crate::kinds::ServiceId;
use crate::store::rules::{self, Rule, SetVersion};
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

    /// Which alert a firing at `event` belongs to.
    pub fn dedup_key(&self, event: &Event, service: &Service) -> String {
        if let Some(template) = &self.dedup_key {
            return template.render(&self.facts(event, service));
        }
        let mut key = self.row.slug.clone();
        for (index, name) in self.row.group_by.iter().enumerate() {
            key.push(if index == 0 { ':' } else { ',' });
            key.push_str(event.attribute(name));
        }
        cut(key)
    }

    /// Title of the alert and its incident.
    pub fn title(&self, event: &Event, service: &Service) -> String {
        match &self.title {
            Some(template) => template.render(&self.facts(event, service)),
            None => self.row.name.clone(),
        }
    }

    fn facts<'a>(&'a self, event: &'a Event, service: &'a Service) -> Facts<'a> {
        Facts {
            rule: &self.row.slug,
            service: &service.slug,
            event_name: &event.name,
            event_dedup_key: &event.dedup_key,
            attributes: &event.attributes,
        }
    }
}

/// A service and its rules in force, found by event name.
#[derive(Debug)]
pub struct RuleSet {
    pub version: i64,
    pub service: Arc<Service>,
    pub rules: Vec<CompiledRule>,
    by_name: HashMap<String, Vec<usize>>,
    of_any_name: Vec<usize>,
}

impl RuleSet {
    pub fn new(version: i64, service: Service, rules: Vec<Rule>) -> Self {
        let rules: Vec<CompiledRule> = rules.into_iter().filter_map(CompiledRule::compile).collect();
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
        pinned.iter().chain(&self.of_any_name).map(|index| (*index, &self.rules[*index]))
    }
}

/// Which service of which organization.
pub type SetKey = (OrgId, ServiceId);

/// The compiled sets of a process. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct RuleSets(Arc<Mutex<HashMap<SetKey, Arc<RuleSet>>>>);

impl RuleSets {
    /// The sets of these services as committed now. Unknown services are left out; an archived one
    /// is there without rules.
    pub async fn load(
        &self,
        conn: &mut AsyncPgConnection,
        keys: &[SetKey],
    ) -> Result<HashMap<SetKey, Arc<RuleSet>>> {
        let versions = rules::set_versions(conn, keys).await?;
        let stale: Vec<SetVersion> = {
            let known = self.sets();
            let current = |set: &SetVersion| {
                known.get(&(set.org_id, set.service_id)).is_some_and(|k| k.version == set.version)
            };
            versions.iter().filter(|set| !current(set)).copied().collect()
        };
        if !stale.is_empty() {
            self.compile(conn, &stale).await?;
        }
        let known = self.sets();
        let found = versions.iter().filter_map(|set| {
            let key = (set.org_id, set.service_id);
            Some((key, known.get(&key)?.clone()))
        });
        Ok(found.collect())
    }

    /// The rows may be newer than `stale` says; then the next batch compiles them once more.
    async fn compile(&self, conn: &mut AsyncPgConnection, stale: &[SetVersion]) -> Result<()> {
        let keys: Vec<SetKey> = stale.iter().map(|set| (set.org_id, set.service_id)).collect();
        let (services, rules) = rules::sets(conn, &keys).await?;
        let mut by_service: HashMap<SetKey, Vec<Rule>> = HashMap::new();
        for rule in rules {
            by_service.entry((rule.org_id, rule.service_id)).or_default().push(rule);
        }
        let versions: HashMap<SetKey, i64> =
            stale.iter().map(|set| ((set.org_id, set.service_id), set.version)).collect();
        for service in services {
            let key = (service.org_id, service.id);
            let of_service = by_service.remove(&key).unwrap_or_default();
            let rules = if service.archived_at.is_none() { of_service } else { Vec::new() };
            let version = versions.get(&key).copied().unwrap_or_default();
            let set = Arc::new(RuleSet::new(version, service, rules));
            self.sets().insert(key, set);
        }
        Ok(())
    }

    fn sets(&self) -> MutexGuard<'_, HashMap<SetKey, Arc<RuleSet>>> {
        // Whole after every insert, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
