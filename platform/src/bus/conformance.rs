//! What every engine must do. An engine's tests implement [`Engine`] and call each function of
//! [`log`] and [`consumers`] once, on a fresh engine; see `tests/it/bus.rs`.
//!
//! The functions panic where the engine fails.

pub mod consumers;
mod ledger;
pub mod log;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

pub use ledger::Ledger;

use super::{Bus, Delivered, Envelope, PartitionBatch, Reader, Record, TopicSpec};
use crate::consumer::{Consumer, Consumers, Options};
use crate::ctx::Ctx;
use crate::testing::{SOON, TestDb};
use crate::wake::Wakes;

/// An engine under test.
#[async_trait]
pub trait Engine: Sync {
    /// A database with service `bare` ([`testing::BARE`](crate::testing::BARE)) for positions,
    /// outbox and effects.
    fn db(&self) -> &TestDb;

    /// A topic of this test's own, with at least four partitions.
    fn topic(&self) -> &'static TopicSpec;

    /// A handle on the bus, as a process of its own would make it.
    async fn bus(&self) -> Arc<dyn Bus>;

    /// Makes every record of [`topic`](Self::topic) older than retention.
    async fn outlive_retention(&self);
}

/// Makes the topic and returns a handle.
async fn ready(engine: &impl Engine) -> Arc<dyn Bus> {
    let bus = engine.bus().await;
    bus.ensure_topic(engine.topic()).await.expect("the topic is made");
    bus
}

/// A record of `key` with this version and payload.
fn record(cx: &Ctx, key: &str, version: i64, data: &str) -> Record {
    Record {
        key: Bytes::copy_from_slice(key.as_bytes()),
        envelope: Envelope::new(cx, "conformance", "pulseops.test.happened.v1", key, version),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

/// `count` records spread over `keys` keys, versions counting per key from 1.
fn records(cx: &Ctx, keys: usize, count: usize) -> Vec<Record> {
    let one = |i: usize| record(cx, &format!("key-{}", i % keys), (i / keys + 1) as i64, "ok");
    (0..count).map(one).collect()
}

/// Polls until `count` records have come.
async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Delivered> {
    let started = Instant::now();
    let mut all: Vec<Delivered> = Vec::new();
    while all.len() < count {
        assert!(started.elapsed() < SOON, "{} of {count} records came", all.len());
        let batches = reader.poll(100, Duration::from_millis(100)).await.expect("the bus answers");
        for PartitionBatch { partition, next, records } in batches {
            assert!(records.iter().all(|record| record.partition == partition));
            assert!(records.last().is_some_and(|last| last.offset < next));
            all.extend(records);
        }
    }
    all
}

/// One process's consumer of the topic, writing to `ledger`.
async fn consumer(engine: &impl Engine, bus: &Arc<dyn Bus>, ledger: &Arc<Ledger>) -> Consumer {
    let db = engine.db().another_db("bare");
    let source = engine.db().source();
    let group = Consumers::new("bare", &db, Arc::clone(bus), source, &Wakes::default());
    group
        .consumer(Ledger::CONSUMER, engine.topic(), Options::default(), Arc::clone(ledger) as _)
        .await
        .expect("the consumer is made")
}

/// Steps the consumers in turn until `done`.
async fn step_until(consumers: &mut [&mut Consumer], done: impl AsyncFn() -> bool) {
    let started = Instant::now();
    loop {
        for consumer in consumers.iter_mut() {
            consumer.step().await.expect("the consumer steps");
        }
        if done().await {
            return;
        }
        assert!(started.elapsed() < SOON, "the consumers did not get there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
