//! Idempotency keys: the same key twice acts once. Table `idempotency_keys` of each service.
//!
//! A key is scoped by (organization, principal, RPC). Its row holds the request's hash and the
//! encoded answer and is written in the transaction that made the answer, so it exists exactly when
//! the effect does. Only successful answers are kept: an error changed nothing and may be repeated.
//! Used through [`mutation!`](crate::mutation).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Binary, Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::metadata::MetadataValue;
use uuid::Uuid;

use crate::ctx::Ctx;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::rpc::IDEMPOTENCY_REPLAYED;
use crate::sql::sql;

/// How long a key is remembered.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The longest key.
pub const MAX_KEY_CHARS: usize = 255;
/// Expired keys that one sweep transaction removes.
const SWEEP_BATCH: i64 = 1_000;

/// One mutating call as idempotency sees it; without a key it lets everything pass.
pub struct Call(Option<Keyed>);

struct Keyed {
    org: Uuid,
    principal: String,
    rpc: Arc<str>,
    key: Arc<str>,
    request_hash: Vec<u8>,
    now: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = Binary)]
    request_hash: Vec<u8>,
    #[diesel(sql_type = Binary)]
    response: Vec<u8>,
}

impl Call {
    /// The call of `cx.rpc` with `request` under `cx.idempotency_key`.
    ///
    /// # Errors
    /// Invalid, code `invalid_idempotency_key`: empty or longer than 255 characters.
    pub fn new(cx: &Ctx, request: &impl Message) -> Result<Self> {
        let Some(key) = cx.idempotency_key.clone() else {
            return Ok(Self(None));
        };
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARS {
            let detail = format!("an Idempotency-Key has 1 to {MAX_KEY_CHARS} characters");
            return Err(Error::invalid("invalid_idempotency_key", detail));
        }
        Ok(Self(Some(Keyed {
            org: cx.org.into(),
            principal: cx.principal.subject().to_string(),
            rpc: cx.rpc.clone(),
            key,
            request_hash: Sha256::digest(request.encode_to_vec()).to_vec(),
            now: cx.now,
        })))
    }

    /// Takes the key for this transaction and answers what it answered before, if it did.
    ///
    /// # Errors
    /// Conflict `idempotency_in_progress` while another call holds the key; Invalid
    /// `idempotency_key_reused` when it came with another request.
    pub async fn enter<R>(&self, conn: &mut AsyncPgConnection) -> Result<Option<tonic::Response<R>>>
    where
        R: Message + Default,
    {
        let Some(keyed) = &self.0 else {
            return Ok(None);
        };
        let Some(kept) = keyed.lock_and_find(conn).await? else {
            return Ok(None);
        };
        if kept.request_hash != keyed.request_hash {
            return Err(Error::invalid(
                "idempotency_key_reused",
                "this Idempotency-Key was used with another request",
            ));
        }
        let answer = R::decode(kept.response.as_slice()).map_err(Error::internal)?;
        let mut answer = tonic::Response::new(answer);
        answer.metadata_mut().insert(IDEMPOTENCY_REPLAYED, MetadataValue::from_static("true"));
        Ok(Some(answer))
    }

    /// Keeps `answer` under the key, in the transaction that made it.
    ///
    /// # Errors
    /// Conflict `idempotency_in_progress` when another call finished under the key meanwhile.
    pub async fn leave<R>(&self, conn: &mut AsyncPgConnection, answer: R) -> Result<tonic::Response<R>>
    where
        R: Message,
    {
        if let Some(keyed) = &self.0 {
            keyed.keep(conn, &answer.encode_to_vec()).await?;
        }
        Ok(tonic::Response::new(answer))
    }
}

impl Keyed {
    /// Two statements, not one: the second must see what the lock's former holder committed. They
    /// are sent together.
    async fn lock_and_find(&self, conn: &mut AsyncPgConnection) -> Result<Option<Kept>> {
        let conn = &*conn;
        let (mut first, mut second) = (conn, conn);
        let lock = sql("SELECT pg_try_advisory_xact_lock($1) AS locked")
            .bind::<BigInt, _>(self.lock_key())
            .get_result::<Locked>(&mut first);
        let find = sql("SELECT request_hash, response FROM idempotency_keys \
             WHERE org_id = $1 AND principal = $2 AND rpc = $3 AND key = $4 AND expires_at > $5")
        .bind::<SqlUuid, _>(self.org)
        .bind::<Text, _>(&self.principal)
        .bind::<Text, _>(&*self.rpc)
        .bind::<Text, _>(&*self.key)
        .bind::<Timestamptz, _>(self.now)
        .get_result::<Kept>(&mut second);
        let (lock, kept) = futures::join!(lock, find);
        if !lock?.locked {
            return Err(in_progress());
        }
        Ok(kept.optional()?)
    }

    async fn keep(&self, conn: &mut AsyncPgConnection, response: &[u8]) -> Result<()> {
        let kept = sql("INSERT INTO idempotency_keys AS kept \
             (org_id, principal, rpc, key, request_hash, response, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE \
             SET request_hash = excluded.request_hash, response = excluded.response, \
                 created_at = excluded.created_at, expires_at = excluded.expires_at \
             WHERE kept.expires_at <= excluded.created_at")
        .bind::<SqlUuid, _>(self.org)
        .bind::<Text, _>(&self.principal)
        .bind::<Text, _>(&*self.rpc)
        .bind::<Text, _>(&*self.key)
        .bind::<Binary, _>(&self.request_hash)
        .bind::<Binary, _>(response)
        .bind::<Timestamptz, _>(self.now)
        .bind::<Timestamptz, _>(self.now + KEPT)
        .execute(conn)
        .await?;
        if kept == 0 { Err(in_progress()) } else { Ok(()) }
    }

    fn lock_key(&self) -> i64 {
        let mut hash = Sha256::new();
        hash.update(self.org.as_bytes());
        hash.update(self.principal.as_bytes());
        hash.update([0]);
        hash.update(self.rpc.as_bytes());
        hash.update([0]);
        hash.update(self.key.as_bytes());
        let hash = hash.finalize();
        i64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 hash has 32 bytes"))
    }
}

fn in_progress() -> Error {
    Error::conflict("idempotency_in_progress", "a call with this Idempotency-Key is still running")
        .with_retry_after(Duration::from_secs(1))
}

/// The answer that `request` got under its key before, if it did. For RPCs that ask other services
/// before their transaction: a repeated call must not depend on what those say by now.
///
/// # Errors
/// Those of [`Call::new`], [`Call::enter`] and the database.
pub async fn replayed<R>(db: &Db, cx: &Ctx, request: &impl Message) -> Result<Option<tonic::Response<R>>>
where
    R: Message + Default,
{
    let call = Call::new(cx, request)?;
    if call.0.is_none() {
        return Ok(None);
    }
    crate::tx!(db, cx, |conn| call.enter(conn).await)
}

/// Removes keys whose time is over, in small transactions; returns how many.
///
/// # Errors
/// Those of the database.
pub async fn sweep(db: &Db) -> Result<usize> {
    let mut removed = 0;
    loop {
        let batch = crate::system_tx!(db, "retention", |conn| {
            let swept = sql(
                "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys \
                 WHERE expires_at <= pulseops.now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
            )
            .bind::<BigInt, _>(SWEEP_BATCH)
            .execute(conn)
            .await?;
            Ok(swept)
        })?;
        removed += batch;
        if i64::try_from(batch).is_ok_and(|batch| batch < SWEEP_BATCH) {
            return Ok(removed);
        }
    }
}
