//! Section `workflow` of the configuration. `Default` is the documented default.

use std::time::Duration;

use chrono::TimeDelta;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::program::Program;

/// How workflows and escalations run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Steps that one process performs at the same time: so many of escalations and so many of
    /// workflows, half of them of one organization. 3 to 1,000: with fewer, runs of one organization that
    /// have just begun would keep those that come due waiting.
    #[serde(deserialize_with = "within::<_, _, 3, 1_000>")]
    pub concurrency: usize,
    /// Automatic steps between an event and its first cause above which it starts no workflow, so
    /// that automation that triggers itself ends. Escalation always starts.
    pub max_depth: u32,
    /// How long a call of another service may take before it counts as failed. 100 to 30,000.
    #[serde(deserialize_with = "within::<_, _, 100, 30_000>")]
    pub peer_timeout_ms: u64,
    /// How long runs are kept after they have ended, in days, and longer until their incident is
    /// resolved. 1 to 36,500.
    #[serde(deserialize_with = "within::<_, _, 1, 36_500>")]
    pub keep_runs_days: u32,
    /// The escalation of services that have no policy.
    pub builtin_policy: BuiltinPolicy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency: 64,
            max_depth: 8,
            peer_timeout_ms: 3_000,
            keep_runs_days: 400,
            builtin_policy: BuiltinPolicy::default(),
        }
    }
}

impl Config {
    /// [`Config::peer_timeout_ms`] as a duration.
    pub fn peer_timeout(&self) -> Duration {
        Duration::from_millis(self.peer_timeout_ms)
    }

    /// [`Config::keep_runs_days`] as a duration.
    pub fn keep_runs(&self) -> TimeDelta {
        TimeDelta::days(self.keep_runs_days.into())
    }
}

/// The owner team is told at once, the owner team and the organization's owners when nobody
/// acknowledges in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuiltinPolicy {
    /// How long the first level waits for an acknowledgement: a second to a day, as in policies.
    #[serde(deserialize_with = "within::<_, _, 1_000, 86_400_000>")]
    pub first_timeout_ms: u64,
    /// How long the second level waits: likewise.
    #[serde(deserialize_with = "within::<_, _, 1_000, 86_400_000>")]
    pub second_timeout_ms: u64,
    /// Rounds after the first: 0 to 9.
    #[serde(deserialize_with = "within::<_, _, 0, 9>")]
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

/// A number from `LEAST` to `MOST`.
fn within<'de, D, T, const LEAST: u64, const MOST: u64>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = u64::deserialize(deserializer)?;
    let fits = (LEAST..=MOST).contains(&number).then(|| T::try_from(number).ok()).flatten();
    fits.ok_or_else(|| D::Error::custom(format!("must be {LEAST} to {MOST}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_would_page_everybody_at_once_or_nobody_are_refused() {
        let read = serde_json::from_value::<Config>;
        assert_eq!(read(json!({})).expect("all defaults"), Config::default());
        let bad = [
            json!({"concurrency": 2}),
            json!({"peer_timeout_ms": 0}),
            json!({"keep_runs_days": 0}),
            json!({"builtin_policy": {"first_timeout_ms": 0}}),
            json!({"builtin_policy": {"second_timeout_ms": 86_400_001}}),
            json!({"builtin_policy": {"repeat": 10}}),
        ];
        for config in bad {
            let error = read(config.clone()).expect_err("refused").to_string();
            assert!(error.contains("must be "), "{config}: {error}");
        }
    }
}
