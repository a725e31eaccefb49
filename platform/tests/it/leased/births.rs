//! Rows inserted already leased to this process.

use std::time::Duration;

use platform::leased;
use platform::testing::{SOON, eventually};

use super::fixture::{Running, World};

#[tokio::test]
async fn rows_born_leased_start_at_once_and_only_here() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver(2);
    let (mut other, elsewhere, _) = world.driver(2);
    let running = Running::start(driver);
    let birth = world.long_birth();
    let id = world.insert("plain", Some(birth)).await;
    other.step().await.expect("nothing is free");
    handle.run_now([birth.claim(world.org, id)]);
    eventually(SOON, async || (world.row(id).await.0 == 1).then_some(())).await;
    assert_eq!(world.row(id).await, (1, false, false, 1, 1));

    let orphan = world.insert("plain", Some(leased::birth(world.db.source().now()))).await;
    world.db.advance(leased::LEASE + Duration::from_secs(1)).await;
    eventually(SOON, async || (world.row(orphan).await.0 == 1).then_some(())).await;
    assert_eq!(world.row(orphan).await, (1, false, false, 2, 2), "its process died; its lease ended");
    running.end().await;
    assert_eq!(work.calls() + elsewhere.calls(), 2);
}

#[tokio::test]
async fn long_steps_keep_their_lease_and_waiting_ones_are_given_back() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver(1);
    let running = Running::start(driver);
    let slow = world.insert("slow", None).await;
    work.called(1).await;
    let birth = leased::birth(world.db.source().now());
    let waiting = world.insert("plain", Some(birth)).await;
    handle.run_now([birth.claim(world.org, waiting)]);

    // Longer than a lease in real time: only renewal keeps others away.
    let renewed = async || {
        let query = format!(
            "SELECT count(*) FROM pulseops_bare.jobs WHERE lease_until > '{}'::timestamptz + interval '1 second'",
            birth.lease_until.to_rfc3339()
        );
        let row = world.db.admin().await.query_one(&query, &[]).await.expect("a number");
        (row.get::<_, i64>(0) == 2).then_some(())
    };
    eventually(SOON, renewed).await;

    running.shut_down();
    eventually(SOON, async || (!world.row(waiting).await.2).then_some(())).await;
    assert_eq!(world.row(waiting).await, (0, true, false, 1, 0), "given back, and it was no attempt");
    work.go.add_permits(1);
    running.end().await;
    assert_eq!(world.row(slow).await.0, 1, "what had begun came to its end");
    let (mut other, _, _) = world.driver(4);
    world.step_until(&mut other, waiting, 1).await;
}

/// Every slot but the kept one hangs; what is born then goes on waiting, what it cannot hold is free
/// for others.
#[tokio::test]
async fn what_cannot_start_soon_is_given_back() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver(1);
    let running = Running::start(driver);
    let birth = world.long_birth();
    let mut born = vec![world.insert("slow", Some(birth)).await];
    handle.run_now([birth.claim(world.org, born[0])]);
    work.called(1).await;
    for _ in 0..6 {
        born.push(world.insert("plain", Some(birth)).await);
    }
    handle.run_now(born[1..].iter().map(|id| birth.claim(world.org, *id)));
    for id in &born[3..] {
        eventually(SOON, async || (!world.row(*id).await.2).then_some(())).await;
        assert_eq!(world.row(*id).await, (0, true, false, 1, 0));
    }
    assert!(world.row(born[2]).await.2, "two of one organization wait here");
    running.shut_down();
    work.go.add_permits(1);
    running.end().await;
}
