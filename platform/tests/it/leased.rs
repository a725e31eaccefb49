//! Leased rows: claims, outcomes, lost leases, rows born leased.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use diesel::sql_types::{BigInt, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::{Ctx, OrgId};
use platform::db::Db;
use platform::error::{Error, Result};
use platform::leased::{self, Birth, Claim, Driver, Handle, LEASE_LOST, Outcome, Slots, Work};
use platform::source::Source;
use platform::sql::sql;
use platform::testing::{BARE, SOON, TestDb, eventually};
use platform::wake::Progress;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const TABLE: &str = "
CREATE TABLE pulseops_bare.jobs (
    org_id uuid NOT NULL, id uuid NOT NULL, kind text NOT NULL, steps int4 NOT NULL DEFAULT 0,
    due_at timestamptz, lease_until timestamptz, epoch int8 NOT NULL DEFAULT 0, attempts int4 NOT NULL DEFAULT 0,
    CONSTRAINT jobs_pkey PRIMARY KEY (org_id, id));
CREATE INDEX jobs_due_idx ON pulseops_bare.jobs (due_at) WHERE due_at IS NOT NULL;
SELECT pulseops.tenant_table('pulseops_bare.jobs');";

struct Jobs {
    db: Db,
    source: Source,
    called: AtomicUsize,
    entered: Notify,
    go: Notify,
}

impl Jobs {
    fn calls(&self) -> usize {
        AtomicUsize::load(&self.called, Ordering::SeqCst)
    }
}

#[async_trait]
impl Work for Jobs {
    const TABLE: &'static str = "jobs";

    async fn step(&self, claim: Claim) -> Result<()> {
        self.called.fetch_add(1, Ordering::SeqCst);
        let trace = platform::ctx::Trace::new(&self.source);
        let cx = Ctx::service("bare", claim.org, self.source.clone(), trace, None);
        let kind = platform::tx!(self.db, &cx, |conn| kind_of(conn, &claim).await)?;
        match kind.as_str() {
            "fails" if claim.attempts < 3 => return Err(Error::unavailable("away", "not yet")),
            "panics" if claim.attempts < 2 => panic!("not yet"),
            "slow" => {
                self.entered.notify_one();
                self.go.notified().await;
            }
            _ => {}
        }
        let outcome = match kind.as_str() {
            "twice" if claim.attempts < 2 => Outcome::Again(cx.now + TimeDelta::seconds(60)),
            "steps" if claim.epoch < 4 => Outcome::Next(cx.now),
            "behind" if claim.epoch < 2 => Outcome::Next(cx.now - TimeDelta::seconds(300)),
            "dead" => Outcome::Dead("it is over".to_owned()),
            _ => Outcome::Done,
        };
        platform::tx!(self.db, &cx, |conn| {
            sql("UPDATE jobs SET steps = steps + 1 WHERE org_id = $1 AND id = $2")
                .bind::<SqlUuid, _>(claim.org)
                .bind::<SqlUuid, _>(claim.id)
                .execute(conn)
                .await?;
            leased::finish(conn, Self::TABLE, &claim, outcome.clone()).await
        })
    }
}

async fn kind_of(conn: &mut AsyncPgConnection, claim: &Claim) -> Result<String> {
    #[derive(diesel::QueryableByName)]
    struct Kind {
        #[diesel(sql_type = diesel::sql_types::Text)]
        kind: String,
    }
    let row: Kind = sql("SELECT kind FROM jobs WHERE org_id = $1 AND id = $2")
        .bind::<SqlUuid, _>(claim.org)
        .bind::<SqlUuid, _>(claim.id)
        .get_result(conn)
        .await?;
    Ok(row.kind)
}

struct World {
    db: TestDb,
    org: OrgId,
}

impl World {
    async fn new() -> Self {
        let db = TestDb::with(&[BARE]).await;
        db.admin().await.batch_execute(TABLE).await.expect("the table");
        let org = OrgId(db.source().id());
        Self { db, org }
    }

    /// A driver as another process has it; one organization may have all of its slots.
    fn driver(&self, concurrency: usize) -> (Driver<Jobs>, Arc<Jobs>, Handle) {
        self.driver_of(Slots { all: concurrency, per_org: concurrency })
    }

