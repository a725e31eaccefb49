//! Forgets windows and event ids whose time is over.

use std::time::Duration;

use platform::db::Db;
use platform::deps::Deps;
use platform::error::Result;
use platform::lifecycle::Stage;
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::store::windows;

const EVERY: Duration = Duration::from_secs(15);
/// Rows of a table that one transaction removes.
const BATCH: usize = 5_000;

/// Starts the sweeper.
pub fn start(deps: &Deps, db: &Db) {
    let db = db.clone();
    deps.lifecycle.spawn(Stage::Drivers, format!("{NAME}.sweep"), |shutdown| run(db, shutdown));
}

async fn run(db: Db, shutdown: CancellationToken) -> Result<()> {
    while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = sweep(&db).await {
            tracing::warn!(error = error.chain(), "expired windows were not swept; comes again");
        }
    }
    Ok(())
}

async fn sweep(db: &Db) -> Result<()> {
    loop {
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let gone = platform::system_tx!(db, "retention", |conn| windows::sweep(conn, limit).await)?;
        metrics::counter!("pulseops_incident_swept_rows_total").increment(gone as u64);
        if gone < BATCH {
            return Ok(());
        }
    }
}
