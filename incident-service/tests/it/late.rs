//! A consumer that comes late decides like one in time.

use std::time::Duration;

use chrono::TimeDelta;
use incident_service::EVENTS;

use crate::world::{World, charges, count, failed};

const HOUR: TimeDelta = TimeDelta::hours(1);

async fn send_accepted(world: &World, service: &proto::incident::v1::Service, ids: &[&str], ago: TimeDelta) {
    let at = world.db.source().now() - ago;
    let records: Vec<_> = ids.iter().map(|id| world.record(service, failed(id), at)).collect();
    world.deps.bus.append(EVENTS.name, &records).await.expect("appended");
    world.settle().await;
}

#[tokio::test]
async fn what_is_counted_late_is_remembered_like_what_is_counted_in_time() {
    let mut world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(3, 60))).await;
    send_accepted(&world, &payment, &["a", "b"], HOUR).await;
    world.sweep().await;
    world.restart().await;
    send_accepted(&world, &payment, &["a", "b"], HOUR).await;
    assert!(world.all_incidents().await.is_empty());
    send_accepted(&world, &payment, &["c"], HOUR).await;
    assert_eq!(world.all_incidents().await.len(), 1);
}

#[tokio::test]
async fn nothing_is_forgotten_that_waiting_events_count_with() {
    let mut world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(3, 60))).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.settle().await;

    world.deps.lifecycle.stop().await.expect("a clean end");
    world.deps = world.db.deps_of(proto::descriptor_pool());
    world.send(&payment, ["b", "c"].map(failed)).await;
    world.db.advance(Duration::from_secs(600)).await;
    world.sweep().await;
    world.deps = world.another_process().await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
    assert_eq!(world.all_alerts().await[0].count, 1);
}

#[tokio::test]
async fn an_old_record_does_not_end_a_live_window() {
    let mut world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(3, 60))).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.settle().await;
    send_accepted(&world, &payment, &["of-this-morning"], HOUR * 6).await;
    world.sweep().await;
    world.restart().await;
    world.send(&payment, [failed("c")]).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
}