    fn driver_of(&self, slots: Slots) -> (Driver<Jobs>, Arc<Jobs>, Handle) {
        let db = self.db.another_db("bare");
        let source = self.db.source().clone();
        let (called, entered, go) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        let work = Arc::new(Jobs { db: db.clone(), source: source.clone(), called, entered, go });
        let handle = Handle::default();
        let driver = Driver::new(&db, Arc::clone(&work), &source, handle.clone(), slots);
        (driver, work, handle)
    }

    async fn insert(&self, kind: &str, birth: Option<Birth>) -> Uuid {
        self.insert_for(self.org, kind, birth).await
    }

    async fn insert_for(&self, org: OrgId, kind: &str, birth: Option<Birth>) -> Uuid {
        let (id, now) = (self.db.source().id(), self.db.source().now());
        let cx = self.db.cx_in(org, &[]);
        let db = self.db.db("bare");
        let inserted = platform::tx!(db, &cx, |conn| {
            sql("INSERT INTO jobs (org_id, id, kind, due_at, lease_until, epoch, attempts)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind::<SqlUuid, _>(org)
            .bind::<SqlUuid, _>(id)
            .bind::<diesel::sql_types::Text, _>(kind)
            .bind::<Timestamptz, _>(now)
            .bind::<diesel::sql_types::Nullable<Timestamptz>, _>(birth.map(|b| b.lease_until))
            .bind::<BigInt, _>(birth.map_or(0, |b| b.epoch))
            .bind::<Integer, _>(birth.map_or(0, |b| b.attempts))
            .execute(conn)
            .await?;
            leased::wake_on_commit(conn, "jobs");
            Ok(())
        });
        inserted.expect("inserted");
        id
    }

    /// (steps, due, leased, epoch, attempts)
    async fn row(&self, id: Uuid) -> (i32, bool, bool, i64, i32) {
        let query = format!(
            "SELECT steps, due_at IS NOT NULL, lease_until IS NOT NULL, epoch, attempts
             FROM pulseops_bare.jobs WHERE id = '{id}'"
        );
        let row = self.db.admin().await.query_one(&query, &[]).await.expect("the row");
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
    }

    async fn step_until(&self, driver: &mut Driver<Jobs>, id: Uuid, steps: i32) {
        let started = std::time::Instant::now();
        while self.row(id).await.0 < steps {
            driver.step().await.expect("a step");
            assert!(started.elapsed() < SOON, "{:?}", self.row(id).await);
        }
    }
}

#[tokio::test]
async fn due_rows_are_stepped_once() {
    let world = World::new().await;
    let (mut driver, work, _) = world.driver(4);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(world.insert("plain", None).await);
    }
    while driver.step().await.expect("a step") == Progress::Worked {}
    for id in ids {
        assert_eq!(world.row(id).await, (1, false, false, 1, 1));
    }
    assert_eq!(work.calls(), 10);
}

#[tokio::test]
async fn outcomes_set_what_comes_next() {
    let world = World::new().await;
    let (mut driver, _, _) = world.driver(4);
    let (twice, steps, dead) = (
        world.insert("twice", None).await,
        world.insert("steps", None).await,
        world.insert("dead", None).await,
    );
    world.step_until(&mut driver, steps, 4).await;
    assert_eq!(world.row(steps).await, (4, false, false, 4, 1), "attempts count from the last step");
    assert_eq!(world.row(dead).await, (1, false, false, 1, 1));
    assert_eq!(world.row(twice).await, (1, true, false, 1, 1));
    let idle = driver.step().await.expect("a step");
    let Progress::Idle { next: Some(next) } = idle else { panic!("{idle:?}") };
    assert!(next > Duration::from_secs(50) && next <= Duration::from_secs(60), "{next:?}");
    world.db.advance(Duration::from_secs(60)).await;
    world.step_until(&mut driver, twice, 2).await;
    assert_eq!(world.row(twice).await, (2, false, false, 2, 2));
}

/// After an outage the next step of a row may have been due long ago.
#[tokio::test]
async fn what_is_long_overdue_is_not_put_off() {
    let world = World::new().await;
    let (mut driver, _, _) = world.driver(4);
    let id = world.insert("behind", None).await;
    let started = std::time::Instant::now();
    world.step_until(&mut driver, id, 2).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(world.row(id).await, (2, false, false, 2, 1));
}

