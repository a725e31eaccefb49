use std::sync::Arc;
use std::time::Duration;

use diesel::sql_types::{BigInt, Text};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bound::LowerBound;
use super::{WAKE, house};
use crate::bus::{Bus, Pick, Relayed};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::sql::sql;
use crate::wake::{Progress, Subscription};

/// Rows that one statement moves at most.
const BATCH: i64 = 1_000;
/// The net beneath wake-ups.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// While another process is at it, it may not see what woke us.
const WAIT_FOR_LEADER: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

// The row that the relay would move first.
const FIRST: &str = "
SELECT o.id, o.aggregate_id FROM outbox o
WHERE o.sent_at IS NULL AND o.held_at IS NULL AND o.id >= $1
  AND NOT EXISTS (SELECT FROM outbox h WHERE h.held_at IS NOT NULL AND h.aggregate_id = o.aggregate_id AND h.id < o.id)
ORDER BY o.id LIMIT 1";

// Also when it is held already: then it comes after those that were tried before it.
const HOLD: &str = "UPDATE outbox SET held_at = pulseops.now() WHERE id = $1 AND sent_at IS NULL";

// The first of each aggregate, those first that have waited longest for another try.
const HELD: &str = "
SELECT o.id, o.aggregate_id FROM outbox o
WHERE o.held_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM outbox h WHERE h.held_at IS NOT NULL AND h.aggregate_id = o.aggregate_id AND h.id < o.id)
ORDER BY o.held_at, o.id LIMIT $1";
/// Held rows that are tried again at once.
const HELD_AT_ONCE: i64 = 20;

/// Moves one service's outbox to the bus. Any number of processes may run one; one at a time works.
///
/// A round that fails is tried again with half as many rows. A row that fails alone is held, and with
/// it the later ones of its aggregate, until the bus takes it; the others go on. What is held is tried
/// again in every full look.
pub struct Relay {
    db: Db,
    bus: Arc<dyn Bus>,
    source: Source,
    woken: Subscription,
    bound: LowerBound,
    rows: i64,
    /// Whether held rows are to be tried in the next step.
    try_held: bool,
}

impl Relay {
    /// For the service whose pool is `db`.
    pub fn new(db: &Db, bus: Arc<dyn Bus>, source: &Source) -> Self {
        Self {
            db: db.clone(),
            bus,
            source: source.clone(),
            woken: db.wakes().subscribe(WAKE),
            bound: LowerBound::default(),
            rows: BATCH,
            try_held: false,
        }
    }

    /// Moves what is there, up to one batch.
    ///
    /// # Errors
    /// Those of the database and the bus; then nothing was moved, or its answer was lost.
    pub async fn step(&mut self) -> Result<Progress> {
        let (from, full) = self.bound.at(Instant::now());
        self.try_held |= full;
        let freed = self.try_held && self.try_held().await?;
        crate::failpoint!("relay.before");
        let pick = Pick::Waiting { from_id: from, max_rows: self.rows };
        let relayed = match self.bus.relay(&self.db, pick).await {
            Ok(relayed) => relayed,
            Err(error) => return self.failed(from, error).await,
        };
        crate::failpoint!("relay.after");
        let progress = self.relayed(relayed);
        Ok(if freed { Progress::Worked } else { progress })
    }

    fn relayed(&mut self, relayed: Relayed) -> Progress {
        self.rows = self.rows.saturating_mul(2).min(BATCH);
        self.bound.looked(Instant::now(), relayed.last_id, relayed.open);
        if relayed.rows > 0 {
            self.count("pulseops_relay_rows_total", relayed.rows);
            return Progress::Worked;
        }
        let next = if relayed.leader { LOOK_EVERY } else { WAIT_FOR_LEADER };
        Progress::Idle { next: Some(next) }
    }

    /// Fewer rows at once; the one that the bus refuses alone is set aside.
    async fn failed(&mut self, from: i64, error: Error) -> Result<Progress> {
        if error.is_retryable() {
            // Perhaps they were too many for the time a statement has.
            self.rows = (self.rows / 2).max(1);
            return Err(error);
        }
        if self.rows > 1 {
            tracing::warn!(service = self.db.service(), rows = self.rows, error = %error.chain(), "the bus refuses some of these");
            self.rows /= 2;
            return Ok(Progress::Worked);
        }
        self.single_out(from, error).await
    }

