use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;

use super::signer::INTERNAL_KID;
use crate::error::{Error, Result};
use crate::source::Source;

const BETWEEN_FETCHES: TimeDelta = TimeDelta::seconds(1);
/// Keys that auth-service has withdrawn are forgotten at least this often.
const KEPT: TimeDelta = TimeDelta::minutes(5);

/// An Ed25519 public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name in the header of tokens.
    pub kid: String,
    /// The key itself (RFC 8032).
    pub x: [u8; 32],
}

impl PublicKey {
    /// From the members `kid` and `x` of a JWK (RFC 8037).
    ///
    /// # Errors
    /// Internal, when `x` is not 32 bytes in base64url.
    pub fn from_jwk(kid: &str, x: &str) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(x).map_err(Error::internal)?;
        let x = bytes.try_into().map_err(|_| Error::internal("an Ed25519 key has 32 bytes"))?;
        Ok(Self { kid: kid.to_owned(), x })
    }

    /// The member `x` of the key's JWK.
    pub fn jwk_x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.x)
    }

    pub(super) fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_ed_der(&self.x)
    }
}

/// Where the keys of users' and keys' tokens are published (auth-service's JWKS).
#[async_trait]
pub trait KeySource: Send + Sync {
    /// Every key that may have signed a token that still lasts.
    async fn jwks(&self) -> Result<Vec<PublicKey>>;
}

/// The published keys, fetched when a token names one that is not known, at most once a second.
pub(super) struct KeyRing {
    keys: RwLock<HashMap<String, DecodingKey>>,
    fetching: Mutex<Option<Fetched>>,
    from: Arc<dyn KeySource>,
    source: Source,
}

struct Fetched {
    at: DateTime<Utc>,
    failed: bool,
}

impl KeyRing {
    pub(super) fn new(from: Arc<dyn KeySource>, source: Source) -> Self {
        Self { keys: RwLock::default(), fetching: Mutex::new(None), from, source }
    }

    /// The key named `kid`.
    ///
    /// # Errors
    /// Unauthenticated `unknown_key`; Unavailable when the keys cannot be fetched.
    pub(super) async fn key(&self, kid: &str) -> Result<DecodingKey> {
        let known = self.known(kid);
        let mut last = match &known {
            // Somebody else is fetching: what is known is good enough meanwhile.
            Some(key) => match self.fetching.try_lock() {
                Ok(last) => last,
                Err(_) => return Ok(key.clone()),
            },
            None => self.fetching.lock().await,
        };
        let now = self.source.now();
        let kept = if known.is_some() { KEPT } else { BETWEEN_FETCHES };
        let due = last
            .as_ref()
            .is_none_or(|fetched| now - fetched.at >= if fetched.failed { BETWEEN_FETCHES } else { kept });
        if due {
            let failed = self.fetch().await.is_err();
            // The time of the answer: whoever waited for it is not the next to wait.
            *last = Some(Fetched { at: self.source.now(), failed });
        }
        let failed = last.as_ref().is_some_and(|fetched| fetched.failed);
        match self.known(kid).or(known.filter(|_| failed)) {
            Some(key) => Ok(key),
            None if failed => Err(Error::unavailable("keys_unavailable", "tokens cannot be verified")
                .with_retry_after(std::time::Duration::from_secs(1))),
            None => Err(Error::unauthenticated("unknown_key", "the token's key is not known")),
        }
    }

    fn known(&self, kid: &str) -> Option<DecodingKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(kid).cloned()
    }

    async fn fetch(&self) -> Result<()> {
        let keys = self.from.jwks().await.inspect_err(|error| {
            tracing::warn!(error = error.chain(), "the keys of tokens cannot be fetched");
        })?;
        // A published key never stands for our own services.
        let keys = keys.iter().filter(|key| key.kid != INTERNAL_KID);
        let keys = keys.map(|key| (key.kid.clone(), key.decoding_key())).collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}
