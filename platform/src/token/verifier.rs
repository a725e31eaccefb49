use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use moka::future::Cache;

use super::claims::{Audience, Claims};
use super::keys::{KeyRing, KeySource};
use super::revocations::{Revocation, Revocations};
use super::signer::{INTERNAL_KID, Signer};
use super::{API_KEY_PREFIX, INTEGRATION_KEY_PREFIX};
use crate::access::AccessTable;
use crate::ctx::{Cause, OrgId, Permissions, Principal, PrincipalKind, Subject};
use crate::error::{Error, Kind, Result};
use crate::secret::{DeploymentSecret, sha256};
use crate::source::Source;

/// A token that would last longer is refused: revocations are remembered this long.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(3600);
/// How far another machine's clock may be ahead of ours.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);
/// How long an integration key's last good answer stands in for a silent auth-service.
const LAST_GOOD: TimeDelta = TimeDelta::minutes(15);
/// When the next try is made meanwhile.
const LAST_GOOD_STEP: TimeDelta = TimeDelta::seconds(5);
/// Without news from the revocation topic for this long, users' tokens are confirmed with auth.
const SILENCE: TimeDelta = TimeDelta::seconds(30);
/// When a caller may try again whose key could not be verified.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a key that auth refused is refused without asking again.
const REFUSED: TimeDelta = TimeDelta::seconds(2);
const CACHED: u64 = 100_000;
const CACHED_REFUSALS: u64 = 10_000;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who calls.
    pub principal: Arc<Principal>,
    /// In which organization.
    pub org: OrgId,
    /// What led a service to call.
    pub cause: Option<Cause>,
    /// When the token was issued.
    pub issued_at: DateTime<Utc>,
    /// Until when this holds.
    pub expires_at: DateTime<Utc>,
}

/// What is asked of auth-service.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// The 60 s token of an API key or integration key.
    ///
    /// # Errors
    /// Unauthenticated when the key is not good, and for no other reason; Unavailable or Timeout
    /// when auth does not say.
    async fn exchange(&self, key: &str) -> Result<String>;

    /// Whether the user of a good token is still the one it says. Asked only while the revocation
    /// topic is silent.
    ///
    /// # Errors
    /// Unauthenticated when not, and for no other reason; Unavailable or Timeout when auth does not
    /// say.
    async fn confirm(&self, verified: &Verified) -> Result<()>;
}

/// What a [`Verifier`] is made of.
pub struct VerifierParts {
    /// Permissions of roles.
    pub access: Arc<AccessTable>,
    /// From which the key of service tokens is derived.
    pub secret: DeploymentSecret,
    /// Where auth-service's keys are published.
    pub keys: Arc<dyn KeySource>,
    /// Where keys are exchanged.
    pub exchange: Arc<dyn Exchange>,
    /// The clock.
    pub source: Source,
}

/// Turns a bearer token or key into who calls. Answers are cached by the token's hash until it
/// ends; a revocation ends them at once. Clones share the cache.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    access: Arc<AccessTable>,
    internal: DecodingKey,
    ring: KeyRing,
    exchange: Arc<dyn Exchange>,
    source: Source,
    cache: Cache<[u8; 32], Arc<Verified>>,
    refused: Cache<[u8; 32], (DateTime<Utc>, Error)>,
    last_good: Cache<[u8; 32], Arc<Verified>>,
    confirmed: Cache<[u8; 32], DateTime<Utc>>,
    revocations: Revocations,
    heard_ms: AtomicI64,
}

impl Verifier {
    /// A verifier that knows no token yet.
    ///
    /// # Errors
    /// Internal, when the key of service tokens cannot be made.
    pub fn new(parts: VerifierParts) -> Result<Self> {
        let internal = Signer::internal(&parts.secret)?.public_key().decoding_key();
        Ok(Self(Arc::new(Inner {
            access: parts.access,
            internal,
            ring: KeyRing::new(parts.keys, parts.source.clone()),
            exchange: parts.exchange,
            source: parts.source,
            cache: Cache::builder().max_capacity(CACHED).time_to_live(MAX_LIFETIME).build(),
            refused: Cache::new(CACHED_REFUSALS),
            last_good: Cache::new(CACHED),
            confirmed: Cache::new(CACHED),
            revocations: Revocations::default(),
            heard_ms: AtomicI64::new(i64::MIN),
        })))
    }

