//! Consumers beside the conformance suite: how they start, run, doubt and end.

mod batches;
mod leases;
mod letters;
mod misfits;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use platform::bus::conformance::Ledger;
use platform::bus::{Bus, Envelope, PostgresBus, Record, TopicSpec};
use platform::consumer::{Consumer, Consumers, Handler, Options, StartAt};
use platform::ctx::Ctx;
use platform::dead_letters::{self, Filter};
use platform::failpoint;
use platform::testing::{BARE, SOON, TestDb, eventually};
use platform::wake::Wakes;
use tokio_util::sync::CancellationToken;

static TOPIC: TopicSpec =
    TopicSpec { name: "pulseops.test.v1", partitions: 2, retention: Duration::from_secs(3600) };

struct World {
    db: TestDb,
    bus: Arc<dyn Bus>,
    wakes: Wakes,
    cx: Ctx,
}

impl World {
    async fn new() -> Self {
        let db = TestDb::with(&[BARE]).await;
        Ledger::prepare(&db).await;
        let wakes = Wakes::default();
        let bus = PostgresBus::new(db.another_db("bus"), db.source().clone(), wakes.clone());
        bus.ensure_topic(&TOPIC).await.expect("the topic");
        let cx = db.cx(&[]);
        Self { db, bus: Arc::new(bus), wakes, cx }
    }

    fn group(&self) -> Consumers {
        let db = self.db.another_db("bare");
        Consumers::new("bare", &db, Arc::clone(&self.bus), self.db.source(), &self.wakes)
    }

    async fn consumer(&self, name: &'static str, handler: Arc<dyn Handler>) -> Consumer {
        self.consumer_of(&TOPIC, name, handler).await
    }

    async fn consumer_of(
        &self,
        topic: &TopicSpec,
        name: &'static str,
        handler: Arc<dyn Handler>,
    ) -> Consumer {
        let made = self.group().consumer(name, topic, Options::default(), handler).await;
        made.expect("the consumer")
    }

    /// All in one partition of [`TOPIC`].
    async fn append(&self, records: &[(&str, i64, &str)]) {
        self.append_to(&TOPIC, "one partition", records).await;
    }

    /// Records (subject, version, payload) of this key.
    async fn append_to(&self, topic: &TopicSpec, key: &str, records: &[(&str, i64, &str)]) {
        let record = |&(subject, version, data): &(&str, i64, &str)| Record {
            key: Bytes::copy_from_slice(key.as_bytes()),
            envelope: Envelope::new(&self.cx, "test", "pulseops.test.happened.v1", subject, version),
            data: Bytes::copy_from_slice(data.as_bytes()),
        };
        let records: Vec<Record> = records.iter().map(record).collect();
        self.bus.append(topic.name, &records).await.expect("appended");
    }

    async fn execute(&self, sql: &str) {
        self.db.admin().await.batch_execute(sql).await.expect("executed");
    }

    async fn letters(&self) -> Vec<dead_letters::DeadLetter> {
        let bus = self.db.db("bus");
        let list = platform::tx!(bus, &self.cx, |conn| {
            dead_letters::list(conn, self.cx.org, &Filter::default(), None, 100).await
        });
        list.expect("the list")
    }
}

async fn step_until(consumer: &mut Consumer, done: impl AsyncFn() -> bool) {
    let started = std::time::Instant::now();
    while !done().await {
        consumer.step().await.expect("a step");
        assert!(started.elapsed() < SOON, "did not get there");
    }
}

#[tokio::test]
async fn a_doubtful_commit_counts_once() {
    let world = World::new().await;
    world.append(&[("a", 1, "ok"), ("a", 2, "ok")]).await;
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("doubts", Arc::clone(&ledger) as _).await;
    let _before = failpoint::set("consumer.before_commit.doubts", "1*error");
    let _after = failpoint::set("consumer.after_commit.doubts", "1*error");
    step_until(&mut consumer, async || {
        failpoint::hits("consumer.after_commit.doubts") == 1 && Ledger::effects(&world.db).await == 2
    })
    .await;
    world.append(&[("a", 3, "ok")]).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 3).await;
    assert!(ledger.calls.load(Ordering::SeqCst) >= 3, "rolled back, committed in doubt, the next");
    assert!(!ledger.lost.lock().expect("no panic holds it").is_empty(), "memory was forgotten");
}

#[tokio::test]
async fn a_running_consumer_is_woken_and_gives_back_its_partitions() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let group = world.group();
    let consumer = group
        .consumer("running", &TOPIC, Options::default(), Arc::clone(&ledger) as _)
        .await
        .expect("the consumer");
    let (stop, stop_keeper) = (CancellationToken::new(), CancellationToken::new());
    let keeper = tokio::spawn({
        let (group, stop) = (group.clone(), stop_keeper.clone());
        async move { group.run(stop).await }
    });
    let running = tokio::spawn(consumer.run(stop.clone()));
    for round in 1..=3 {
        world.append(&[("a", round, "ok")]).await;
        let count = usize::try_from(round).expect("small");
        eventually(SOON, async || (Ledger::effects(&world.db).await == count).then_some(())).await;
    }
    world.append(&[("a", 4, "poison")]).await;
    eventually(SOON, async || (world.letters().await.len() == 1).then_some(())).await;
    ledger.heal();
    let letter = world.letters().await.remove(0);
    let bus = world.db.db("bus");
    platform::tx!(bus, &world.cx, |conn| { dead_letters::request_replay(&world.cx, conn, letter.id).await })
        .expect("asked");
    world.wakes.notify(dead_letters::REPLAY);
    eventually(SOON, async || (Ledger::effects(&world.db).await == 4).then_some(())).await;

    stop.cancel();
    running.await.expect("no panic").expect("no error");
    stop_keeper.cancel();
    keeper.await.expect("no panic").expect("no error");
    let left = "SELECT (SELECT count(*) FROM pulseops_bare.positions WHERE owner IS NOT NULL),
                       (SELECT count(*) FROM pulseops_bare.members)";
    let row = world.db.admin().await.query_one(left, &[]).await.expect("positions");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 0));
}

#[tokio::test]
async fn a_new_consumer_may_begin_at_the_end() {
    let world = World::new().await;
    world.append(&[("a", 1, "ok")]).await;
    let ledger = Arc::new(Ledger::default());
    let options = Options { start: StartAt::Newest, ..Options::default() };
    let handler = Arc::clone(&ledger) as Arc<dyn Handler>;
    let made = world.group().consumer("newest", &TOPIC, options, handler).await;
    let mut consumer = made.expect("the consumer");
    world.append(&[("a", 2, "ok")]).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 1).await;
    assert_eq!(Ledger::subjects_and_versions(&world.db).await, [("a".to_owned(), 2)]);
}
