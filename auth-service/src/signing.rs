//! The deployment's signing keys. Seeds lie sealed in the database; the first is made by whichever
//! process comes first.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::db::Db;
use platform::error::{Error, Result};
use platform::secret::Sealer;
use platform::source::Source;
use platform::token::{PublicKey, Signer};

use crate::store::signing_keys::{self, SigningKey};

/// A retired key verifies until the last access token that it signed has ended, and then some.
const RETIRED_KEPT: TimeDelta = TimeDelta::hours(1);

/// The signer of access tokens: the newest key, made if there is none.
///
/// # Errors
/// Internal, when the key was sealed under another deployment's secret.
pub async fn signer(db: &Db, sealer: &Sealer, source: &Source) -> Result<Signer> {
    platform::system_tx!(db, "signing keys", |conn| {
        signing_keys::lock(conn).await?;
        match signing_keys::find_current(conn).await? {
            Some(key) => open(sealer, &key),
            None => make(conn, sealer, source).await,
        }
    })
}

async fn make(conn: &mut AsyncPgConnection, sealer: &Sealer, source: &Source) -> Result<Signer> {
    let mut seed = [0; 32];
    source.fill(&mut seed);
    let signer = Signer::from_seed(&seed)?;
    let public = signer.public_key();
    let key = SigningKey {
        kid: public.kid.clone(),
        sealed_seed: sealer.seal(&place(&public.kid), &seed)?,
        public_key: public.x.to_vec(),
        created_at: source.now(),
        retired_at: None,
    };
    signing_keys::insert(conn, &key).await?;
    tracing::info!(signing_key.kid = public.kid, "made the key that signs access tokens");
    Ok(signer)
}

fn open(sealer: &Sealer, key: &SigningKey) -> Result<Signer> {
    let seed = sealer.open(&place(&key.kid), &key.sealed_seed)?;
    let seed = seed.try_into().map_err(|_| Error::internal("a signing key has 32 bytes"))?;
    Signer::from_seed(&seed)
}

/// Every key that may have signed a token that still lasts, the newest first.
pub async fn public_keys(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<PublicKey>> {
    let keys = signing_keys::list_verifying(conn, now - RETIRED_KEPT).await?;
    let key = |(kid, x): (String, Vec<u8>)| {
        let x = x.try_into().map_err(|_| Error::internal("an Ed25519 key has 32 bytes"))?;
        Ok(PublicKey { kid, x })
    };
    keys.into_iter().map(key).collect()
}

fn place(kid: &str) -> Vec<u8> {
    format!("signing_keys.sealed_seed/{kid}").into_bytes()
}
