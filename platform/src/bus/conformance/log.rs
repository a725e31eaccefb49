//! Appending, reading, seeking, tails and retention.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;

use super::{Engine, read, ready, record, records};
use crate::bus::{Delivered, Reader, TailFrom};

/// Records of one key come in the order in which they were appended, in the partition of their key,
/// whoever else appends at the same time; offsets name them.
pub async fn order_per_key(engine: &impl Engine) {
    let bus = ready(engine).await;
    let cx = engine.db().cx(&[]);
    let topic = engine.topic();
    let appenders = (0..4).map(async |appender| {
        let bus = engine.bus().await;
        for version in 0..25 {
            let keys = 0..7;
            let batch: Vec<_> =
                keys.map(|key| record(&cx, &format!("{appender}-{key}"), version, "ok")).collect();
            bus.append(topic.name, &batch).await.expect("appended");
        }
    });
    join_all(appenders).await;
    let mut reader = bus.tail(topic.name, TailFrom::Start).await.expect("a tail");
    let all = read(&mut *reader, 4 * 25 * 7).await;
    let mut versions: HashMap<String, i64> = HashMap::new();
    let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
    for Delivered { partition, offset, record } in all {
        assert_eq!(partition, topic.partition_for(&record.key));
        let last = offsets.insert(partition, offset);
        assert!(last.is_none_or(|last| last < offset), "offsets grow");
        let expected = versions.entry(record.envelope.subject).or_default();
        assert_eq!(record.envelope.version, *expected, "order within a key");
        *expected += 1;
    }
    assert_eq!(versions.len(), 4 * 7);
    assert!(offsets.len() > 1, "several partitions were used");
}

/// A reader reads on from where it is told, as often as it is told, and only what it is assigned.
pub async fn seek(engine: &impl Engine) {
    let bus = ready(engine).await;
    let cx = engine.db().cx(&[]);
    let topic = engine.topic();
    bus.append(topic.name, &records(&cx, 1, 30)).await.expect("appended");
    bus.append(topic.name, &records(&cx, 1, 30)).await.expect("appended");
    let partition = topic.partition_for(b"key-0");
    let mut reader = bus.reader(topic.name).await.expect("a reader");
    let idle = reader.poll(10, Duration::ZERO).await.expect("nothing is assigned");
    assert!(idle.is_empty());
    for start in [0, 45, 7, 0, 59] {
        reader.assign(&[(partition, start)]);
        let got = read(&mut *reader, usize::try_from(60 - start).expect("positive")).await;
        let offsets: Vec<i64> = got.iter().map(|d| d.offset).collect();
        assert_eq!(offsets, (start..60).collect::<Vec<_>>());
    }
    reader.assign(&[((partition + 1) % topic.partitions, 0)]);
    bus.append(topic.name, &records(&cx, 1, 1)).await.expect("appended");
    assert!(reader.poll(10, Duration::from_millis(50)).await.expect("an answer").is_empty());
    let limited = {
        reader.assign(&[(partition, 10)]);
        read_once(&mut *reader).await
    };
    assert_eq!(limited.iter().map(|d| d.offset).collect::<Vec<_>>(), [10, 11, 12]);
}

async fn read_once(reader: &mut dyn Reader) -> Vec<Delivered> {
    loop {
        let batches = reader.poll(3, Duration::from_millis(100)).await.expect("the bus answers");
        if let Some(batch) = batches.into_iter().next() {
            return batch.records;
        }
    }
}

/// A tail begins where it is told and sees every partition; one that waits is woken by an append.
pub async fn tails(engine: &impl Engine) {
    let bus = ready(engine).await;
    let cx = engine.db().cx(&[]);
    let topic = engine.topic();
    bus.append(topic.name, &records(&cx, 20, 20)).await.expect("appended");
    engine.db().advance(Duration::from_secs(60)).await;
    let between = engine.db().source().now();
    engine.db().advance(Duration::from_secs(60)).await;
    let ends: Vec<(i32, i64)> =
        bus.bounds(topic.name).await.expect("bounds").iter().map(|b| (b.partition, b.end)).collect();
    assert_eq!(ends.iter().map(|(_, end)| end).sum::<i64>(), 20);
    let mut from_end = bus.tail(topic.name, TailFrom::End).await.expect("a tail");
    assert!(from_end.poll(100, Duration::from_millis(20)).await.expect("an answer").is_empty());

    let late = records(&engine.db().cx(&[]), 20, 20);
    let (woken, appended) = tokio::join!(read(&mut *from_end, 20), bus.append(topic.name, &late));
    appended.expect("appended");
    assert_eq!(woken.len(), 20);
    for from in [TailFrom::Time(between), TailFrom::Offsets(ends.clone())] {
        let mut tail = bus.tail(topic.name, from).await.expect("a tail");
        let got = read(&mut *tail, 20).await;
        assert!(got.iter().all(|d| late.iter().any(|r| r.envelope.id == d.record.envelope.id)));
    }
    let mut all = bus.tail(topic.name, TailFrom::Start).await.expect("a tail");
    assert_eq!(read(&mut *all, 40).await.len(), 40);
    let beyond = bus.tail(topic.name, TailFrom::Offsets(vec![(0, 1_000)])).await.err().expect("refused");
    assert_eq!(beyond.code, "position_beyond_end");
}

/// What is older than retention goes, but never a partition's newest record; the offsets go on, and
/// whoever reads below the start is told so.
pub async fn retention(engine: &impl Engine) {
    let bus = ready(engine).await;
    let cx = engine.db().cx(&[]);
    let topic = engine.topic();
    for _ in 0..3 {
        bus.append(topic.name, &records(&cx, 1, 10)).await.expect("appended");
    }
    assert_eq!(bus.trim().await.expect("trimmed"), 0, "nothing is old yet");
    engine.outlive_retention().await;
    bus.trim().await.expect("trimmed");
    let partition = topic.partition_for(b"key-0");
    let bounds = bus.bounds(topic.name).await.expect("bounds");
    let own = bounds.iter().find(|b| b.partition == partition).copied().expect("the partition");
    assert!(own.start > 0 && own.start < 30, "{own:?}");
    assert_eq!(own.end, 30);

    let mut reader = bus.reader(topic.name).await.expect("a reader");
    reader.assign(&[(partition, 0)]);
    let below = reader.poll(10, Duration::from_millis(100)).await.expect_err("it is gone");
    assert_eq!(below.code, "position_below_start");
    let tail = bus.tail(topic.name, TailFrom::Offsets(vec![(partition, 0)])).await;
    assert_eq!(tail.err().expect("it is gone").code, "position_below_start");

    bus.append(topic.name, &records(&cx, 1, 1)).await.expect("appended");
    reader.assign(&[(partition, 30)]);
    assert_eq!(read(&mut *reader, 1).await[0].offset, 30);
}

/// A topic keeps its identity; its number of partitions cannot be declared differently.
pub async fn identity(engine: &impl Engine) {
    let first = ready(engine).await.ensure_topic(engine.topic()).await.expect("the topic");
    let second = engine.bus().await.ensure_topic(engine.topic()).await.expect("the topic");
    assert_eq!(first, second);
    let mut other = *engine.topic();
    other.partitions += 1;
    let refused = engine.bus().await.ensure_topic(&other).await.expect_err("refused");
    assert_eq!(refused.code, "topic_partitions_differ");
}
