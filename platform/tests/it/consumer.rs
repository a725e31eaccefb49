//! Consumers beside the conformance suite: our own faults, doubtful commits, shutdown.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use diesel_async::AsyncPgConnection;
use platform::bus::conformance::Ledger;
use platform::bus::{Bus, Delivered, Envelope, PostgresBus, Record, TopicSpec};
use platform::consumer::{After, BatchCtx, Consumer, Consumers, Handler, Options, StartAt};
use platform::ctx::Ctx;
use platform::dead_letters::{self, Filter};
use platform::error::{Error, Result};
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
        let made = self.group().consumer(name, &TOPIC, Options::default(), handler).await;
        made.expect("the consumer")
    }

    async fn append(&self, records: &[(&str, i64, &str)]) {
        let record = |&(subject, version, data): &(&str, i64, &str)| Record {
            key: Bytes::from_static(b"one partition"),
            envelope: Envelope::new(&self.cx, "test", "pulseops.test.happened.v1", subject, version),
            data: Bytes::copy_from_slice(data.as_bytes()),
        };
        let records: Vec<Record> = records.iter().map(record).collect();
        self.bus.append(TOPIC.name, &records).await.expect("appended");
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
async fn our_own_faults_get_five_tries() {
    let world = World::new().await;
    for bad in ["broken", "panic"] {
        world.append(&[("a", 0, "ok"), ("a", 0, bad), ("a", 0, "ok")]).await;
    }
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("tries", Arc::clone(&ledger) as _).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 4).await;
    let letters = world.letters().await;
    let seen: Vec<_> = letters.iter().map(|l| (l.error_code.as_str(), l.attempts)).collect();
    assert_eq!(seen, [("internal", 5), ("internal", 5)]);
    for letter in letters {
        assert!(!letter.error_detail.contains("us"), "tenants read it: {}", letter.error_detail);
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
    assert_eq!(ledger.calls.load(Ordering::SeqCst), 3, "rolled back, committed in doubt, the next");
    assert!(!ledger.lost.lock().expect("no panic holds it").is_empty(), "memory was forgotten");
}

/// What is given back in memory is renewed no more, whatever becomes of the statement.
#[tokio::test]
async fn a_partition_that_nobody_reads_lapses() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut first = world.consumer("lapses", Arc::clone(&ledger) as _).await;
    first.step().await.expect("a step");
    assert_eq!(first.partitions().len(), 2);
    let mut second = world.consumer("lapses", Arc::clone(&ledger) as _).await;
    second.step().await.expect("a step");
    assert_eq!(second.partitions().len(), 0, "all are held");

    let _failing = failpoint::set("consumer.release.lapses", "1*error");
    assert!(first.step().await.is_err(), "its share is one now, and giving back fails");
    assert_eq!(first.partitions().len(), 1);
    for _ in 0..4 {
        first.step().await.expect("a step");
        second.step().await.expect("a step");
        world.db.advance(Duration::from_secs(1)).await;
    }
    assert_eq!((first.partitions().len(), second.partitions().len()), (1, 1));
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

#[tokio::test]
async fn dead_letters_are_their_organizations() {
    let world = World::new().await;
    world.append(&[("a", 1, "poison")]).await;
    let mut consumer = world.consumer("letters", Arc::new(Ledger::default())).await;
    step_until(&mut consumer, async || world.letters().await.len() == 1).await;
    let letter = world.letters().await.remove(0);
    let bus = world.db.db("bus");
    let stranger = world.db.cx(&[]);
    let seen = platform::tx!(bus, &stranger, |conn| dead_letters::get(conn, stranger.org, letter.id).await);
    assert_eq!(seen.expect_err("another tenant's").code, "not_found");
    // Row-level security alone, with the code's own filter asking for the other organization.
    let seen = platform::tx!(bus, &stranger, |conn| dead_letters::get(conn, world.cx.org, letter.id).await);
    assert_eq!(seen.expect_err("another tenant's").code, "not_found");
    let stale = world.cx.clone().with_if_match(7);
    let asked =
        platform::tx!(bus, &stale, |conn| dead_letters::request_replay(&stale, conn, letter.id).await);
    assert_eq!(asked.expect_err("stale").code, "version_mismatch");
    let filter = Filter { consumers: vec!["other".to_owned()], ..Filter::default() };
    let none = platform::tx!(bus, &world.cx, |conn| {
        dead_letters::list(conn, world.cx.org, &filter, None, 10).await
    });
    assert!(none.expect("the list").is_empty());
    let page = platform::tx!(bus, &world.cx, |conn| {
        dead_letters::list(conn, world.cx.org, &Filter::default(), Some(letter.id), 10).await
    });
    assert!(page.expect("the list").is_empty(), "nothing behind the last");
}

#[tokio::test]
async fn a_stolen_partition_is_forgotten_at_the_next_renewal() {
    let world = World::new().await;
    let (robbed, thief) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
    let mut first = world.consumer("stolen", Arc::clone(&robbed) as _).await;
    first.step().await.expect("a step");
    assert_eq!(first.partitions(), [0, 1]);
    world.db.advance(Duration::from_secs(4)).await;
    let mut second = world.consumer("stolen", Arc::clone(&thief) as _).await;
    second.step().await.expect("a step");
    assert!(!second.partitions().is_empty());
    first.step().await.expect("a step");
    let lost = robbed.lost.lock().expect("no panic holds it").clone();
    assert!(second.partitions().iter().all(|taken| lost.contains(taken)), "{lost:?}");
    for _ in 0..3 {
        first.step().await.expect("a step");
        second.step().await.expect("a step");
    }
    let shared = [first.partitions(), second.partitions()].concat();
    assert_eq!(shared.len(), 2, "one each: {shared:?}");
}

#[tokio::test]
async fn a_replay_whose_commit_is_in_doubt_counts_once_and_forgets() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("replay_doubts", Arc::clone(&ledger) as _).await;
    world.append(&[("a", 1, "poison")]).await;
    step_until(&mut consumer, async || world.letters().await.len() == 1).await;
    let letter = world.letters().await.remove(0);
    ledger.heal();
    let _after = failpoint::set("replay.after_commit.replay_doubts", "1*error");
    let bus = world.db.db("bus");
    platform::tx!(bus, &world.cx, |conn| { dead_letters::request_replay(&world.cx, conn, letter.id).await })
        .expect("asked");
    step_until(&mut consumer, async || world.letters().await[0].state == "replayed").await;
    assert_eq!(Ledger::effects(&world.db).await, 1);
    let lost = ledger.lost.lock().expect("no panic holds it").clone();
    assert_eq!(lost, [letter.partition], "what memory holds of it may be old");
    world.append(&[("a", 2, "ok")]).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 2).await;
}

