//! Sessions and refresh tokens that have expired, removed in small transactions beside the work.

use platform::db::Db;
use platform::error::Result;
use platform::system_tx;

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
