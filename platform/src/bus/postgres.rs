//! The `postgres` engine: a log in tables of schema `pulseops_bus`. A row is a chunk of records; an
//! append is one statement that commits by itself; a read is one query for all partitions.
//!
//! Offsets are given under the lock of the partition's row and are contiguous, so whoever reads up
//! to an offset has read everything below it.

mod chunks;
mod notify;
#[cfg(all(test, feature = "testing"))]
mod plans;
mod reader;
mod statements;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tokio_util::sync::CancellationToken;

use super::{Bounds, Bus, OpenTransactions, Pick, Reader, Record, Relayed, TailFrom, Topic, TopicSpec};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::sql::sql;
use crate::wake::{Subscription, Wakes};
use chunks::{CHUNK_BYTES, Chunks};
use notify::Notifier;
use reader::PostgresReader;
use statements::{
    BOUNDS, BoundsRow, CREATE, CountRow, PartitionRow, RELAY, RelayRow, SINCE, SinceRow, TOPIC, TRIM,
    TopicRow,
};

/// Bytes after which one round of [`Bus::relay`] takes no further row: the whole of it passes through
/// the memory of one backend.
const RELAY_BYTES: i64 = 4 * 1024 * 1024;
/// Chunks that one statement of [`Bus::trim`] removes at most.
const TRIM_BATCH: i64 = 500;
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// The log in Postgres. Cloning shares it; one a process.
#[derive(Clone)]
pub struct PostgresBus(Arc<Inner>);

struct Inner {
    db: Db,
    source: Source,
    wakes: Wakes,
    notifier: Notifier,
    topics: Mutex<HashMap<String, Arc<Known>>>,
}

struct Known {
    id: i32,
    topic: Topic,
}

/// The name under which followers of `topic` are woken.
pub(crate) fn wake_name(topic: &str) -> String {
    format!("bus.{topic}")
}

impl PostgresBus {
    /// The log behind `db`, the pool of service `bus`. Appends wake the followers in `wakes`; those
    /// of other processes hear of it while [`Bus::run`] runs here and there.
    pub fn new(db: Db, source: Source, wakes: Wakes) -> Self {
        let notifier = Notifier::new(&db, source.id(), wakes.clone());
        Self(Arc::new(Inner { db, source, wakes, notifier, topics: Mutex::default() }))
    }

    /// Wake-ups that come when `topic` has grown, here or in another process.
    pub fn subscribe(&self, topic: &str) -> Subscription {
        self.0.wakes.subscribe(&wake_name(topic))
    }

    async fn known(&self, topic: &str) -> Result<Arc<Known>> {
        if let Some(known) = self.cached(topic) {
            return Ok(known);
        }
        let known = self.look_up(topic).await?;
        known.ok_or_else(|| Error::internal(format!("topic {topic} was never declared")))
    }

    fn cached(&self, topic: &str) -> Option<Arc<Known>> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    async fn look_up(&self, topic: &str) -> Result<Option<Arc<Known>>> {
        let query = || sql(TOPIC).bind::<Text, _>(topic);
        let mut connection = self.0.db.connection().await?;
        let mut found = query().load::<TopicRow>(&mut connection).await;
        if stale(&found) {
            drop(connection);
            connection = self.0.db.connection().await?;
            found = query().load(&mut connection).await;
        }
        let known = found?.pop().map(|row| Arc::new(Known::from(row)));
        if let Some(known) = &known {
            let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
            topics.insert(topic.to_owned(), Arc::clone(known));
        }
        Ok(known)
    }

