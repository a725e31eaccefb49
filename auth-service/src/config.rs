//! Section `auth` of the configuration.

use serde::{Deserialize, Serialize};

/// Who may register an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anybody who reaches the API.
    #[default]
    Open,
    /// Nobody: 403 `registration_closed`.
    Closed,
}

/// The section; its default is the documented default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who may register an organization.
    pub registration: Registration,
    /// Passwords hashed at the same time, 19 MiB each; 0 means one a core.
    pub password_hashes: usize,
    /// How often expired sessions and refresh tokens are removed.
    pub sweep_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { registration: Registration::Open, password_hashes: 0, sweep_interval_ms: 600_000 }
    }
}
