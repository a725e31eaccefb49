//! The `postgres` engine under the conformance suite, and what is its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use platform::bus::conformance::{Engine, consumers, log};
use platform::bus::{Bus, Envelope, PostgresBus, Record, TailFrom, TopicSpec};
use platform::db::{Db, DbConfig};
use platform::testing::{BARE, SOON, TestDb, eventually};
use platform::wake::Wakes;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_postgres::config::Host;
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

/// Carries a pool's connections to the test server, until they are cut.
async fn cable(db: &TestDb) -> (DbConfig, Arc<Notify>) {
    let server: tokio_postgres::Config = db.url().parse().expect("readable");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (user, name) = (server.get_user().expect("a user"), server.get_dbname().expect("a name"));
    let password = String::from_utf8_lossy(server.get_password().unwrap_or_default()).into_owned();
    let port = listener.local_addr().expect("bound").port();
    let url = format!("host=127.0.0.1 port={port} user={user} dbname={name} password='{password}'");
    let cut = Arc::new(Notify::new());
    let cutting = Arc::clone(&cut);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, cut) = (server.clone(), Arc::clone(&cutting));
            tokio::spawn(async move {
                let port = server.get_ports().first().copied().unwrap_or(5432);
                let carried = async {
                    match &server.get_hosts()[0] {
                        Host::Unix(dir) => {
                            let mut there = UnixStream::connect(dir.join(format!(".s.PGSQL.{port}"))).await?;
                            copy_bidirectional(&mut client, &mut there).await
                        }
                        Host::Tcp(name) => {
                            let mut there = TcpStream::connect((name.as_str(), port)).await?;
                            copy_bidirectional(&mut client, &mut there).await
                        }
                    }
                };
                tokio::select! { _ = carried => {}, () = cut.notified() => {} }
            });
        }
    });
    (DbConfig { max_connections: 1, ..DbConfig::new(url) }, cut)
}

#[tokio::test]
async fn an_append_whose_connection_breaks_needs_only_one_at_a_time() {
    let db = TestDb::with(&[BARE]).await;
    let (config, cut) = cable(&db).await;
    let pool = Db::connect(&config, "bus").expect("a pool of one");
    let bus = PostgresBus::new(pool, db.source().clone(), Wakes::default());
    bus.ensure_topic(&TOPIC).await.expect("the topic");
    let mut admin = db.admin().await;
    let blocker = admin.transaction().await.expect("begun");
    blocker.batch_execute("SELECT FROM pulseops_bus.partitions FOR UPDATE").await.expect("locked");
    let record = Record {
        key: "k".into(),
        envelope: Envelope::new(&db.cx(&[]), "test", "test", "s", 0),
        data: "".into(),
    };
    let appending = tokio::spawn(async move { bus.append(TOPIC.name, &[record]).await });
    let other = db.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND application_name = 'pulseops_bus' AND wait_event_type = 'Lock'";
        let waiting: i64 = other.query_one(sql, &[]).await.expect("asked").get(0);
        (waiting == 1).then_some(())
    })
    .await;
    cut.notify_waiters();
    blocker.rollback().await.expect("free");
    appending.await.expect("no panic").expect("appended over a new connection");
}

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
    eventually(SOON, registered).await;

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