    async fn write(&self, topic: &str, chunks: &Chunks) -> Result<()> {
        let payloads: Vec<&[u8]> = chunks.payloads.iter().map(AsRef::as_ref).collect();
        let statement = || {
            sql("SELECT append($1, $2, $3, $4) AS count")
                .bind::<Text, _>(topic)
                .bind::<Array<Integer>, _>(&chunks.partitions)
                .bind::<Array<Integer>, _>(&chunks.counts)
                .bind::<Array<Binary>, _>(&payloads)
        };
        let mut connection = self.0.db.connection().await?;
        let mut written = statement().get_result::<CountRow>(&mut connection).await;
        // At least once: a connection that broke may have appended already.
        if stale(&written) {
            drop(connection);
            connection = self.0.db.connection().await?;
            written = statement().get_result(&mut connection).await;
        }
        let count = written?.count.unsigned_abs();
        metrics::counter!("pulseops_bus_appended_records_total", "topic" => topic.to_owned())
            .increment(count);
        Ok(())
    }

    /// Tells the followers here and in other processes that `topic` has grown.
    fn wake(&self, topic: &str) {
        self.0.wakes.notify(&wake_name(topic));
        self.0.notifier.tell(topic);
    }

    async fn trim_partition(&self, topic_id: i32, partition: i32) -> Result<u64> {
        let mut connection = self.0.db.connection().await?;
        let removed = sql(TRIM)
            .bind::<Integer, _>(topic_id)
            .bind::<Integer, _>(partition)
            .bind::<BigInt, _>(TRIM_BATCH)
            .execute(&mut connection)
            .await?;
        Ok(removed as u64)
    }

    async fn trim_forever(&self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(TRIM_EVERY)).await.is_some() {
            if let Err(error) = self.trim().await {
                tracing::warn!(error = %error.chain(), "the log was not trimmed");
            }
        }
    }
}

/// Whether a pooled connection turned out to be dead, so that a fresh one may do better.
pub(super) fn stale<T>(result: &diesel::QueryResult<T>) -> bool {
    use diesel::result::{DatabaseErrorKind as Db, Error};
    matches!(result, Err(Error::DatabaseError(Db::ClosedConnection | Db::UnableToSendCommand, _)))
}

#[async_trait]
impl Bus for PostgresBus {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic> {
        let mut known = self.look_up(spec.name).await?;
        if known.is_none() {
            let mut connection = self.0.db.connection().await?;
            sql(CREATE)
                .bind::<Text, _>(spec.name)
                .bind::<Integer, _>(spec.partitions)
                .bind::<diesel::sql_types::Uuid, _>(self.0.source.id())
                .bind::<BigInt, _>(i64::try_from(spec.retention.as_millis()).unwrap_or(i64::MAX))
                .bind::<Timestamptz, _>(self.0.source.now())
                .execute(&mut connection)
                .await?;
            drop(connection);
            known = self.look_up(spec.name).await?;
        }
        let topic = known.ok_or_else(|| Error::internal("a topic vanished"))?.topic.clone();
        if topic.partitions != spec.partitions {
            let detail = format!(
                "topic {} has {} partitions, the program says {}",
                spec.name, topic.partitions, spec.partitions
            );
            return Err(Error::conflict("topic_partitions_differ", detail));
        }
        Ok(topic)
    }

    async fn topic(&self, name: &str) -> Result<Option<Topic>> {
        Ok(self.look_up(name).await?.map(|known| known.topic.clone()))
    }

    async fn append(&self, topic: &str, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let known = self.known(topic).await?;
        self.write(topic, &Chunks::of(records, known.topic.partitions)).await?;
        crate::failpoint!("append.after");
        self.wake(topic);
        Ok(())
    }