    /// Moves the first row alone, or holds it when the bus refuses it: that one, whatever other relays
    /// do meanwhile.
    async fn single_out(&self, from: i64, error: Error) -> Result<Progress> {
        let mut connection = self.db.connection().await?;
        let first =
            sql(FIRST).bind::<BigInt, _>(from).get_result::<Waiting>(&mut connection).await.optional()?;
        drop(connection);
        let Some(first) = first else { return Err(error) };
        match self.bus.relay(&self.db, Pick::One { id: first.id }).await {
            Ok(relayed) => self.count("pulseops_relay_rows_total", relayed.rows),
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                self.hold(first.id).await?;
                self.count("pulseops_outbox_held_total", 1);
                tracing::error!(
                    service = self.db.service(),
                    outbox.id = first.id,
                    aggregate.id = first.aggregate_id,
                    error = %error.chain(),
                    "the bus refuses an event; it and the later ones of its aggregate wait"
                );
            }
        }
        Ok(Progress::Worked)
    }

    async fn hold(&self, id: i64) -> Result<()> {
        let mut connection = self.db.connection().await?;
        sql(HOLD).bind::<BigInt, _>(id).execute(&mut connection).await?;
        Ok(())
    }

    fn count(&self, metric: &'static str, rows: i64) {
        metrics::counter!(metric, "service" => self.db.service().to_owned()).increment(rows.unsigned_abs());
    }

    /// Whether the bus takes what it refused; says whether it took any. Some at a time, so that nobody
    /// waits for all of them, and on as long as that helps. A row stays held until it is taken, so that
    /// nothing of its aggregate overtakes it.
    async fn try_held(&mut self) -> Result<bool> {
        let mut connection = self.db.connection().await?;
        let held: Vec<Waiting> = sql(HELD).bind::<BigInt, _>(HELD_AT_ONCE).load(&mut connection).await?;
        drop(connection);
        let (mut freed, mut all_tried) = (0, true);
        for Waiting { id, .. } in &held {
            match self.bus.relay(&self.db, Pick::One { id: *id }).await {
                Ok(relayed) => {
                    freed += relayed.rows;
                    all_tried &= relayed.leader;
                }
                // It says nothing of this row, and the next one would only wait for the same.
                Err(error) if error.is_retryable() => {
                    tracing::warn!(service = self.db.service(), outbox.id = id, error = %error.chain(), "not tried again");
                    break;
                }
                Err(error) => {
                    tracing::warn!(service = self.db.service(), outbox.id = id, error = %error.chain(), "still refused");
                    self.hold(*id).await?;
                }
            }
        }
        self.count("pulseops_relay_rows_total", freed);
        self.try_held = !all_tried || (freed > 0 && held.len() as i64 == HELD_AT_ONCE);
        Ok(freed > 0)
    }

    /// Relays until `shutdown`, then what is still there. Errors are logged and tried again: what is
    /// written stays written.
    ///
    /// # Errors
    /// None; the type fits the lifecycle.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let settled = self.bound.settled();
        let house = house::keep(self.db.clone(), self.source.clone(), settled, shutdown.clone());
        tokio::join!(self.relay(shutdown), house);
        Ok(())
    }

    async fn relay(&mut self, shutdown: CancellationToken) {
        let mut failures = 0_u32;
        while !shutdown.is_cancelled() {
            // Before the look, so that what comes after it wakes us.
            self.woken.clear();
            let pause = match self.step().await {
                Ok(Progress::Worked) => {
                    failures = 0;
                    continue;
                }
                Ok(Progress::Idle { next }) => {
                    failures = 0;
                    next.unwrap_or(LOOK_EVERY)
                }
                Err(error) => {
                    tracing::warn!(service = self.db.service(), error = %error.chain(), "events were not relayed");
                    failures += 1;
                    LOOK_EVERY.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.woken.changed(), if failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        let all = async { while self.step().await.is_ok_and(Progress::worked) {} };
        if tokio::time::timeout(FLUSH_PATIENCE, all).await.is_err() {
            tracing::warn!(service = self.db.service(), "unsent events stay for the next start");
        }
    }
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    aggregate_id: String,
}
