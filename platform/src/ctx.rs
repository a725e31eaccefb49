//! Who calls, for which organization, under which request: made at the edge from a verified token
//! and carried through every call and transaction.

mod id;
mod principal;
mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use id::{parse_id, parse_ids};
pub use principal::{Actor, BadSubject, Permissions, Principal, PrincipalKind, Subject};
pub use trace::Trace;

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::source::Source;

crate::id! {
    /// An organization: the tenant that every row belongs to.
    OrgId
}

crate::id! {
    /// One request at the edge; stands in logs and in `instance` of problem answers.
    RequestId
}

/// The event that led to this work and how many automatic steps lie before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// Id of the event.
    pub event: Uuid,
    /// Depth that the event carried.
    pub depth: u32,
}

/// One request's context. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Who calls.
    pub principal: Arc<Principal>,
    /// The organization that the call acts in; nil for anonymous callers.
    pub org: OrgId,
    /// The request at the edge that this belongs to.
    pub request_id: RequestId,
    /// W3C trace position of this step.
    pub trace: Trace,
    /// The time of the call; one value through the whole use case.
    pub now: DateTime<Utc>,
    /// When the caller stops waiting. Real time, not the injected clock.
    pub deadline: Option<Instant>,
    /// Idempotency key, set for this very call only; never passed on to the next one.
    pub idempotency_key: Option<Arc<str>>,
    /// The version that the caller expects (`If-Match`), for this very call only.
    pub if_match: Option<i64>,
    /// gRPC path of the call, for example `/pulseops.incident.v1.Incidents/CreateIncident`.
    pub rpc: Arc<str>,
    /// The bearer token that the caller presented, passed on to remote services.
    pub token: Option<Secret<Arc<str>>>,
    /// Why the presented token was refused; such a caller goes on as an anonymous one.
    pub refused: Option<Arc<Error>>,
    /// What led to this call, when automation did.
    pub cause: Option<Cause>,
    /// Time, ids and randomness.
    pub source: Source,
}

impl Ctx {
    /// A context for `principal` in `org`: a new request and a new trace, no deadline, no keys.
    pub fn new(source: Source, principal: impl Into<Arc<Principal>>, org: OrgId) -> Self {
        Self {
            principal: principal.into(),
            org,
            request_id: RequestId(source.id()),
            trace: Trace::new(&source),
            now: source.now(),
            deadline: None,
            idempotency_key: None,
            if_match: None,
            rpc: Arc::from(""),
            token: None,
            refused: None,
            cause: None,
            source,
        }
    }

    /// A caller without a token, outside of every organization.
    pub fn anonymous(source: Source) -> Self {
        Self::new(source, Principal::anonymous(), OrgId::nil())
    }

    /// A background caller: the service `role` (for example `workflow`) acting in `org` because of
    /// `cause`. It passes the doors of INTERNAL operations and of those that read.
    pub fn service(
        role: &'static str,
        org: OrgId,
        source: Source,
        trace: Trace,
        cause: Option<Cause>,
    ) -> Self {
        let trace = trace.child(&source);
        Self { trace, cause, ..Self::new(source, Principal::service(role), org) }
    }

    /// Who did it, as audit rows and timelines keep it.
    pub fn actor(&self) -> Actor {
        self.principal.actor()
    }

    /// A new id.
    pub fn id(&self) -> Uuid {
        self.source.id()
    }

    /// Depth of an event that this work emits: one more than that of its cause, else 0.
    pub fn depth(&self) -> u32 {
        self.cause.map_or(0, |cause| cause.depth.saturating_add(1))
    }

    /// Demands `permission` (lower-case name) of the caller.
    ///
    /// # Errors
    /// Forbidden, code `permission_denied`.
    pub fn require(&self, permission: &str) -> Result<()> {
        if self.principal.permissions.contains(permission) {
            return Ok(());
        }
        Err(Error::forbidden("permission_denied", format!("this needs the permission {permission}")))
    }

    /// Refuses a caller who expects (`If-Match`) another version than `current`, that of the row.
    ///
    /// # Errors
    /// Precondition, code `version_mismatch`.
    pub fn expect_version(&self, current: i64) -> Result<()> {
        match self.if_match {
            Some(expected) if expected != current => Err(Error::version_mismatch(current)),
            _ => Ok(()),
        }
    }

    /// How long the caller still waits: `None` without a deadline, zero when it is over.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Sets the deadline to `timeout` from now, unless an earlier one stands.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        let at = Instant::now() + timeout;
        self.deadline = Some(self.deadline.map_or(at, |known| known.min(at)));
        self
    }

    /// The same caller with an idempotency key for the next call.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The same caller expecting `version` in the next call.
    #[must_use]
    pub fn with_if_match(mut self, version: i64) -> Self {
        self.if_match = Some(version);
        self
    }

    /// The service `role` doing its part of this very request: same organization, request, trace,
    /// deadline and cause, but a service's rights instead of the caller's.
    #[must_use]
    pub fn as_service(&self, role: &'static str) -> Self {
        Self {
            principal: Arc::new(Principal::service(role)),
            token: None,
            idempotency_key: None,
            if_match: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
