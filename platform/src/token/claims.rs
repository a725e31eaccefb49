use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ctx::{Cause, OrgId, Principal, PrincipalKind};
use crate::source::Source;

/// For whom a token is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Users and keys, on every door.
    #[serde(rename = "pulseops")]
    Public,
    /// Our own services.
    #[serde(rename = "pulseops-internal")]
    Internal,
}

/// The claims of a token (RFC 7519, with our own beside).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// `user:<uuid>`, `api_key:<uuid>`, `integration_key:<uuid>` or `service:<role>`.
    pub sub: String,
    /// The organization that the caller acts in; nil for a service acting in none.
    pub org: OrgId,
    /// For whom.
    pub aud: Audience,
    /// The caller's name at that time.
    pub name: String,
    /// Role of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Permissions of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Session of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// The service that an integration key is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Uuid>,
    /// The event that led a service to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Uuid>,
    /// Depth of that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Issued at, in seconds.
    pub iat: i64,
    /// Issued at, in milliseconds: a revocation separates tokens of the same second.
    pub iat_ms: i64,
    /// Expires at, in seconds.
    pub exp: i64,
    /// Id of the token.
    pub jti: Uuid,
}

impl Claims {
    /// A token for `principal` in `org` that lasts `ttl` from now. A service's token is for our own
    /// doors, every other for all of them; keys carry their permissions as scopes.
    pub fn new(principal: &Principal, org: OrgId, ttl: Duration, source: &Source) -> Self {
        Self::new_at(principal, org, ttl, source.now(), source)
    }

    /// As [`Claims::new`], issued at `now`: where the order of tokens and revocations counts, the
    /// time comes from the database that both are written in.
    pub fn new_at(
        principal: &Principal,
        org: OrgId,
        ttl: Duration,
        now: DateTime<Utc>,
        source: &Source,
    ) -> Self {
        let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::zero());
        let is_key = matches!(principal.kind, PrincipalKind::ApiKey | PrincipalKind::IntegrationKey);
        Self {
            sub: principal.subject().to_string(),
            org,
            aud: if principal.is_service() { Audience::Internal } else { Audience::Public },
            name: principal.name.clone(),
            role: principal.role.clone(),
            scopes: is_key.then(|| principal.permissions.iter().map(str::to_owned).collect()),
            sid: principal.session,
            service: principal.bound_service,
            cause: None,
            depth: None,
            iat: now.timestamp(),
            iat_ms: now.timestamp_millis(),
            exp: (now + ttl).timestamp(),
            jti: source.id(),
        }
    }

    /// The same token because of `cause`.
    #[must_use]
    pub fn because(mut self, cause: Option<Cause>) -> Self {
        self.cause = cause.map(|cause| cause.event);
        self.depth = cause.map(|cause| cause.depth);
        self
    }

    /// When it was issued.
    pub fn issued_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.iat_ms).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// When it ends.
    pub fn expires_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.exp, 0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}
