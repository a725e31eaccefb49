//! Who owns a partition, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::bus::conformance::Ledger;
use platform::consumer::Consumer;
use platform::failpoint;
use platform::testing::SOON;

use super::World;

/// No lease ends and no process is gone, however long the machine takes.
const FOR_EVER: &str = "
UPDATE pulseops_bare.positions SET lease_until = 'infinity' WHERE owner IS NOT NULL;
UPDATE pulseops_bare.members SET seen_until = 'infinity'";

/// Steps both until each has one of the two partitions; a second passes after each round.
async fn share(world: &World, first: &mut Consumer, second: &mut Consumer) {
    let started = Instant::now();
    while (first.partitions().len(), second.partitions().len()) != (1, 1) {
        assert!(started.elapsed() < SOON, "{:?} and {:?}", first.partitions(), second.partitions());
        world.db.advance(Duration::from_secs(1)).await;
        first.step().await.expect("a step");
        second.step().await.expect("a step");
    }
}

/// What is given back in memory is renewed no more, whatever becomes of the statement.
#[tokio::test]
async fn a_partition_that_nobody_reads_lapses() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut first = world.consumer("lapses", Arc::clone(&ledger) as _).await;
    first.step().await.expect("a step");
    assert_eq!(first.partitions().len(), 2);
    world.execute(FOR_EVER).await;
    let mut second = world.consumer("lapses", Arc::clone(&ledger) as _).await;
    second.step().await.expect("a step");
    assert_eq!(second.partitions().len(), 0, "all are held");

    world.execute(FOR_EVER).await;
    let _failing = failpoint::set("consumer.release.lapses", "1*error");
    assert!(first.step().await.is_err(), "its share is one now, and giving back fails");
    assert_eq!(first.partitions().len(), 1);
    share(&world, &mut first, &mut second).await;
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
    share(&world, &mut first, &mut second).await;
}
