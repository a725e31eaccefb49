//! Outbox and relay on the `postgres` engine.

mod held;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use platform::bus::{Bus, Delivered, Envelope, PostgresBus, Record, TailFrom, TopicSpec};
use platform::ctx::Ctx;
use platform::db::Db;
use platform::error::{Error, Result};
use platform::outbox::{self, MAX_DEPTH, Message, Relay};
use platform::testing::{BARE, SOON, TestDb, eventually};
use platform::wake::{Progress, Wakes};
use tokio_util::sync::CancellationToken;

static FIRST: TopicSpec =
    TopicSpec { name: "pulseops.first.v1", partitions: 4, retention: Duration::from_secs(3600) };
static SECOND: TopicSpec =
    TopicSpec { name: "pulseops.second.v1", partitions: 1, retention: Duration::from_secs(3600) };

struct World {
    db: TestDb,
    bus: Arc<PostgresBus>,
}

impl World {
    async fn new() -> Self {
        let db = TestDb::with(&[BARE]).await;
        let bus = PostgresBus::new(db.another_db("bus"), db.source().clone(), Wakes::default());
        bus.ensure_topic(&FIRST).await.expect("the topic");
        bus.ensure_topic(&SECOND).await.expect("the topic");
        Self { db, bus: Arc::new(bus) }
    }

    fn relay(&self, db: &Db) -> Relay {
        Relay::new(db, Arc::clone(&self.bus) as _, self.db.source())
    }

    async fn read(&self, topic: &TopicSpec, count: usize) -> Vec<Delivered> {
        let mut tail = self.bus.tail(topic.name, TailFrom::Start).await.expect("a tail");
        let mut all = Vec::new();
        while all.len() < count {
            let batches = tail.poll(500, Duration::from_secs(5)).await.expect("the bus answers");
            assert!(!batches.is_empty(), "{} of {count}", all.len());
            all.extend(batches.into_iter().flat_map(|batch| batch.records));
        }
        assert!(tail.poll(500, Duration::ZERO).await.expect("the bus answers").is_empty());
        all
    }

    async fn unsent(&self) -> i64 {
        let count = "SELECT count(*) FROM pulseops_bare.outbox WHERE sent_at IS NULL";
        self.db.admin().await.query_one(count, &[]).await.expect("the outbox").get(0)
    }
}

fn message(cx: &Ctx, topic: &'static TopicSpec, subject: &str, version: i64) -> Message {
    let envelope = Envelope::new(cx, "bare", "pulseops.test.happened.v1", subject, version);
    let key = subject.as_bytes().to_vec();
    Message::new(topic, Record { key: key.into(), envelope, data: "payload".into() })
}

async fn append(db: &Db, cx: &Ctx, messages: &[Message]) -> Result<()> {
    platform::tx!(db, cx, |conn| outbox::append(conn, messages).await)
}

async fn step_until_idle(relay: &mut Relay) -> usize {
    let mut rounds = 0;
    while relay.step().await.expect("relayed") == Progress::Worked {
        rounds += 1;
    }
    rounds
}

#[tokio::test]
async fn events_are_told_with_their_change_or_not_at_all() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    let first = message(&cx, &FIRST, "a", 1);
    append(&db, &cx, &[first.clone(), message(&cx, &SECOND, "a", 1)]).await.expect("written");
    let undone: Result<()> = platform::tx!(db, &cx, |conn| {
        outbox::append(conn, &[message(&cx, &FIRST, "b", 1)]).await?;
        Err(Error::conflict("changed_my_mind", "no"))
    });
    assert_eq!(undone.expect_err("rolled back").code, "changed_my_mind");

    let mut relay = world.relay(&db);
    assert_eq!(step_until_idle(&mut relay).await, 1);
    assert_eq!(world.unsent().await, 0);
    assert_eq!(world.read(&FIRST, 1).await[0].record, first.record);
    assert_eq!(world.read(&SECOND, 1).await[0].record.envelope.subject, "a");
}

#[tokio::test]
async fn a_commit_wakes_the_relay_and_its_readers() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    let stop = CancellationToken::new();
    let relay = tokio::spawn(world.relay(&db).run(stop.clone()));
    let mut tail = world.bus.tail(FIRST.name, TailFrom::End).await.expect("a tail");
    let mut fastest = Duration::MAX;
    for version in 1..=20 {
        let started = std::time::Instant::now();
        append(&db, &cx, &[message(&cx, &FIRST, "a", version)]).await.expect("written");
        let batches = tail.poll(10, Duration::from_secs(5)).await.expect("read");
        assert_eq!(batches[0].records[0].record.envelope.version, version);
        fastest = fastest.min(started.elapsed());
    }
    // Less than polling alone, at 250 ms and 250 ms, would take for the quickest of twenty.
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    append(&db, &cx, &[message(&cx, &FIRST, "a", 21)]).await.expect("written");
    stop.cancel();
    relay.await.expect("no panic").expect("no error");
    assert_eq!(world.unsent().await, 0, "what was written before the end is told");
}