#[tokio::test]
async fn errors_and_panics_are_tried_again_with_a_pause() {
    let world = World::new().await;
    let (mut driver, work, _) = world.driver(4);
    let (fails, panics) = (world.insert("fails", None).await, world.insert("panics", None).await);
    driver.step().await.expect("a step");
    assert_eq!(world.row(fails).await, (0, true, false, 1, 1), "put back, not lost");
    world.step_until(&mut driver, fails, 1).await;
    world.step_until(&mut driver, panics, 1).await;
    assert_eq!(world.row(fails).await, (1, false, false, 3, 3));
    assert_eq!(work.calls(), 5);
}

#[tokio::test]
async fn an_ended_lease_is_taken_over_and_its_owner_cannot_finish() {
    let world = World::new().await;
    let (mut first, sleeper, _) = world.driver(1);
    let id = world.insert("slow", None).await;
    let paused = tokio::spawn(async move { first.step().await });
    sleeper.entered.notified().await;
    let (mut second, heir, _) = world.driver(1);
    assert_eq!(heir.calls(), 0);
    second.step().await.expect("nothing is free");
    assert_eq!(heir.calls(), 0, "the lease stands");

    world.db.advance(leased::LEASE + Duration::from_secs(1)).await;
    heir.go.notify_one();
    second.step().await.expect("a step");
    assert_eq!(world.row(id).await, (1, false, false, 2, 2));
    sleeper.go.notify_one();
    paused.await.expect("no panic").expect("a lost lease is no error of the driver");
    assert_eq!(world.row(id).await, (1, false, false, 2, 2), "it recorded nothing");

    let cx = world.db.cx_in(world.org, &[]);
    let stale = Claim { org: world.org, id, epoch: 1, attempts: 1 };
    let db = world.db.db("bare");
    let result = platform::tx!(db, &cx, |conn| leased::finish(conn, "jobs", &stale, Outcome::Done).await);
    assert_eq!(result.expect_err("stale").code, LEASE_LOST);
}

#[tokio::test]
async fn rows_born_leased_start_at_once_and_only_here() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver(2);
    let (mut other, elsewhere, _) = world.driver(2);
    let stop = CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    let birth = leased::birth(world.db.source().now());
    let id = world.insert("plain", Some(birth)).await;
    other.step().await.expect("nothing is free");
    handle.run_now([birth.claim(world.org, id)]);
    eventually(SOON, async || (world.row(id).await.0 == 1).then_some(())).await;
    assert_eq!(world.row(id).await, (1, false, false, 1, 1));

    let orphan = world.insert("plain", Some(leased::birth(world.db.source().now()))).await;
    world.db.advance(leased::LEASE + Duration::from_secs(1)).await;
    eventually(SOON, async || (world.row(orphan).await.0 == 1).then_some(())).await;
    assert_eq!(world.row(orphan).await, (1, false, false, 2, 2), "its process died; its lease ended");
    stop.cancel();
    running.await.expect("no panic").expect("no error");
    let calls = work.calls() + elsewhere.calls();
    assert_eq!(calls, 2);
}

#[tokio::test]
async fn long_steps_keep_their_lease_and_waiting_ones_are_given_back() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver(1);
    let stop = CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    let slow = world.insert("slow", None).await;
    work.entered.notified().await;
    let birth = leased::birth(world.db.source().now());
    let waiting = world.insert("plain", Some(birth)).await;
    handle.run_now([birth.claim(world.org, waiting)]);

    // Longer than a lease in real time: only renewal keeps others away.
    let renewed = async || {
        let query = format!(
            "SELECT lease_until > '{}'::timestamptz + interval '1 second' FROM pulseops_bare.jobs WHERE id = '{waiting}'",
            birth.lease_until.to_rfc3339()
        );
        let row = world.db.admin().await.query_one(&query, &[]).await.expect("the row");
        row.get::<_, Option<bool>>(0).unwrap_or(false).then_some(())
    };
    eventually(SOON, renewed).await;
    let (mut other, elsewhere, _) = world.driver(4);
    other.step().await.expect("nothing is free");
    assert_eq!(elsewhere.calls(), 0);

    stop.cancel();
    eventually(SOON, async || (!world.row(waiting).await.2).then_some(())).await;
    assert_eq!(world.row(waiting).await, (0, true, false, 1, 0), "given back, and it was no attempt");
    work.go.notify_one();
    running.await.expect("no panic").expect("no error");
    assert_eq!(world.row(slow).await.0, 1, "what had begun came to its end");
    world.step_until(&mut other, waiting, 1).await;
}

