//! Who gets the slots of one driver.

use platform::ctx::OrgId;
use platform::leased::Slots;
use platform::testing::{SOON, eventually};

use super::fixture::{Running, World};

/// Six hang for one organization; another's row is stepped all the same, due or just born.
#[tokio::test]
async fn what_hangs_for_one_organization_delays_no_other() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver_of(Slots { all: 4, per_org: 2 });
    for _ in 0..6 {
        world.insert("slow", None).await;
    }
    let running = Running::start(driver);
    work.called(2).await;

    let other = OrgId(world.db.source().id());
    let due = world.insert_for(other, "plain", None).await;
    eventually(SOON, async || (world.row(due).await.0 == 1).then_some(())).await;
    let birth = world.long_birth();
    let born = world.insert_for(other, "plain", Some(birth)).await;
    handle.run_now([birth.claim(other, born)]);
    eventually(SOON, async || (world.row(born).await.0 == 1).then_some(())).await;
    assert_eq!(world.row(born).await, (1, false, false, 1, 1), "right after its commit");
    assert_eq!(work.calls(), 4, "the share of the one that hangs is 2");

    running.shut_down();
    work.go.add_permits(2);
    running.end().await;
}

/// More hang than its born rows may have slots, and more wait behind them: what came due before them
/// is stepped.
#[tokio::test]
async fn born_rows_of_an_organization_do_not_keep_out_what_comes_due_for_it() {
    let world = World::new().await;
    let (driver, work, handle) = world.driver_of(Slots { all: 8, per_org: 4 });
    let due = world.insert("plain", None).await;
    let birth = world.long_birth();
    for _ in 0..12 {
        let born = world.insert("slow", Some(birth)).await;
        handle.run_now([birth.claim(world.org, born)]);
    }
    let running = Running::start(driver);
    eventually(SOON, async || (world.row(due).await.0 == 1).then_some(())).await;
    work.called(6).await;

    // One of those that hang ends: the next takes its place, and again something comes due.
    work.go.add_permits(1);
    work.called(7).await;
    let due = world.insert("plain", None).await;
    eventually(SOON, async || (world.row(due).await.0 == 1).then_some(())).await;
    running.shut_down();
    work.go.add_permits(12);
    running.end().await;
}
