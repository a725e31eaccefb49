//! Section `workflow` of the configuration. `Default` is the documented default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::program::Program;

/// How workflows and escalations run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Steps that one process performs at the same time.
    pub concurrency: usize,
    /// Automatic steps between an event and its first cause above which it starts no workflow, so
    /// that automation that triggers itself ends. Escalation always starts.
    pub max_depth: u32,
    /// How long a call of another service may take before it counts as failed.
    pub peer_timeout_ms: u64,
    /// The escalation of services that have no policy.
    pub builtin_policy: BuiltinPolicy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency: 64,
            max_depth: 8,
            peer_timeout_ms: 3_000,
            builtin_policy: BuiltinPolicy::default(),
        }
    }
}

impl Config {
    /// [`Config::peer_timeout_ms`] as a duration.
    pub fn peer_timeout(&self) -> Duration {
        Duration::from_millis(self.peer_timeout_ms)
    }
}

/// The owner team is told at once, the owner team and the organization's owners when nobody
/// acknowledges in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuiltinPolicy {
    /// How long the first level waits for an acknowledgement.
    pub first_timeout_ms: u64,
    /// How long the second level waits.
    pub second_timeout_ms: u64,
    /// Rounds after the first.
    pub repeat: u32,
}

impl Default for BuiltinPolicy {
    fn default() -> Self {
        Self { first_timeout_ms: 300_000, second_timeout_ms: 300_000, repeat: 3 }
    }
}

impl BuiltinPolicy {
    /// What it compiles to.
    pub fn program(&self) -> Program {
        let timeouts = [self.first_timeout_ms, self.second_timeout_ms].map(Duration::from_millis);
        Program::built_in(timeouts, self.repeat)
    }
}