#[tokio::test]
async fn a_driver_sleeps_until_the_next_row_is_due_and_wakes_for_new_ones() {
    let world = World::new().await;
    let (driver, work, _) = world.driver(4);
    let db = work.db.clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    let cx = world.db.cx_in(world.org, &[]);
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let id = world.db.source().id();
        let started = std::time::Instant::now();
        let inserted = platform::tx!(db, &cx, |conn| {
            sql("INSERT INTO jobs (org_id, id, kind, due_at) VALUES ($1, $2, 'plain', $3)")
                .bind::<SqlUuid, _>(world.org)
                .bind::<SqlUuid, _>(id)
                .bind::<Timestamptz, _>(world.db.source().now())
                .execute(conn)
                .await?;
            leased::wake_on_commit(conn, "jobs");
            Ok(())
        });
        inserted.expect("inserted");
        eventually(SOON, async || (world.row(id).await.0 == 1).then_some(())).await;
        fastest = fastest.min(started.elapsed());
    }
    assert!(fastest < Duration::from_millis(150), "{fastest:?}");
    stop.cancel();
    running.await.expect("no panic").expect("no error");
}

/// Six hang for one organization; another's row is stepped all the same, due or just born.
#[tokio::test]
async fn what_hangs_for_one_organization_delays_no_other() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver_of(Slots { all: 4, per_org: 2 });
    for _ in 0..6 {
        world.insert("slow", None).await;
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    eventually(SOON, async || (work.calls() == 2).then_some(())).await;

    let other = OrgId(world.db.source().id());
    let due = world.insert_for(other, "plain", None).await;
    eventually(SOON, async || (world.row(due).await.0 == 1).then_some(())).await;
    let birth = leased::birth(world.db.source().now());
    let born = world.insert_for(other, "plain", Some(birth)).await;
    handle.run_now([birth.claim(other, born)]);
    eventually(SOON, async || (world.row(born).await.0 == 1).then_some(())).await;
    assert_eq!(world.row(born).await, (1, false, false, 1, 1), "right after its commit");
    assert_eq!(work.calls(), 4, "the share of the one that hangs is 2");

    stop.cancel();
    for _ in 0..2 {
        work.go.notify_one();
    }
    running.await.expect("no panic").expect("no error");
}

/// Every slot but the kept one hangs; what is born then goes on waiting, what it cannot hold is free
/// for others.
#[tokio::test]
async fn what_cannot_start_soon_is_given_back() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver(1);
    let stop = CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    let birth = leased::birth(world.db.source().now());
    let mut born = vec![world.insert("slow", Some(birth)).await];
    handle.run_now([birth.claim(world.org, born[0])]);
    work.entered.notified().await;
    for _ in 0..6 {
        born.push(world.insert("plain", Some(birth)).await);
    }
    handle.run_now(born[1..].iter().map(|id| birth.claim(world.org, *id)));
    for id in &born[3..] {
        eventually(SOON, async || (!world.row(*id).await.2).then_some(())).await;
        assert_eq!(world.row(*id).await, (0, true, false, 1, 0));
    }
    assert!(world.row(born[2]).await.2, "two of one organization wait here");
    stop.cancel();
    work.go.notify_one();
    running.await.expect("no panic").expect("no error");
}

/// The rows of kind `plain`, beside the driver of all.
struct Plain(Arc<Jobs>);

#[async_trait]
impl Work for Plain {
    const TABLE: &'static str = "jobs";
    const ONLY: &'static str = "kind = 'plain'";
    const NAME: &'static str = "plain_jobs";

    async fn step(&self, claim: Claim) -> Result<()> {
        self.0.step(claim).await
    }
}

#[tokio::test]
async fn a_lane_takes_only_its_own_rows() {
    let world = World::new().await;
    let (_, jobs, _) = world.driver(1);
    let (db, source) = (world.db.another_db("bare"), world.db.source().clone());
    let work = Arc::new(Plain(Arc::clone(&jobs)));
    let mut lane = Driver::new(&db, work, &source, Handle::default(), 4);
    let (plain, other) = (world.insert("plain", None).await, world.insert("dead", None).await);
    while lane.step().await.expect("a step") == Progress::Worked {}
    assert_eq!(world.row(plain).await.0, 1);
    assert_eq!(world.row(other).await, (0, true, false, 0, 0));
}
