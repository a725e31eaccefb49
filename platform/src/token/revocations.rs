use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::verifier::{MAX_LIFETIME, Verified};
use crate::ctx::PrincipalKind;
use crate::error::{Error, Result};

/// Whose tokens end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Those of one session: a logout, a reused refresh token.
    Session(Uuid),
    /// Those of one API key or integration key.
    Key(Uuid),
    /// Those of one user: disabled, archived, or with another role.
    User(Uuid),
}

/// Tokens issued until `at` are refused from now on. A change of a user's role is a revocation too:
/// the next refresh carries the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose.
    pub what: Revoked,
    /// Until when they were issued.
    pub at: DateTime<Utc>,
}

/// What is revoked, kept until every token that it is about has ended by itself.
#[derive(Default)]
pub(super) struct Revocations(RwLock<HashMap<Revoked, DateTime<Utc>>>);

impl Revocations {
    pub(super) fn add(&self, revocation: Revocation, now: DateTime<Utc>) {
        let oldest = now - TimeDelta::from_std(MAX_LIFETIME).unwrap_or(TimeDelta::MAX);
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, at| *at >= oldest);
        if revocation.at >= oldest {
            let at = map.entry(revocation.what).or_insert(revocation.at);
            *at = (*at).max(revocation.at);
        }
    }

    pub(super) fn check(&self, verified: &Verified) -> Result<()> {
        let principal = &verified.principal;
        let owner = match principal.kind {
            PrincipalKind::User => Revoked::User(principal.id),
            PrincipalKind::ApiKey | PrincipalKind::IntegrationKey => Revoked::Key(principal.id),
            PrincipalKind::Service | PrincipalKind::Anonymous => return Ok(()),
        };
        let session = principal.session.map(Revoked::Session);
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let until = |what: &Revoked| map.get(what).copied();
        let revoked = [Some(owner), session].into_iter().flatten().filter_map(|what| until(&what));
        if revoked.max().is_some_and(|at| verified.issued_at <= at) {
            return Err(Error::unauthenticated("revoked_token", "the token was revoked"));
        }
        Ok(())
    }
}
