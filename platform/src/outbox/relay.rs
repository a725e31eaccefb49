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
const HOLD: &str = "
UPDATE outbox SET held_at = pulseops.now() WHERE id = (
    SELECT o.id FROM outbox o
    WHERE o.sent_at IS NULL AND o.id >= $1
      AND NOT EXISTS (SELECT FROM outbox h WHERE h.held_at IS NOT NULL AND h.aggregate_id = o.aggregate_id AND h.id <= o.id)
    ORDER BY o.id LIMIT 1)
RETURNING id, aggregate_id";

// The first of each aggregate: the others follow when it is through.
const HELD: &str = "
SELECT DISTINCT ON (aggregate_id) id FROM outbox WHERE held_at IS NOT NULL ORDER BY aggregate_id, id LIMIT $1";
/// Held rows that are tried again in a full look.
const HELD_AT_ONCE: i64 = 20;

/// Moves one service's outbox to the bus. Any number of processes may run one; one at a time works.
///
/// A round that fails is tried again with half as many rows. A row that fails alone is held, and with
/// it the later ones of its aggregate, until the bus takes it; the others go on.
pub struct Relay {
    db: Db,
    bus: Arc<dyn Bus>,
    source: Source,
    woken: Subscription,
    bound: LowerBound,
    rows: i64,
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
        }
    }

    /// Moves what is there, up to one batch.
    ///
    /// # Errors
    /// Those of the database and the bus; then nothing was moved, or its answer was lost.
    pub async fn step(&mut self) -> Result<Progress> {
        let (from, full) = self.bound.at(Instant::now());
        if full {
            self.try_held().await?;
        }
        crate::failpoint!("relay.before");
        let pick = Pick::Waiting { from_id: from, max_rows: self.rows };
        let relayed = match self.bus.relay(&self.db, pick).await {
            Ok(relayed) => relayed,
            Err(error) => return self.failed(from, error).await,
        };
        crate::failpoint!("relay.after");
        Ok(self.relayed(relayed))
    }

    fn relayed(&mut self, relayed: Relayed) -> Progress {
        self.rows = self.rows.saturating_mul(2).min(BATCH);
        self.bound.looked(Instant::now(), relayed.last_id, relayed.open);
        if relayed.rows > 0 {
            let service = self.db.service().to_owned();
            metrics::counter!("pulseops_relay_rows_total", "service" => service)
                .increment(relayed.rows.unsigned_abs());
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
        let mut connection = self.db.connection().await?;
        let held = sql(HOLD).bind::<BigInt, _>(from).get_result::<Held>(&mut connection).await.optional()?;
        let Some(held) = held else { return Err(error) };
        metrics::counter!("pulseops_outbox_held_total", "service" => self.db.service().to_owned())
            .increment(1);
        tracing::error!(
            service = self.db.service(),
            outbox.id = held.id,
            aggregate.id = held.aggregate_id,
            error = %error.chain(),
            "the bus refuses an event; it and the later ones of its aggregate wait"
        );
        Ok(Progress::Worked)
    }

    /// Whether the bus takes what it refused. A row stays held until it does, so that nothing of its
    /// aggregate overtakes it.
    async fn try_held(&self) -> Result<()> {
        let mut connection = self.db.connection().await?;
        let held: Vec<Id> = sql(HELD).bind::<BigInt, _>(HELD_AT_ONCE).load(&mut connection).await?;
        drop(connection);
        for Id { id } in held {
            if let Err(error) = self.bus.relay(&self.db, Pick::Held { id }).await {
                tracing::warn!(service = self.db.service(), outbox.id = id, error = %error.chain(), "still refused");
            }
        }
        Ok(())
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
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    aggregate_id: String,
}
