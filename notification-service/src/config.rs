use platform::secret::Secret;
use serde::{Deserialize, Serialize};

/// What notification-service reads from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Section `smtp`.
    pub smtp: Smtp,
    /// Section `notification`.
    pub delivery: Delivery,
}

/// The mail server of the deployment. Addresses that users give are recipients, never dialled.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// Empty: email is off, and email addresses count as unusable.
    pub host: String,
    /// 587 for STARTTLS, 465 for TLS from the first byte.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Empty: no authentication.
    pub username: String,
    /// Password of `username`.
    pub password: Secret<String>,
    /// Sender, as `PulseOps <pulseops@example.com>`.
    pub from: String,
    /// How long connecting and each command may take.
    pub timeout_ms: u64,
    /// Connections kept to the server.
    pub max_connections: u32,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// Not at all: a server on this machine.
    None,
    /// The server must offer STARTTLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
}

impl Smtp {
    /// Whether email can be sent at all.
    pub fn is_set(&self) -> bool {
        !self.host.is_empty()
    }
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            tls: SmtpTls::default(),
            username: String::new(),
            password: Secret::new(String::new()),
            from: "PulseOps <pulseops@localhost>".to_owned(),
            timeout_ms: 10_000,
            max_connections: 4,
        }
    }
}

/// How deliveries are tried.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// Wait after the first failed attempt; it doubles with each further one.
    pub first_retry_ms: u64,
    /// The longest wait between attempts.
    pub max_retry_ms: u64,
    /// Attempts until a delivery is dead. A replay grants as many again.
    pub max_attempts: i32,
    /// How long one attempt may take.
    pub timeout_ms: u64,
    /// Deliveries in flight in one process.
    pub concurrency: usize,
    /// Of these, the deliveries of one organization: receivers that hang for one do not hold up the
    /// pages of another.
    pub concurrency_per_organization: usize,
    /// How old a decision may be before the incident's state is asked for.
    pub trust_decision_ms: u64,
    /// How old an answer of auth-service about a team may be before it is asked again.
    pub trust_team_ms: u64,
    /// How long auth- and incident-service are waited for on the way to a page.
    pub peer_timeout_ms: u64,
    /// How long a later message waits for an earlier one to the same destination.
    pub order_wait_ms: u64,
    /// Test messages that one channel takes in an hour.
    pub tests_per_hour: u32,
    /// Days after which messages that have ended are removed, with their notifications and attempts; at
    /// least 1.
    pub keep_deliveries_days: u32,
    /// Whether contact methods and channels of kind `log` count as ways to reach somebody: only where
    /// those people read the server's log. When nobody can be reached, the log is told all the same.
    pub log_channel: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            first_retry_ms: 1_000,
            max_retry_ms: 300_000,
            max_attempts: 8,
            timeout_ms: 10_000,
            concurrency: 64,
            concurrency_per_organization: 32,
            trust_decision_ms: 1_000,
            trust_team_ms: 10_000,
            peer_timeout_ms: 300,
            order_wait_ms: 60_000,
            tests_per_hour: 20,
            keep_deliveries_days: 400,
            log_channel: true,
        }
    }
}