    /// Says who presents `bearer`: a JWT, an API key or an integration key.
    ///
    /// # Errors
    /// Unauthenticated (`invalid_token`, `expired_token`, `revoked_token`, `unknown_key`, or what
    /// auth says of a key); Unavailable when that cannot be found out now.
    pub async fn verify(&self, bearer: &str) -> Result<Arc<Verified>> {
        let inner = &self.0;
        let hash = sha256(bearer.as_bytes());
        if let Some(known) = inner.known(&hash).await? {
            inner.confirm(hash, &known).await?;
            return Ok(known);
        }
        let found = inner.cache.try_get_with(hash, inner.find(bearer, hash)).await;
        let found = found.map_err(|error| Error::clone(&error))?;
        inner.revocations.check(&found)?;
        inner.confirm(hash, &found).await?;
        Ok(found)
    }

    /// Ends the tokens that `revocation` names.
    pub fn revoke(&self, revocation: Revocation) {
        self.0.revocations.add(revocation, self.0.source.now());
    }

    /// Notes that everything on the revocation topic has been read. While that is not said for
    /// 30 s, users' tokens are confirmed with auth-service every 30 s instead.
    pub fn revocations_heard(&self) {
        let now = self.0.source.now().timestamp_millis();
        self.0.heard_ms.store(now, Ordering::Relaxed);
    }
}

impl Inner {
    /// The cached answer while it holds. A key outlives its tokens: when these are revoked, auth says
    /// whether the key is, too, or whether it only has other rights.
    async fn known(&self, hash: &[u8; 32]) -> Result<Option<Arc<Verified>>> {
        let Some(known) = self.cache.get(hash).await else { return Ok(None) };
        if self.source.now() < known.expires_at {
            match self.revocations.check(&known) {
                Ok(()) => return Ok(Some(known)),
                Err(_) if is_key(known.principal.kind) => {}
                Err(error) => return Err(error),
            }
        }
        self.cache.invalidate(hash).await;
        Ok(None)
    }

