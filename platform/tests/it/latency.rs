//! From a commit to the step that it leads to, through every mechanism: nobody waits for a poll.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use diesel::sql_types::{BigInt, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::bus::{Bus, Delivered, Envelope, PostgresBus, Record, TopicSpec};
use platform::consumer::{After, BatchCtx, Consumers, Handler, Options};
use platform::db::Db;
use platform::error::Result;
use platform::leased::{self, Claim, Driver, Handle, Outcome, Work};
use platform::outbox::{self, Message, Relay};
use platform::sql::sql;
use platform::testing::{BARE, TestDb};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

static TOPIC: TopicSpec =
    TopicSpec { name: "pulseops.test.v1", partitions: 2, retention: Duration::from_secs(3600) };
const TABLE: &str = "
CREATE TABLE pulseops_bare.jobs (
    org_id uuid NOT NULL, id uuid NOT NULL,
    due_at timestamptz, lease_until timestamptz, epoch int8 NOT NULL DEFAULT 0, attempts int4 NOT NULL DEFAULT 0,
    CONSTRAINT jobs_pkey PRIMARY KEY (org_id, id));
SELECT pulseops.tenant_table('pulseops_bare.jobs');";

/// Says when each stage was reached.
type Tell = mpsc::UnboundedSender<(&'static str, Instant)>;

struct Births {
    handle: Handle,
    tell: Tell,
}

#[async_trait]
impl Handler for Births {
    async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<After> {
        self.tell.send(("handler", Instant::now())).expect("the test listens");
        let birth = leased::birth(cx.now);
        let mut claims = Vec::new();
        for delivered in batch {
            let (org, id) = (delivered.record.envelope.org, cx.source.id());
            sql("INSERT INTO jobs (org_id, id, due_at, lease_until, epoch, attempts) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind::<SqlUuid, _>(org)
                .bind::<SqlUuid, _>(id)
                .bind::<Timestamptz, _>(birth.due_at)
                .bind::<Timestamptz, _>(birth.lease_until)
                .bind::<BigInt, _>(birth.epoch)
                .bind::<Integer, _>(birth.attempts)
                .execute(conn)
                .await?;
            claims.push(birth.claim(org, id));
        }
        let handle = self.handle.clone();
        Ok(After::call(move || handle.run_now(claims)))
    }
}

struct Jobs {
    db: Db,
    tell: Tell,
}

#[async_trait]
impl Work for Jobs {
    const TABLE: &'static str = "jobs";

    async fn step(&self, claim: Claim) -> Result<()> {
        self.tell.send(("step", Instant::now())).expect("the test listens");
        platform::system_tx!(self.db, "test", |conn| {
            leased::finish(conn, Self::TABLE, &claim, Outcome::Done).await
        })
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_commit_leads_to_its_step_without_waiting() {
    let test = TestDb::with(&[BARE]).await;
    test.admin().await.batch_execute(TABLE).await.expect("the table");
    let (db, source) = (test.db("bare"), test.source());
    let wakes = platform::wake::Wakes::default();
    let bus = Arc::new(PostgresBus::new(test.db("bus"), source.clone(), wakes.clone()));
    bus.ensure_topic(&TOPIC).await.expect("the topic");

    let (tell, mut told) = mpsc::unbounded_channel();
    let (stop, handle) = (CancellationToken::new(), Handle::default());
    let group = Consumers::new("bare", &db, Arc::clone(&bus) as _, source, &wakes);
    let handler = Arc::new(Births { handle: handle.clone(), tell: tell.clone() });
    let consumer = group.consumer("births", &TOPIC, Options::default(), handler).await.expect("made");
    let driver = Driver::new(&db, Arc::new(Jobs { db: db.clone(), tell }), source, handle, 4);
    let relay = Relay::new(&db, Arc::clone(&bus) as _, source);
    let running = [
        tokio::spawn(consumer.run(stop.clone())),
        tokio::spawn(driver.run(stop.clone())),
        tokio::spawn(relay.run(stop.clone())),
    ];

    let cx = test.cx(&[]);
    let (mut to_handler, mut to_step) = (Vec::new(), Vec::new());
    for version in 0..21 {
        let envelope = Envelope::new(&cx, "bare", "pulseops.test.happened.v1", "a", version);
        let record = Record { key: Bytes::from_static(b"a"), envelope, data: Bytes::new() };
        platform::tx!(db, &cx, |conn| outbox::append(conn, &[Message::new(&TOPIC, record.clone())]).await)
            .expect("written");
        let committed = Instant::now();
        for stage in ["handler", "step"] {
            let next = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.expect("in time");
            let (reached, at) = next.expect("somebody tells");
            assert_eq!(reached, stage);
            let times = if stage == "handler" { &mut to_handler } else { &mut to_step };
            times.push(at.saturating_duration_since(committed));
        }
    }
    // The first one waits for the consumer's leases. Polling alone would take 250 ms for relay and
    // reader together, and 3 s until a born lease ends.
    let (to_handler, to_step) = (median(to_handler.split_off(1)), median(to_step.split_off(1)));
    assert!(to_handler < Duration::from_millis(200), "relay and reader: {to_handler:?}");
    assert!(to_step < Duration::from_secs(1), "and the step: {to_step:?}");
    stop.cancel();
    for task in running {
        task.await.expect("no panic").expect("no error");
    }
}
