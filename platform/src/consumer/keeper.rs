//! Renewal of all leases of one service in one process, and the count of those who share the work.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::Db;
use crate::error::Result;
use crate::sql::sql;

const RENEW_EVERY: Duration = Duration::from_secs(1);

// Only what is held here is prolonged: anything else that bears this owner's name lapses. A locked
// row is being worked on and stays ours without. `others` does not see what `me` writes, so it
// counts the others only; a row without partition carries that count.
const RENEW: &str = "
WITH arg AS (SELECT $1 AS owner, $2 AS consumers),
held AS (SELECT * FROM unnest($3, $4, $5, $6) AS h(consumer, topic, partition, epoch)),
me AS (
    INSERT INTO members (consumer, owner, seen_until)
    SELECT c, a.owner, pulseops.now() + interval '3 seconds' FROM arg a, unnest(a.consumers) c
    ON CONFLICT (consumer, owner) DO UPDATE SET seen_until = excluded.seen_until
),
gone AS (
    DELETE FROM members m USING arg a
    WHERE m.owner <> a.owner AND m.seen_until < pulseops.now() - interval '1 minute'
),
free AS (
    SELECT p.consumer, p.topic, p.partition
    FROM arg a CROSS JOIN held h JOIN positions p USING (consumer, topic, partition, epoch)
    WHERE p.owner = a.owner FOR UPDATE OF p SKIP LOCKED
),
renewed AS (
    UPDATE positions p SET lease_until = pulseops.now() + interval '3 seconds'
    FROM free f WHERE p.consumer = f.consumer AND p.topic = f.topic AND p.partition = f.partition
)
SELECT p.consumer, p.topic, p.partition, p.epoch AS number
FROM arg a CROSS JOIN held h JOIN positions p USING (consumer, topic, partition, epoch) WHERE p.owner = a.owner
UNION ALL
SELECT m.consumer, '', NULL, count(*) FROM arg a JOIN members m ON m.consumer = ANY (a.consumers)
WHERE m.owner <> a.owner AND m.seen_until > pulseops.now() GROUP BY m.consumer";

pub(super) struct Keeper {
    db: Db,
    pub(super) owner: Uuid,
    registered: Mutex<Vec<Arc<Held>>>,
}

/// What one consumer holds here, as far as the keeper and it know.
pub(super) struct Held {
    consumer: &'static str,
    topic: &'static str,
    /// Partition to epoch. The keeper takes out what it finds lost.
    epochs: Mutex<BTreeMap<i32, i64>>,
    others: AtomicI64,
    /// It has ended: its share of the work is others'.
    away: AtomicBool,
}

impl Held {
    pub(super) fn epochs(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_away(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    /// How many of `partitions` are this process's share.
    pub(super) fn share(&self, partitions: i32) -> usize {
        let members = self.others.load(Ordering::Relaxed).max(0) as u64 + 1;
        u64::from(partitions.unsigned_abs()).div_ceil(members) as usize
    }
}

/// Everything held, as the arrays of a statement.
#[derive(Default)]
struct Holdings {
    consumers: Vec<&'static str>,
    topics: Vec<&'static str>,
    partitions: Vec<i32>,
    epochs: Vec<i64>,
}

impl Holdings {
    fn of(registered: &[Arc<Held>], epochs: &[BTreeMap<i32, i64>]) -> Self {
        let mut all = Self::default();
        for (held, epochs) in registered.iter().zip(epochs) {
            for (partition, epoch) in epochs {
                all.consumers.push(held.consumer);
                all.topics.push(held.topic);
                all.partitions.push(*partition);
                all.epochs.push(*epoch);
            }
        }
        all
    }
}

impl Keeper {
    pub(super) fn new(db: Db, owner: Uuid) -> Self {
        Self { db, owner, registered: Mutex::default() }
    }

    pub(super) fn register(&self, consumer: &'static str, topic: &'static str) -> Arc<Held> {
        let held = Arc::new(Held {
            consumer,
            topic,
            epochs: Mutex::default(),
            others: AtomicI64::new(0),
            away: AtomicBool::new(false),
        });
        self.registered().push(Arc::clone(&held));
        held
    }

    fn registered(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn renew(&self) -> Result<()> {
        // In here, because its `load` would hide that of the atomic.
        use diesel_async::RunQueryDsl;
        let mut registered = self.registered().clone();
        registered.retain(|held| !AtomicBool::load(&held.away, Ordering::Relaxed));
        if registered.is_empty() {
            return Ok(());
        }
        // Only what was held before the statement can be found lost by it.
        let before: Vec<BTreeMap<i32, i64>> = registered.iter().map(|h| h.epochs().clone()).collect();
        let consumers: Vec<&str> = registered.iter().map(|held| held.consumer).collect();
        let held = Holdings::of(&registered, &before);
        let db = self.db.leases()?;
        let rows = crate::system_tx!(db, "consumer leases", |conn| {
            let rows = sql(RENEW)
                .bind::<diesel::sql_types::Uuid, _>(self.owner)
                .bind::<Array<Text>, _>(&consumers)
                .bind::<Array<Text>, _>(&held.consumers)
                .bind::<Array<Text>, _>(&held.topics)
                .bind::<Array<Integer>, _>(&held.partitions)
                .bind::<Array<BigInt>, _>(&held.epochs)
                .load::<Row>(conn)
                .await?;
            Ok(rows)
        })?;
        let mut renewed = HashMap::new();
        let mut others = HashMap::new();
        for row in rows {
            match row.partition {
                Some(partition) => {
                    renewed.insert((row.consumer, row.topic, partition), row.number);
                }
                None => {
                    others.insert(row.consumer, row.number);
                }
            }
        }
        for (held, before) in registered.iter().zip(before) {
            held.others.store(others.get(held.consumer).copied().unwrap_or(0), Ordering::Relaxed);
            let mut epochs = held.epochs();
            for (partition, epoch) in before {
                let key = (held.consumer.to_owned(), held.topic.to_owned(), partition);
                if renewed.get(&key) != Some(&epoch) && epochs.get(&partition) == Some(&epoch) {
                    epochs.remove(&partition);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn run(&self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(RENEW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.renew().await {
                tracing::warn!(error = %error.chain(), "leases were not renewed");
            }
        }
        if let Err(error) = self.leave().await {
            tracing::debug!(error = %error.chain(), "this process's seat stays until it ends by itself");
        }
    }

    async fn leave(&self) -> Result<()> {
        use diesel_async::RunQueryDsl;
        crate::system_tx!(self.db, "consumer leases", |conn| {
            sql("DELETE FROM members WHERE owner = $1")
                .bind::<diesel::sql_types::Uuid, _>(self.owner)
                .execute(conn)
                .await?;
            Ok(())
        })
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    consumer: String,
    #[diesel(sql_type = Text)]
    topic: String,
    #[diesel(sql_type = Nullable<Integer>)]
    partition: Option<i32>,
    #[diesel(sql_type = BigInt)]
    number: i64,
}
