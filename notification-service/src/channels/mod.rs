//! The ways out: one [`Channel`] a kind, and the [`Registry`] that holds them.
//!
//! A new way is a file here, a word in [`Kind`], a value of `ChannelKind` in the contract and a line
//! in [`Registry::new`].

pub mod email;
pub mod log;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use platform::egress::Egress;
use platform::error::{Error, Result};
use platform::secret::Secret;

use crate::config::Config;
use crate::kinds::Kind;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// As [`Channel::check`] returned it.
    pub address: String,
    /// What the message is signed with.
    pub secret: Option<Secret<String>>,
}

/// A message as it is sent, the same on every attempt but for `trace`.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The delivery's stable key; receivers use it to notice repetitions.
    pub key: String,
    /// One line.
    pub subject: String,
    /// For people.
    pub text: String,
    /// For programs.
    pub json: String,
    /// This attempt's step in the trace that led to the message, as a `traceparent`.
    pub trace: String,
}

/// What an attempt says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It may work later, not before `after` when the receiver said so.
    Retry {
        /// The receiver's Retry-After.
        after: Option<Duration>,
    },
    /// It never will.
    Refused,
}

/// Characters of [`Answer::detail`].
const MAX_DETAIL: usize = 200;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    /// HTTP status or SMTP code; 0 when there was no answer.
    pub status: i32,
    /// One line for the trail, which every viewer reads: at most [`MAX_DETAIL`] characters of our own
    /// words. It holds no secret and no address.
    pub detail: String,
}

impl Answer {
    fn new(verdict: Verdict, status: i32, detail: impl Into<String>) -> Self {
        let detail = detail.into().chars().take(MAX_DETAIL).collect();
        Self { verdict, status, detail }
    }

    /// It never will, and nothing was sent.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(Verdict::Refused, 0, detail)
    }

    /// No answer in time, or something broke on the way.
    pub fn retry(detail: impl Into<String>) -> Self {
        Self::new(Verdict::Retry { after: None }, 0, detail)
    }
}

/// A way out.
#[async_trait]
pub trait Channel: Send + Sync {
    /// The address in the form in which it is kept and compared.
    ///
    /// # Errors
    /// What is wrong with it, as a fault of field `address`.
    fn check(&self, address: &str) -> Result<String>;

    /// A form of the address that gives nothing away.
    fn shorten(&self, address: &str) -> String;

    /// Why this deployment reaches nobody this way; `None` when it can.
    fn hindrance(&self) -> Option<&'static str> {
        None
    }

    /// Whether messages are signed with a secret of the destination.
    fn signs(&self) -> bool {
        false
    }

    /// Whether an address must be proven to belong to its person before it is used.
    fn needs_proof(&self) -> bool {
        false
    }

    /// Sends `message` once, at `now`.
    async fn deliver(&self, to: &Destination, message: &Rendered, now: DateTime<Utc>) -> Answer;
}

/// The ways out of this deployment.
pub struct Registry {
    webhook: webhook::Webhook,
    email: email::Email,
    log: log::Log,
}

impl Registry {
    /// # Errors
    /// Invalid, when section `smtp` cannot work: code `invalid_smtp`.
    pub fn new(egress: Egress, config: &Config) -> Result<Self> {
        let timeout = Duration::from_millis(config.delivery.timeout_ms);
        Ok(Self {
            webhook: webhook::Webhook::new(egress, timeout),
            email: email::Email::new(&config.smtp)?,
            log: log::Log { is_read: config.delivery.log_channel },
        })
    }

    /// The way for destinations of `kind`.
    pub fn of(&self, kind: Kind) -> &dyn Channel {
        match kind {
            Kind::Webhook => &self.webhook,
            Kind::Email => &self.email,
            Kind::Log => &self.log,
        }
    }
}

fn address_fault(code: &'static str, detail: impl Into<String>) -> Error {
    Error::field("address", code, detail)
}
