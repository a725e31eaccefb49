//! What events may start, compiled and kept: on the way from an event to a page nothing is read or
//! compiled twice. What cannot be read must not stand in the way of paging: a workflow is then left
//! out, and a policy gives way to the built-in one.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use moka::sync::Cache;
use platform::consumer::Breaks;
use platform::error::{Error, Result};
use uuid::Uuid;

use crate::condition::Condition;
use crate::convert;
use crate::policies;
use crate::program::Program;
use crate::response::{Candidate, Catalog, Event, Key, pages};
use crate::store::{policies as policy_rows, workflows as workflow_rows};

/// What the memory of either kind may weigh, in bytes.
const MAX_WEIGHT: u64 = 32 * 1024 * 1024;

/// Everything compiled so far.
pub struct Compiled {
    workflows: Kept<Candidate>,
    policies: Kept<(String, Program)>,
}

/// By id and version; `None` for what cannot be read, which is told once.
type Kept<T> = Cache<(Uuid, i64), Entry<T>>;

struct Entry<T> {
    value: Option<Arc<T>>,
    weight: u32,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), weight: self.weight }
    }
}

impl Default for Compiled {
    fn default() -> Self {
        Self { workflows: kept(), policies: kept() }
    }
}

fn kept<T: Send + Sync + 'static>() -> Kept<T> {
    Cache::builder().weigher(|_, entry: &Entry<T>| entry.weight).max_capacity(MAX_WEIGHT).build()
}

impl Compiled {
    /// What `events` may start.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn catalog(&self, conn: &mut AsyncPgConnection, events: &[Event]) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        self.add_workflows(conn, events, &mut catalog).await?;
        self.add_policies(conn, events, &mut catalog).await?;
        Ok(catalog)
    }

    async fn add_workflows(
        &self,
        conn: &mut AsyncPgConnection,
        events: &[Event],
        catalog: &mut Catalog,
    ) -> Result<()> {
        let triggering = || events.iter().filter(|event| convert::is_trigger(&event.what));
        let orgs = distinct(triggering().map(|event| event.key.0));
        let triggers = distinct(triggering().map(|event| event.what.as_str()));
        let services = distinct(triggering().filter_map(Event::service));
        if orgs.is_empty() {
            return Ok(());
        }
        let found = workflow_rows::triggered_of_all(conn, &orgs, &triggers, &services).await?;
        let known: Vec<_> = found.iter().map(|it| self.workflows.get(&(it.id, it.version))).collect();
        let unknown = found.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<Key> = unknown.map(|(it, _)| (it.org_id, it.id)).collect();
        let (mut loaded, mut breaks) = (HashMap::new(), Breaks::begin());
        for row in workflow_rows::find_of_all(conn, &unknown).await? {
            let (key, entry) = ((row.org_id, row.id), candidate(&row));
            self.workflows.insert((row.id, row.version), entry.clone());
            loaded.insert(key, entry);
            breaks.take(conn).await?;
        }
        for (it, known) in found.into_iter().zip(known) {
            let entry = known.or_else(|| loaded.remove(&(it.org_id, it.id)));
            if let Some(candidate) = entry.and_then(|entry| entry.value) {
                catalog.workflows.entry(it.org_id).or_default().push(candidate);
            }
        }
        Ok(())
    }

    async fn add_policies(
        &self,
        conn: &mut AsyncPgConnection,
        events: &[Event],
        catalog: &mut Catalog,
    ) -> Result<()> {
        let paging = events.iter().filter(|event| pages(event));
        let keys = distinct(paging.filter_map(|event| Some((event.key.0, event.policy()?))));
        for row in policy_rows::find_of_all(conn, &keys).await? {
            let entry = self.policies.get_with((row.id, row.version), || policy(&row));
            if let Some(policy) = entry.value {
                catalog.policies.insert((row.org_id, row.id), policy);
            }
        }
        Ok(())
    }
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<T>>().into_iter().collect()
}

fn candidate(row: &workflow_rows::Workflow) -> Entry<Candidate> {
    let compiled = readable("workflow", row.id, || {
        let condition = Condition::compile(&row.condition)
            .map_err(|refused| Error::internal(format!("its condition does not compile: {refused}")))?;
        Ok(Candidate {
            id: row.id,
            name: row.name.clone(),
            triggers: row.triggers.clone(),
            service_ids: row.service_ids.clone(),
            condition,
            hold_paging: TimeDelta::milliseconds(row.hold_paging_ms),
            program: Program::of_workflow(&convert::sealed_steps(row)?),
        })
    });
    // A compiled condition is many small nodes, a program about what its text is.
    Entry { value: compiled, weight: weight(row.steps.len() * 2 + row.condition.len() * 64) }
}

fn policy(row: &policy_rows::Policy) -> Entry<(String, Program)> {
    let compiled = readable("policy", row.id, || Ok((row.name.clone(), policies::program(row)?)));
    Entry { value: compiled, weight: weight(row.levels.len() * 4) }
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + 1024).unwrap_or(u32::MAX)
}

/// What `read` gives; `None`, told as an error, when it fails or panics.
fn readable<T>(what: &'static str, id: Uuid, read: impl FnOnce() -> Result<T>) -> Option<Arc<T>> {
    let result =
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(Error::internal("reading it panics")));
    match result {
        Ok(value) => Some(Arc::new(value)),
        Err(error) => {
            metrics::counter!("pulseops_workflow_definitions_unreadable_total", "what" => what).increment(1);
            tracing::error!(what, %id, error = %error.chain(), "a stored definition cannot be read and is left out");
            None
        }
    }
}
