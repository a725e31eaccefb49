//! The `postgres` engine under the conformance suite, and what is its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use platform::bus::conformance::{Engine, consumers, log};
use platform::bus::{Bus, PostgresBus, TailFrom, TopicSpec};
use platform::testing::{BARE, TestDb, eventually};
use platform::wake::Wakes;
use tokio_util::sync::CancellationToken;

static TOPIC: TopicSpec =
    TopicSpec { name: "pulseops.test.v1", partitions: 4, retention: Duration::from_secs(3600) };

struct Postgres(TestDb);

#[async_trait]
impl Engine for Postgres {
    fn db(&self) -> &TestDb {
        &self.0
    }

    fn topic(&self) -> &'static TopicSpec {
        &TOPIC
    }

    async fn bus(&self) -> Arc<dyn Bus> {
        let db = self.0.another_db("bus");
        Arc::new(PostgresBus::new(db, self.0.source().clone(), Wakes::default()))
    }

    async fn outlive_retention(&self) {
        self.0.advance(TOPIC.retention + Duration::from_secs(1)).await;
    }
}

macro_rules! conforms {
    ($($room:ident::$name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            $room::$name(&Postgres(TestDb::with(&[BARE]).await)).await;
        }
    )+};
}

conforms!(
    log::order_per_key,
    log::seek,
    log::tails,
    log::retention,
    log::identity,
    consumers::redelivery,
    consumers::takeover,
    consumers::paused_owner,
    consumers::resume,
    consumers::poison,
    consumers::outage,
    consumers::other_log,
);

/// Two processes on one database: the appender of one wakes the reader of the other long before its
/// poll, and only while it is registered.
#[tokio::test]
async fn other_processes_are_woken() {
    let db = TestDb::with(&[BARE]).await;
    let process = || PostgresBus::new(db.another_db("bus"), db.source().clone(), Wakes::default());
    let (here, there) = (process(), process());
    here.ensure_topic(&TOPIC).await.expect("the topic");
    let stop = CancellationToken::new();
    let running = [&here, &there].map(|bus| {
        let (bus, stop) = (bus.clone(), stop.clone());
        tokio::spawn(async move { bus.run(stop).await })
    });
    let admin = db.admin().await;
    let registered = async || {
        let count = admin.query_one("SELECT count(*) FROM pulseops_bus.processes", &[]).await;
        (count.expect("processes").get::<_, i64>(0) == 2).then_some(())
    };
    eventually(Duration::from_secs(10), registered).await;

    let mut wakes_there = there.subscribe(TOPIC.name);
    wakes_there.clear();
    let mut tail = there.tail(TOPIC.name, TailFrom::End).await.expect("a tail");
    let cx = db.cx(&[]);
    // The first wake-ups may pass before `here` knows that somebody listens.
    let heard = async {
        loop {
            let record = platform::bus::Record {
                key: "k".into(),
                envelope: platform::bus::Envelope::new(&cx, "test", "test", "s", 0),
                data: "".into(),
            };
            here.append(TOPIC.name, &[record]).await.expect("appended");
            let waited = tokio::time::timeout(Duration::from_millis(200), wakes_there.changed()).await;
            if waited.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("the other process was woken");
    let read = tail.poll(10, Duration::from_secs(5)).await.expect("read");
    assert!(!read.is_empty());

    stop.cancel();
    for task in running {
        task.await.expect("no panic").expect("no error");
    }
    let left = admin.query_one("SELECT count(*) FROM pulseops_bus.processes", &[]).await;
    assert_eq!(left.expect("processes").get::<_, i64>(0), 0, "whoever leaves says so");
}