/// Answers each call by its number, from 1, and its batch; notes how many records came in each.
struct Scripted<F> {
    answer: F,
    batches: std::sync::Mutex<Vec<usize>>,
}

impl<F: Fn(usize, &[Delivered]) -> Result<()>> Scripted<F> {
    fn new(answer: F) -> Arc<Self> {
        Arc::new(Self { answer, batches: std::sync::Mutex::default() })
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("no panic holds it").clone()
    }
}

#[async_trait]
impl<F> Handler for Scripted<F>
where
    F: Fn(usize, &[Delivered]) -> Result<()> + Send + Sync + 'static,
{
    async fn handle(&self, _: &BatchCtx, _: &mut AsyncPgConnection, batch: &[Delivered]) -> Result<After> {
        let call = {
            let mut batches = self.batches.lock().expect("no panic holds it");
            batches.push(batch.len());
            batches.len()
        };
        (self.answer)(call, batch).map(|()| After::none())
    }
}

/// Two who insert the same key at the same time: the second one finds the row when it looks again.
#[tokio::test]
async fn a_lost_race_is_no_dead_letter() {
    let world = World::new().await;
    let handler = Scripted::new(|call, _| match call {
        1 => Err(Error::conflict("already_exists", "somebody was faster")),
        _ => Ok(()),
    });
    let mut consumer = world.consumer("races", Arc::clone(&handler) as _).await;
    world.append(&[("a", 1, "")]).await;
    step_until(&mut consumer, async || handler.batches().len() == 2).await;
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn a_batch_that_is_too_much_at_once_comes_in_smaller_ones() {
    let world = World::new().await;
    let handler = Scripted::new(|_, batch| match batch.len() {
        0..=3 => Ok(()),
        _ => Err(Error::timeout("database_timeout", "the database took too long")),
    });
    let mut consumer = world.consumer("heavy", Arc::clone(&handler) as _).await;
    world.append(&[("a", 0, ""); 20]).await;
    let small = |batches: &[usize]| batches.iter().filter(|size| **size <= 3).sum::<usize>();
    step_until(&mut consumer, async || small(&handler.batches()) == 20).await;
}

#[tokio::test]
async fn a_batch_ends_when_it_is_work_enough() {
    let world = World::new().await;
    let handler = Scripted::new(|_, batch| {
        std::thread::sleep(Duration::from_millis(1) * u32::try_from(batch.len()).expect("small"));
        Ok(())
    });
    let options = Options { max_records: 200, ..Options::default() };
    let made = world.group().consumer("busy", &TOPIC, options, Arc::clone(&handler) as _).await;
    let mut consumer = made.expect("the consumer");
    world.append(&[("a", 0, ""); 600]).await;
    step_until(&mut consumer, async || handler.batches().iter().sum::<usize>() == 600).await;
    let batches = handler.batches();
    assert_eq!(batches[0], 200, "nothing is known yet");
    assert!(batches[1..].iter().all(|size| *size <= 40), "{batches:?}");
}

#[tokio::test]
async fn a_replay_that_must_wait_holds_up_nobody() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut consumer = world.consumer("waits", Arc::clone(&ledger) as _).await;
    world.append(&[("a", 1, "poison")]).await;
    step_until(&mut consumer, async || world.letters().await.len() == 1).await;
    let letter = world.letters().await.remove(0);
    let away = "UPDATE pulseops_bus.dead_letters SET data = 'away', state = 'replay'";
    world.db.admin().await.batch_execute(away).await.expect("changed");
    world.append(&[("a", 2, "ok")]).await;
    step_until(&mut consumer, async || Ledger::effects(&world.db).await == 1).await;
    assert_eq!(world.letters().await[0].state, "replay");
    ledger.heal();
    step_until(&mut consumer, async || world.letters().await[0].state == "replayed").await;
    assert_eq!(Ledger::effects(&world.db).await, 2);
    let again = {
        let bus = world.db.db("bus");
        platform::tx!(bus, &world.cx, |conn| {
            dead_letters::request_replay(&world.cx, conn, letter.id).await
        })
    };
    assert_eq!(again.expect_err("done").code, "already_replayed");
}
