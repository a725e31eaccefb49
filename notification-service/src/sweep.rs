//! Messages that ended long ago, removed in small transactions beside the work: with their notifications
//! and attempts, all of one message at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use platform::db::Db;
use platform::deps::Deps;
use platform::error::Result;
use platform::source::Source;

use crate::store::codes;
use crate::store::messages::{self, Batch, Swept};
use crate::{NAME, proofs};

const EVERY: Duration = Duration::from_secs(600);
/// What one transaction removes: of so many messages those that have so many notifications together.
const BATCH: Batch = Batch { messages: 100, skip: 0, notifications: 1_000 };
/// Messages that cannot be removed and are passed over, before the sweep gives up until it comes again.
const MAX_SKIPPED: i64 = 20;

/// Removes what nobody can need any more.
#[derive(Clone)]
pub struct Sweeper {
    db: Db,
    source: Source,
    keep: TimeDelta,
}

/// Starts the sweeper of what is older than `keep_days`.
pub fn start(deps: &Deps, db: &Db, keep_days: u32) {
    let sweeper = Sweeper::new(db, &deps.source, keep_days);
    deps.every(EVERY, format!("{NAME}.sweep"), move || {
        let sweeper = sweeper.clone();
        async move { sweeper.step().await.map(drop) }
    });
}

impl Sweeper {
    pub fn new(db: &Db, source: &Source, keep_days: u32) -> Self {
        Self { db: db.clone(), source: source.clone(), keep: TimeDelta::days(keep_days.max(1).into()) }
    }

    /// Removes every message that is over now; returns how many. A batch that fails is halved, and one
    /// message that fails alone is passed over: it holds up no others.
    ///
    /// # Errors
    /// Those of the database, when too much fails.
    pub async fn step(&self) -> Result<i64> {
        let before = self.source.now() - self.keep;
        let (mut batch, mut removed) = (BATCH, 0);
        loop {
            match self.sweep(before, batch).await {
                Ok(swept) => {
                    removed += swept.gone;
                    if swept.gone == swept.found && swept.found < batch.messages {
                        return Ok(removed);
                    }
                    batch.messages = BATCH.messages.min(batch.messages * 2);
                }
                Err(error) if batch.messages == 1 && batch.skip >= MAX_SKIPPED => return Err(error),
                Err(error) if batch.messages == 1 => {
                    tracing::warn!(error = error.chain(), "an old message was passed over; comes again");
                    batch = Batch { skip: batch.skip + 1, ..BATCH };
                }
                Err(_) => batch.messages /= 2,
            }
        }
    }

    async fn sweep(&self, before: DateTime<Utc>, batch: Batch) -> Result<Swept> {
        let codes_before = self.source.now() - proofs::WINDOW;
        let swept = platform::system_tx!(self.db, "retention", |conn| {
            codes::sweep_mails(conn, codes_before).await?;
            messages::sweep(conn, before, batch).await
        })?;
        let gone = swept.gone.unsigned_abs();
        metrics::counter!("pulseops_notification_swept_messages_total").increment(gone);
        Ok(swept)
    }
}
