//! Section `incident` of the configuration.

use serde::{Deserialize, Serialize};

/// How incident-service works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How late an event may come and still count where it belongs, in milliseconds. Ids of matched
    /// events are remembered for a rule's window and this long.
    pub lateness_ms: u32,
    /// Events of one partition that are handled in one transaction at most.
    pub max_batch: usize,
    /// Commits at the same time at most in which alerts resolve themselves, up to a hundred of one
    /// organization in each.
    pub auto_resolve_concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { lateness_ms: 300_000, max_batch: 500, auto_resolve_concurrency: 2 }
    }
}
