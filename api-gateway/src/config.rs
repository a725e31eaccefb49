//! Section `gateway` of the configuration.

use serde::{Deserialize, Serialize};

/// Limits of the REST face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest body of a request.
    pub body_limit_bytes: usize,
    /// Deepest nesting of JSON.
    pub json_depth: usize,
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// Intake of events.
    pub intake: IntakeConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_limit_bytes: 1 << 20,
            json_depth: 64,
            request_timeout_ms: 10_000,
            intake: IntakeConfig::default(),
        }
    }
}

/// Limits of the intake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeConfig {
    /// Longest body as it is sent.
    pub body_limit_bytes: usize,
    /// Longest body when decompressed.
    pub expanded_limit_bytes: usize,
    /// Events accepted and not yet durable.
    pub buffer_events: usize,
    /// Their size.
    pub buffer_bytes: usize,
    /// Events of one append.
    pub batch_events: usize,
    /// Appends under way at once.
    pub writers: usize,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            body_limit_bytes: 5 << 20,
            expanded_limit_bytes: 50 << 20,
            buffer_events: 200_000,
            buffer_bytes: 128 << 20,
            batch_events: 5_000,
            writers: 2,
        }
    }
}
