use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use moka::sync::Cache;

use super::claims::Claims;
use super::keys::PublicKey;
use crate::ctx::{Cause, OrgId, Principal};
use crate::error::{Error, Result};
use crate::secret::{DeploymentSecret, sha256_hex};
use crate::source::Source;

/// `kid` of service tokens; auth-service's own keys are named by their hash and cannot take it.
pub(super) const INTERNAL_KID: &str = "internal";
const INTERNAL_LABEL: &str = "service-tokens";
const SERVICE_TTL: Duration = Duration::from_secs(60);
/// A service token is used again until half of its time is over.
const REUSE: TimeDelta = TimeDelta::seconds(30);
const CACHED_TOKENS: u64 = 10_000;

/// DER of a PKCS #8 Ed25519 key (RFC 8410) up to its 32 bytes.
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Signs tokens with one Ed25519 key.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    public: PublicKey,
}

impl Signer {
    /// The signer of the key with this seed; its `kid` is a hash of the public key.
    ///
    /// # Errors
    /// Internal, when the key cannot be made.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self> {
        let mut signer = Self::named(String::new(), seed)?;
        signer.public.kid = sha256_hex(&signer.public.x)[..16].to_owned();
        Ok(signer)
    }

    /// The signer of service tokens, the same in every process of the deployment.
    ///
    /// # Errors
    /// Internal, when the key cannot be made.
    pub fn internal(secret: &DeploymentSecret) -> Result<Self> {
        Self::named(INTERNAL_KID.to_owned(), &secret.derive(INTERNAL_LABEL))
    }

    fn named(kid: String, seed: &[u8; 32]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(Error::internal)?;
        let mut x = [0; 32];
        x.copy_from_slice(pair.public_key().as_ref());
        let der = [&PKCS8_PREFIX[..], seed].concat();
        Ok(Self { key: EncodingKey::from_ed_der(&der), public: PublicKey { kid, x } })
    }

    /// What verifies the tokens of this signer.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Writes the token.
    ///
    /// # Errors
    /// Internal, when signing fails.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.public.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(Error::internal)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

type TokenFor = (String, OrgId, Option<Cause>);

/// Mints the 60 s tokens with which our services call one another, and uses each for half its time.
#[derive(Clone)]
pub struct ServiceTokens {
    signer: Arc<Signer>,
    minted: Cache<TokenFor, (Arc<str>, DateTime<Utc>)>,
    source: Source,
}

impl ServiceTokens {
    /// Tokens signed by the key derived from `secret`.
    ///
    /// # Errors
    /// Internal, when the key cannot be made.
    pub fn new(secret: &DeploymentSecret, source: Source) -> Result<Self> {
        let signer = Arc::new(Signer::internal(secret)?);
        Ok(Self { signer, minted: Cache::new(CACHED_TOKENS), source })
    }

    /// A token for the service `role` acting in `org` because of `cause`.
    ///
    /// # Errors
    /// Internal, when signing fails.
    pub fn token(&self, role: &str, org: OrgId, cause: Option<Cause>) -> Result<Arc<str>> {
        let key = (role.to_owned(), org, cause);
        let now = self.source.now();
        if let Some((token, at)) = self.minted.get(&key)
            && now - at < REUSE
        {
            return Ok(token);
        }
        let principal = Principal::service(role);
        let claims = Claims::new(&principal, org, SERVICE_TTL, &self.source).because(cause);
        let token: Arc<str> = self.signer.sign(&claims)?.into();
        self.minted.insert(key, (token.clone(), now));
        Ok(token)
    }
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceTokens")
    }
}
