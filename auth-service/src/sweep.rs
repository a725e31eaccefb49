//! Sessions and refresh tokens that have expired, removed in small transactions beside the work.

use std::time::Duration;

use platform::db::Db;
use platform::error::Result;
use platform::system_tx;
use tokio_util::sync::CancellationToken;

use crate::store::sessions;

/// Rows that one transaction removes.
const BATCH: i64 = 1_000;

/// One round; returns how many rows went.
///
/// # Errors
/// Those of the database.
pub async fn step(db: &Db) -> Result<usize> {
    let mut removed = 0;
    loop {
        let tokens =
            system_tx!(db, "retention", |conn| { sessions::delete_expired_tokens(conn, BATCH).await })?;
        let ended = system_tx!(db, "retention", |conn| sessions::delete_expired(conn, BATCH).await)?;
        removed += tokens + ended;
        let full = |rows: usize| i64::try_from(rows).is_ok_and(|rows| rows >= BATCH);
        if !full(tokens) && !full(ended) {
            return Ok(removed);
        }
    }
}

/// A round every `interval` until `shutdown`. One that fails is tried again with the next.
pub async fn run(db: Db, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
        match step(&db).await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "removed expired sessions"),
            Err(error) => tracing::warn!(error = error.chain(), "a sweep failed"),
        }
    }
}
