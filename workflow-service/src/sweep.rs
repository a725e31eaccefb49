//! Forgets runs that ended long ago, with their steps, when their incidents are resolved.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use platform::db::Db;
use platform::deps::Deps;
use platform::error::Result;
use platform::source::Source;

use crate::NAME;
use crate::store::runs;

/// Not often: each sweep goes over everything old that stays, too.
const EVERY: Duration = Duration::from_secs(600);
/// Runs that one transaction removes: each has up to some hundred steps.
const BATCH: i64 = 200;

/// Removes runs that ended so long ago that nobody looks for them any more, if their incident is resolved.
/// What happened stays on the incident's timeline.
#[derive(Clone)]
pub struct Sweeper {
    db: Db,
    source: Source,
    keep: TimeDelta,
}

/// Starts the sweeper.
pub fn start(deps: &Deps, db: &Db, keep: TimeDelta) {
    let sweeper = Sweeper::new(db, &deps.source, keep);
    deps.every(EVERY, format!("{NAME}.sweep"), move || {
        let sweeper = sweeper.clone();
        async move { sweeper.step().await.map(drop) }
    });
}

impl Sweeper {
    /// A sweeper of resolved incidents' runs that ended more than `keep` ago.
    pub fn new(db: &Db, source: &Source, keep: TimeDelta) -> Self {
        Self { db: db.clone(), source: source.clone(), keep }
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