    async fn find(&self, bearer: &str, hash: [u8; 32]) -> Result<Arc<Verified>> {
        let integration = bearer.starts_with(INTEGRATION_KEY_PREFIX);
        if !integration && !bearer.starts_with(API_KEY_PREFIX) {
            return self.verify_jwt(bearer).await.map(Arc::new);
        }
        if let Some((at, error)) = self.refused.get(&hash).await
            && self.source.now() - at < REFUSED
        {
            return Err(error);
        }
        match self.exchange_key(bearer).await {
            Ok(verified) => {
                let verified = Arc::new(verified);
                if integration {
                    self.last_good.insert(hash, verified.clone()).await;
                }
                Ok(verified)
            }
            Err(error) if error.kind == Kind::Unauthenticated => {
                self.last_good.invalidate(&hash).await;
                self.refused.insert(hash, (self.source.now(), error.clone())).await;
                Err(error)
            }
            Err(error) if integration => self.last_good(hash).await.ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn exchange_key(&self, key: &str) -> Result<Verified> {
        let token = self.exchange.exchange(key).await?;
        // The key is good; that its token is not is between auth and us.
        let verified = self.verify_jwt(&token).await.map_err(|error| match error.kind {
            Kind::Unauthenticated => Error::unavailable("key_unverified", "the key cannot be verified now")
                .with_retry_after(AGAIN)
                .with_source(error),
            _ => error,
        })?;
        if !is_key(verified.principal.kind) {
            return Err(Error::internal("auth exchanged a key for a token that is not a key's"));
        }
        Ok(verified)
    }

    async fn last_good(&self, hash: [u8; 32]) -> Option<Arc<Verified>> {
        let good = self.last_good.get(&hash).await?;
        let now = self.source.now();
        if now > good.issued_at + LAST_GOOD {
            return None;
        }
        Some(Arc::new(Verified { expires_at: now + LAST_GOOD_STEP, ..(*good).clone() }))
    }

    /// DESIGN, mechanism 6: a revoked user is refused within 60 s even when the bus is down.
    async fn confirm(&self, hash: [u8; 32], verified: &Verified) -> Result<()> {
        let now = self.source.now();
        let heard = DateTime::from_timestamp_millis(self.heard_ms.load(Ordering::Relaxed));
        let silent = heard.is_none_or(|at| now - at > SILENCE);
        if verified.principal.kind != PrincipalKind::User || !silent {
            return Ok(());
        }
        let fresh = now - verified.issued_at <= SILENCE;
        if fresh || self.confirmed.get(&hash).await.is_some_and(|at| now - at <= SILENCE) {
            return Ok(());
        }
        match self.exchange.confirm(verified).await {
            // With neither the bus nor auth to ask, people must still be able to acknowledge.
            Err(error) if error.kind != Kind::Unauthenticated => {
                tracing::warn!(error = error.chain(), "a token cannot be confirmed");
            }
            answer => answer?,
        }
        self.confirmed.insert(hash, now).await;
        Ok(())
    }

    async fn verify_jwt(&self, token: &str) -> Result<Verified> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
        let kid = header.kid.ok_or_else(invalid)?;
        let internal = kid == INTERNAL_KID;
        let key = if internal { self.internal.clone() } else { self.ring.key(&kid).await? };
        let claims = decode(token, &key)?;
        let audience = if internal { Audience::Internal } else { Audience::Public };
        if claims.aud != audience {
            return Err(Error::unauthenticated("wrong_audience", "the token is for another door"));
        }
        self.check_times(&claims)?;
        self.verified(claims)
    }

    fn check_times(&self, claims: &Claims) -> Result<()> {
        let now = self.source.now();
        let (issued, expires) = (claims.issued_at(), claims.expires_at());
        let longest = TimeDelta::from_std(MAX_LIFETIME).unwrap_or(TimeDelta::MAX);
        if now >= expires {
            return Err(Error::unauthenticated("expired_token", "the token has expired"));
        }
        if issued > now + CLOCK_SKEW || expires - issued > longest {
            return Err(invalid());
        }
        Ok(())
    }

    fn verified(&self, claims: Claims) -> Result<Verified> {
        let (issued_at, expires_at) = (claims.issued_at(), claims.expires_at());
        let subject: Subject = claims.sub.parse().map_err(|_| invalid())?;
        let (kind, id, name) = match (subject, claims.aud) {
            (Subject::Service(role), Audience::Internal) => (PrincipalKind::Service, uuid::Uuid::nil(), role),
            (Subject::Keyed(kind, id), Audience::Public) => (kind, id, claims.name),
            _ => return Err(invalid()),
        };
        let scopes = || claims.scopes.iter().flatten().map(String::as_str).collect::<Permissions>();
        let permissions = match kind {
            PrincipalKind::User => self.access.role(claims.role.as_deref().unwrap_or_default()),
            PrincipalKind::ApiKey | PrincipalKind::IntegrationKey => {
                scopes().intersection(self.access.permissions())
            }
            PrincipalKind::Service | PrincipalKind::Anonymous => Permissions::none(),
        };
        let principal = Principal {
            role: claims.role,
            permissions,
            bound_service: claims.service,
            session: claims.sid,
            ..Principal::bare(kind, id, name)
        };
        let depth = claims.depth.unwrap_or(0);
        let cause = claims.cause.map(|event| Cause { event, depth });
        let principal = Arc::new(principal);
        Ok(Verified { principal, org: claims.org, cause, issued_at, expires_at })
    }
}

fn is_key(kind: PrincipalKind) -> bool {
    matches!(kind, PrincipalKind::ApiKey | PrincipalKind::IntegrationKey)
}

/// The signature is checked here; the times are checked by our own clock.
fn decode(token: &str, key: &DecodingKey) -> Result<Claims> {
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, key, &rules).map(|data| data.claims).map_err(|_| invalid())
}

fn invalid() -> Error {
    Error::unauthenticated("invalid_token", "the token is not valid")
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}