#[tokio::test]
async fn many_relays_tell_each_event_once_and_in_order() {
    let world = World::new().await;
    let cx = world.db.cx(&[]);
    let stop = CancellationToken::new();
    let relays: Vec<_> =
        (0..3).map(|_| tokio::spawn(world.relay(&world.db.another_db("bare")).run(stop.clone()))).collect();
    let writers = (0..4).map(async |writer| {
        let db = world.db.another_db("bare");
        for version in 1..=50 {
            let messages = [
                message(&cx, &FIRST, &format!("{writer}-a"), version),
                message(&cx, &FIRST, &format!("{writer}-b"), version),
                message(&cx, &SECOND, &format!("{writer}-a"), version),
            ];
            append(&db, &cx, &messages).await.expect("written");
        }
    });
    futures::future::join_all(writers).await;
    world.db.settle(Duration::from_secs(20)).await;
    assert_eq!(world.unsent().await, 0);
    stop.cancel();
    for relay in relays {
        relay.await.expect("no panic").expect("no error");
    }
    for (topic, count) in [(&FIRST, 400), (&SECOND, 200)] {
        let mut last: HashMap<String, i64> = HashMap::new();
        for delivered in world.read(topic, count).await {
            let envelope = delivered.record.envelope;
            assert_eq!(delivered.partition, topic.partition_for(envelope.subject.as_bytes()));
            let before = last.insert(envelope.subject, envelope.version).unwrap_or(0);
            assert_eq!(envelope.version, before + 1);
        }
    }
}

#[tokio::test]
async fn a_late_commit_of_an_early_id_is_told() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    let mut open = db.begin(&cx).await.expect("open");
    open.batch_execute("SET idle_in_transaction_session_timeout = 0").await.expect("set");
    outbox::append(&mut open, &[message(&cx, &FIRST, "early", 1)]).await.expect("written");
    let mut relay = world.relay(&world.db.another_db("bare"));
    append(&db, &cx, &[message(&cx, &FIRST, "late", 1)]).await.expect("written");
    assert_eq!(step_until_idle(&mut relay).await, 1);
    open.commit().await.expect("committed");
    assert_eq!(step_until_idle(&mut relay).await, 1);
    let subjects: Vec<String> =
        world.read(&FIRST, 2).await.into_iter().map(|d| d.record.envelope.subject).collect();
    assert!(subjects.contains(&"early".to_owned()));
}

#[tokio::test]
async fn large_events_are_cut_into_chunks() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    for version in 1..=10 {
        let mut large = message(&cx, &SECOND, "large", version);
        large.record.data = vec![7; 300_000].into();
        append(&db, &cx, &[large]).await.expect("written");
    }
    step_until_idle(&mut world.relay(&db)).await;
    let sizes = "SELECT count(*), max(octet_length(payload)) FROM pulseops_bus.log";
    let row = world.db.admin().await.query_one(sizes, &[]).await.expect("the log");
    assert!(row.get::<_, i64>(0) >= 2 && row.get::<_, i32>(1) < 1_500_000, "{row:?}");
    let versions: Vec<i64> =
        world.read(&SECOND, 10).await.iter().map(|d| d.record.envelope.version).collect();
    assert_eq!(versions, (1..=10).collect::<Vec<_>>());
}

/// Ten of 1.5 MiB: a round is bounded by what passes through memory, not by rows.
#[tokio::test]
async fn a_round_is_bounded_by_its_bytes() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    for version in 1..=10 {
        let mut large = message(&cx, &SECOND, "large", version);
        large.record.data = vec![7; 1_500_000].into();
        append(&db, &cx, &[large]).await.expect("written");
    }
    assert_eq!(step_until_idle(&mut world.relay(&db)).await, 4, "three a round");
    assert_eq!(world.read(&SECOND, 10).await.len(), 10);
}

#[tokio::test]
async fn endless_automation_and_doubled_versions_are_refused() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    let mut looping = message(&cx, &FIRST, "a", 1);
    looping.record.envelope.depth = MAX_DEPTH + 1;
    assert_eq!(append(&db, &cx, &[looping]).await.expect_err("refused").code, "automation_loop");
    append(&db, &cx, &[message(&cx, &FIRST, "a", 1)]).await.expect("written");
    let twice = append(&db, &cx, &[message(&cx, &FIRST, "a", 1)]).await.expect_err("refused");
    assert_eq!(twice.constraint(), Some("outbox_aggregate_version_key"));
    let none = [message(&cx, &FIRST, "n", 0), message(&cx, &FIRST, "n", 0)];
    append(&db, &cx, &none).await.expect("without a version there is nothing to double");
}

#[tokio::test]
async fn a_reaction_carries_cause_depth_and_trace() {
    let world = World::new().await;
    let cx = world.db.cx(&[]);
    let cause = message(&cx, &FIRST, "a", 1).record.envelope;
    let reaction = cause.ctx("workflow", world.db.source().clone());
    assert_eq!(reaction.org, cx.org);
    let caused = message(&reaction, &FIRST, "b", 1).record.envelope;
    assert_eq!((caused.cause, caused.depth), (Some(cause.id), 1));
    assert_eq!(caused.trace[..36], cause.trace[..36], "one trace");
    assert_eq!(caused.org, cause.org);
}

#[tokio::test]
async fn sent_events_leave_after_an_hour() {
    let world = World::new().await;
    let (db, cx) = (world.db.db("bare"), world.db.cx(&[]));
    append(&db, &cx, &[message(&cx, &FIRST, "a", 1)]).await.expect("written");
    step_until_idle(&mut world.relay(&db)).await;
    world.db.advance(Duration::from_secs(3700)).await;
    append(&db, &cx, &[message(&cx, &FIRST, "a", 2)]).await.expect("written");
    let stop = CancellationToken::new();
    let relay = tokio::spawn(world.relay(&db).run(stop.clone()));
    let admin = world.db.admin().await;
    let left = async || {
        let rows = admin.query("SELECT version FROM pulseops_bare.outbox", &[]).await.expect("the outbox");
        (rows.len() == 1).then(|| rows[0].get::<_, i64>(0))
    };
    assert_eq!(eventually(SOON, left).await, 2);
    stop.cancel();
    relay.await.expect("no panic").expect("no error");
}
