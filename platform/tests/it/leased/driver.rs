//! Steps and their outcomes, lost leases, waking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use platform::error::Result;
use platform::leased::{self, Claim, Driver, Handle, LEASE_LOST, Outcome, Work};
use platform::testing::{SOON, eventually};
use platform::wake::Progress;

use super::fixture::{Jobs, Running, World};

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
    assert!(next > Duration::from_secs(3_000) && next <= Duration::from_secs(3_600), "{next:?}");
    world.db.advance(Duration::from_secs(3_600)).await;
    world.step_until(&mut driver, twice, 2).await;
    assert_eq!(world.row(twice).await, (2, false, false, 2, 2));
}

/// After an outage the next step of a row may have been due long ago; the bound below which nothing
/// is looked for is raised every half minute.
#[tokio::test]
async fn what_is_long_overdue_is_not_put_off() {
    let world = World::new().await;
    let (mut driver, _, _) = world.driver(4);
    let id = world.insert("behind", None).await;
    let started = Instant::now();
    world.step_until(&mut driver, id, 2).await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
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
    sleeper.called(1).await;
    let longer = "UPDATE pulseops_bare.jobs SET lease_until = lease_until + interval '1 hour'";
    world.db.admin().await.batch_execute(longer).await.expect("prolonged");
    let (mut second, heir, _) = world.driver(1);
    second.step().await.expect("nothing is free");
    assert_eq!(heir.calls(), 0, "the lease stands");

    world.db.advance(Duration::from_secs(3_600) + leased::LEASE).await;
    heir.go.add_permits(1);
    second.step().await.expect("a step");
    assert_eq!(world.row(id).await, (1, false, false, 2, 2));
    sleeper.go.add_permits(1);
    let ended = tokio::time::timeout(SOON, paused).await.expect("it ends");
    ended.expect("no panic").expect("a lost lease is no error of the driver");
    assert_eq!(world.row(id).await, (1, false, false, 2, 2), "it recorded nothing");

    let cx = world.db.cx_in(world.org, &[]);
    let stale = Claim { org: world.org, id, epoch: 1, attempts: 1 };
    let db = world.db.db("bare");
    let result = platform::tx!(db, &cx, |conn| leased::finish(conn, "jobs", &stale, Outcome::Done).await);
    assert_eq!(result.expect_err("stale").code, LEASE_LOST);
}

/// It would look by itself every 250 ms.
#[tokio::test]
async fn a_driver_wakes_for_new_rows() {
    let world = World::new().await;
    let (driver, work, _) = world.driver(4);
    let running = Running::start(driver);
    let mut fastest = Duration::MAX;
    for number in 1..=10 {
        let started = Instant::now();
        world.insert_by(&work.db, world.org, "plain", None).await;
        work.called(number).await;
        fastest = fastest.min(started.elapsed());
    }
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    running.end().await;
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

#[tokio::test]
async fn drivers_share_a_backlog() {
    let world = World::new().await;
    world.backlog(world.org, 400).await;
    let drivers = [world.driver(16), world.driver(16)];
    let running = drivers.map(|(driver, _, _)| Running::start(driver));
    eventually(SOON, async || (world.steps_of(world.org).await >= 400).then_some(())).await;
    for driver in running {
        driver.end().await;
    }
    assert_eq!(world.steps_of(world.org).await, 400, "each once");
}
