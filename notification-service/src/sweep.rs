//! Messages that ended long ago, removed in small transactions beside the work: with their notifications
//! and attempts, all of one message at once.

use std::time::Duration;

use chrono::TimeDelta;
use platform::db::Db;
use platform::deps::Deps;
use platform::error::Result;
use platform::lifecycle::Stage;
use platform::source::Source;
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::store::messages;

const EVERY: Duration = Duration::from_secs(600);
/// Messages that one transaction removes; each may have gone to many.
const BATCH: i64 = 100;

/// Removes what nobody can need any more.
pub struct Sweeper {
    db: Db,
    source: Source,
    keep: TimeDelta,
}

/// Starts the sweeper of what is older than `keep_days`.
pub fn start(deps: &Deps, db: &Db, keep_days: u32) {
    let sweeper = Sweeper::new(db, &deps.source, keep_days);
    deps.lifecycle.spawn(Stage::Drivers, format!("{NAME}.sweep"), |shutdown| sweeper.run(shutdown));
}

impl Sweeper {
    pub fn new(db: &Db, source: &Source, keep_days: u32) -> Self {
        Self { db: db.clone(), source: source.clone(), keep: TimeDelta::days(keep_days.max(1).into()) }
    }

    async fn run(self, shutdown: CancellationToken) -> Result<()> {
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            if let Some(Err(error)) = shutdown.run_until_cancelled(self.step()).await {
                tracing::warn!(error = error.chain(), "old messages were not swept; comes again");
            }
        }
        Ok(())
    }

    /// Removes every message that is over now; returns how many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&self) -> Result<i64> {
        let before = self.source.now() - self.keep;
        let mut removed = 0;
        loop {
            let gone = platform::system_tx!(self.db, "retention", |conn| {
                messages::sweep(conn, before, BATCH).await
            })?;
            metrics::counter!("pulseops_notification_swept_messages_total").increment(gone.unsigned_abs());
            removed += gone;
            if gone < BATCH {
                return Ok(removed);
            }
        }
    }
}
