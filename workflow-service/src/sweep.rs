//! Forgets runs that ended long ago, with their steps, when their incidents are resolved.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use platform::db::Db;
use platform::deps::Deps;
use platform::error::Result;
use platform::lifecycle::Stage;
use platform::source::Source;
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::store::runs;

/// A process that does not live long sweeps, too.
const FIRST: Duration = Duration::from_secs(60);
/// Not often: each sweep goes over everything old that stays, too.
const EVERY: Duration = Duration::from_secs(3_600);
/// Runs that one transaction removes: each has up to some hundred steps.
const BATCH: i64 = 200;

/// Removes runs that ended so long ago that nobody looks for them any more, if their incident is resolved.
/// What happened stays on the incident's timeline.
pub struct Sweeper {
    db: Db,
    source: Source,
    keep: TimeDelta,
}

/// Starts the sweeper.
pub fn start(deps: &Deps, db: &Db, keep: TimeDelta) {
    let sweeper = Sweeper::new(db, &deps.source, keep);
    deps.lifecycle.spawn(Stage::Drivers, format!("{NAME}.sweep"), |shutdown| sweeper.run(shutdown));
}

impl Sweeper {
    /// A sweeper of resolved incidents' runs that ended more than `keep` ago.
    pub fn new(db: &Db, source: &Source, keep: TimeDelta) -> Self {
        Self { db: db.clone(), source: source.clone(), keep }
    }

    async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let mut wait = FIRST;
        while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            wait = EVERY;
            if let Some(Err(error)) = shutdown.run_until_cancelled(self.step()).await {
                tracing::warn!(error = error.chain(), "old runs were not swept; comes again");
            }
        }
        Ok(())
    }

    /// Removes everything that is old enough now; returns how many runs went.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&self) -> Result<u64> {
        let before = self.source.now().checked_sub_signed(self.keep).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let (mut removed, mut from) = (0, DateTime::UNIX_EPOCH);
        loop {
            let swept = platform::system_tx!(self.db, "retention", |conn| {
                runs::sweep(conn, from..before, BATCH).await
            })?;
            metrics::counter!("pulseops_workflow_swept_runs_total").increment(swept.number.unsigned_abs());
            removed += swept.number.unsigned_abs();
            match swept.last {
                // Behind what stays, which no batch of this sweep goes over again.
                Some(last) if swept.number == BATCH => from = last,
                _ => return Ok(removed),
            }
        }
    }
}
