//! Partitions whose position does not fit the log.

use std::sync::Arc;
use std::time::Instant;

use platform::bus::conformance::Ledger;
use platform::consumer::Consumer;
use platform::error::Error;
use platform::testing::SOON;

use super::{TOPIC, TopicSpec, World};

static WIDE: TopicSpec = TopicSpec { name: "pulseops.wide.v1", partitions: 4, ..TOPIC };

/// Steps all in turn until `done`.
async fn step_all_until(consumers: &mut [Consumer], done: impl AsyncFn(&[Consumer]) -> bool) {
    let started = Instant::now();
    while !done(consumers).await {
        assert!(started.elapsed() < SOON, "did not get there");
        for consumer in consumers.iter_mut() {
            consumer.step().await.expect("what does not fit stops nobody");
        }
    }
}

fn codes(misfits: &[(i32, Error)]) -> Vec<(i32, &'static str)> {
    misfits.iter().map(|(partition, error)| (*partition, error.code)).collect()
}

#[tokio::test]
async fn one_that_does_not_fit_stands_still_alone() {
    let world = World::new().await;
    world.bus.ensure_topic(&WIDE).await.expect("the topic");
    let ledger = Arc::new(Ledger::default());
    let mut consumers = Vec::new();
    for _ in 0..2 {
        consumers.push(world.consumer_of(&WIDE, "misfits", Arc::clone(&ledger) as _).await);
    }
    world.execute("UPDATE pulseops_bare.positions SET next = 1000 WHERE partition = 1").await;
    let keys: Vec<String> = (0..40).map(|n| format!("key {n}")).collect();
    for key in &keys {
        world.append_to(&WIDE, key, &[(key, 1, "ok")]).await;
    }
    let read = keys.iter().filter(|key| WIDE.partition_for(key.as_bytes()) != 1).count();
    assert!(read < keys.len());

    let shared = async |consumers: &[Consumer]| {
        let mut all = [consumers[0].partitions(), consumers[1].partitions()].concat();
        all.sort_unstable();
        all == [0, 2, 3] && consumers.iter().all(|consumer| !consumer.partitions().is_empty())
    };
    step_all_until(&mut consumers, shared).await;
    step_all_until(&mut consumers, async |_| Ledger::effects(&world.db).await == read).await;
    let mut told = codes(&[consumers[0].misfits(), consumers[1].misfits()].concat());
    told.dedup();
    assert_eq!(told, [(1, "position_beyond_end")], "by the one to whose share it falls, at least");
    let untouched = "SELECT next, owner IS NULL FROM pulseops_bare.positions WHERE partition = 1";
    let row = world.db.admin().await.query_one(untouched, &[]).await.expect("the position");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (1000, true));

    // A person has decided.
    world.execute("UPDATE pulseops_bare.positions SET next = 0, epoch = epoch + 1 WHERE partition = 1").await;
    step_all_until(&mut consumers, async |_| Ledger::effects(&world.db).await == keys.len()).await;
    step_all_until(&mut consumers, async |all| all.iter().all(|it| it.misfits().is_empty())).await;
}

#[tokio::test]
async fn what_retention_has_passed_under_its_reader_stands_still_alone() {
    let world = World::new().await;
    let ledger = Arc::new(Ledger::default());
    let mut consumers = [world.consumer("passed", Arc::clone(&ledger) as _).await];
    step_all_until(&mut consumers, async |all| all[0].partitions() == [0, 1]).await;
    let passed = TOPIC.partition_for(b"one partition");
    world.append(&[("a", 1, "ok")]).await;
    world.append(&[("a", 2, "ok")]).await;
    world.execute("DELETE FROM pulseops_bus.log WHERE base_offset = 0").await;
    let other = (0..).map(|n| format!("key {n}")).find(|key| TOPIC.partition_for(key.as_bytes()) != passed);
    world.append_to(&TOPIC, &other.expect("one of them"), &[("b", 1, "ok")]).await;
    step_all_until(&mut consumers, async |_| Ledger::effects(&world.db).await == 1).await;
    assert_eq!(codes(&consumers[0].misfits()), [(passed, "position_below_start")]);
    assert_eq!(consumers[0].partitions(), [1 - passed]);
}