    async fn relay(&self, outbox: &Db, pick: Pick) -> Result<Relayed> {
        let (from_id, until_id, held, max_rows) = match pick {
            Pick::Waiting { from_id, max_rows } => (from_id, i64::MAX, false, max_rows),
            Pick::One { id } => (id, id, true, 1),
        };
        let statement = || {
            sql(RELAY)
                .bind::<BigInt, _>(from_id)
                .bind::<BigInt, _>(until_id)
                .bind::<Bool, _>(held)
                .bind::<BigInt, _>(max_rows)
                .bind::<BigInt, _>(RELAY_BYTES)
                .bind::<BigInt, _>(CHUNK_BYTES as i64)
                .bind::<BigInt, _>(max_rows)
        };
        let mut connection = outbox.connection().await?;
        let mut row = statement().get_result::<RelayRow>(&mut connection).await;
        if stale(&row) {
            drop(connection);
            connection = outbox.connection().await?;
            row = statement().get_result(&mut connection).await;
        }
        let row = row?;
        for topic in row.topics.iter().flatten() {
            self.wake(topic);
        }
        let open = OpenTransactions { oldest: row.oldest_open, next: row.next_open };
        // One row says nothing of those before it.
        let last_id = row.last_id.filter(|_| matches!(pick, Pick::Waiting { .. }));
        Ok(Relayed { rows: row.count, last_id, leader: row.won, open })
    }

    async fn reader(&self, topic: &str) -> Result<Box<dyn Reader>> {
        let known = self.known(topic).await?;
        Ok(Box::new(PostgresReader::new(self.0.db.clone(), &self.0.wakes, topic, known.id)))
    }

    async fn tail(&self, topic: &str, from: TailFrom) -> Result<Box<dyn Reader>> {
        let known = self.known(topic).await?;
        let mut reader = PostgresReader::new(self.0.db.clone(), &self.0.wakes, topic, known.id);
        let bounds = self.bounds(topic).await?;
        let mut at: Vec<(i32, i64)> = bounds.iter().map(|b| (b.partition, b.end)).collect();
        match from {
            TailFrom::End => {}
            TailFrom::Start => at = bounds.iter().map(|b| (b.partition, b.start)).collect(),
            TailFrom::Offsets(given) => reader::place(&mut at, &bounds, &given)?,
            TailFrom::Time(time) => {
                let mut connection = self.0.db.connection().await?;
                let rows: Vec<SinceRow> = sql(SINCE)
                    .bind::<Timestamptz, _>(time)
                    .bind::<Integer, _>(known.id)
                    .load(&mut connection)
                    .await?;
                let since: Vec<(i32, i64)> =
                    rows.iter().filter_map(|row| Some((row.partition, row.first?))).collect();
                reader::place(&mut at, &bounds, &since)?;
            }
        }
        reader.assign(&at);
        Ok(Box::new(reader))
    }

    async fn bounds(&self, topic: &str) -> Result<Vec<Bounds>> {
        let known = self.known(topic).await?;
        let query = || sql(BOUNDS).bind::<Integer, _>(known.id);
        let mut connection = self.0.db.connection().await?;
        let mut rows = query().load::<BoundsRow>(&mut connection).await;
        if stale(&rows) {
            drop(connection);
            connection = self.0.db.connection().await?;
            rows = query().load(&mut connection).await;
        }
        let bound = |row: BoundsRow| Bounds { partition: row.partition, start: row.first, end: row.next };
        Ok(rows?.into_iter().map(bound).collect())
    }

    async fn trim(&self) -> Result<u64> {
        let mut connection = self.0.db.connection().await?;
        let all: Vec<PartitionRow> =
            sql("SELECT topic_id, partition FROM partitions").load(&mut connection).await?;
        drop(connection);
        let mut removed = 0;
        for row in all {
            loop {
                let batch = self.trim_partition(row.topic_id, row.partition).await?;
                removed += batch;
                if batch < TRIM_BATCH as u64 {
                    break;
                }
            }
        }
        metrics::counter!("pulseops_bus_trimmed_chunks_total").increment(removed);
        Ok(removed)
    }

    async fn ping(&self) -> Result<()> {
        self.0.db.ping().await
    }

    async fn run(&self, shutdown: CancellationToken) -> Result<()> {
        tokio::join!(self.0.notifier.run(shutdown.clone()), self.trim_forever(shutdown));
        Ok(())
    }
}

impl From<TopicRow> for Known {
    fn from(row: TopicRow) -> Self {
        let topic = Topic { name: row.name, partitions: row.partitions, log_id: row.log_id };
        Self { id: row.id, topic }
    }
}
