//! The main job, as far as this service goes: events become one incident, whatever happens between.

use platform::failpoint;
use proto::incident::v1 as wire;
use proto::incident::v1::{IncidentStatus, TimelineKind};

use crate::world::{World, charges, count, failed};

#[tokio::test]
async fn three_failures_in_a_minute_open_one_incident() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = world.create_rule(charges(&payment, count(3, 60))).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    world.send(&payment, [failed("c")]).await;

    let told = world.told().await;
    let [incident] = &world.all_incidents().await[..] else { panic!("exactly one incident") };
    assert_eq!((incident.number, incident.title.as_str()), (1, "Charges fail"));
    assert_eq!(incident.status(), IncidentStatus::Triggered);
    let source = incident.source.as_ref().expect("a source");
    assert_eq!((source.kind(), &source.id), (wire::SourceKind::Rule, &rule.id));
    assert_eq!(world.timeline_kinds(&incident.id).await, [TimelineKind::Created]);

    let [(record, event)] = &told[..] else { panic!("exactly one event: {told:?}") };
    let envelope = &record.record.envelope;
    assert_eq!(envelope.ty, "pulseops.incident.created.v1");
    assert_eq!((envelope.subject.as_str(), envelope.version), (incident.id.as_str(), 1));
    assert_eq!((envelope.cause.is_some(), envelope.depth), (true, 1));
    assert_eq!(event.incident.as_ref(), Some(incident));
    assert_eq!(event.service.as_ref().expect("a service").name, "PAYMENT");
    assert_eq!(event.attributes.get("region").map(String::as_str), Some("eu"));
}

#[tokio::test]
async fn the_same_ids_count_once() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(3, 60))).await;
    world.send(&payment, ["a", "b", "a"].map(failed)).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    world.send(&payment, ["b", "c", "c"].map(failed)).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
    assert_eq!(world.all_alerts().await[0].count, 1);
}

#[tokio::test]
async fn a_window_survives_a_restart() {
    let mut world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(3, 60))).await;
    for id in ["a", "b"] {
        world.send(&payment, [failed(id)]).await;
        world.settle().await;
    }
    world.restart().await;
    world.send(&payment, ["b", "c"].map(failed)).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
}

#[tokio::test]
async fn a_changed_rule_governs_what_comes_after_its_answer() {
    let world = World::new().await;
    let payment = world.payment().await;
    let mut rule = world.create_rule(charges(&payment, count(3, 60))).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;

    rule.condition = Some(count(2, 60));
    let mut rule = world.update_rule(rule, &["condition"]).await;
    assert_eq!(rule.version, 2);
    // Counting otherwise starts afresh: the first event no longer counts.
    world.send(&payment, [failed("b")]).await;
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    world.send(&payment, [failed("c")]).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);

    let id = world.all_incidents().await[0].id.clone();
    world.resolve(&id).await;
    rule.disabled = true;
    world.update_rule(rule, &["disabled"]).await;
    world.send(&payment, ["d", "e", "f"].map(failed)).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
}

#[tokio::test]
async fn a_crash_around_the_commit_counts_nothing_twice() {
    for point in ["consumer.before_commit", "consumer.after_commit"] {
        let world = World::alone().await;
        let payment = world.payment().await;
        world.create_rule(charges(&payment, count(3, 60))).await;
        world.send(&payment, [failed("a")]).await;
        world.settle().await;
        {
            let _armed = failpoint::set(point, "1*error");
            world.send(&payment, [failed("b")]).await;
            world.settle().await;
        }
        assert!(world.all_incidents().await.is_empty(), "{point}");
        world.send(&payment, [failed("c")]).await;
        world.settle().await;
        assert_eq!(world.all_incidents().await.len(), 1, "{point}");
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stands_alone_among_the_dead_letters() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(2, 60))).await;
    let now = world.db.source().now();
    let mut broken = world.record(&payment, failed("x"), now);
    broken.data = vec![0xff, 0xff].into();
    let records =
        [world.record(&payment, failed("a"), now), broken, world.record(&payment, failed("b"), now)];
    world.deps.bus.append(incident_service::EVENTS.name, &records).await.expect("appended");
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
    let dead = "SELECT count(*) FROM pulseops_bus.dead_letters WHERE error_code = 'undecodable_event'";
    assert_eq!(world.number(dead).await, 1);
}

#[tokio::test]
async fn late_events_count_where_they_belong() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(2, 60))).await;
    let now = world.db.source().now();
    let at = |id: &str, seconds_ago: i64| {
        let time = now - chrono::TimeDelta::seconds(seconds_ago);
        proto::events::v1::Event { time: Some(proto::time::to_timestamp(time)), ..failed(id) }
    };
    // Two minutes apart, whatever order they come in; a wrong clock in the future is now.
    world.send(&payment, [at("a", -3600), at("b", 120)]).await;
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    world.send(&payment, [at("c", 100)]).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
}

#[tokio::test]
async fn a_window_moves_to_another_process_and_back() {
    let mut world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(4, 60))).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    for id in ["b", "c"] {
        // The newcomer gets its share of the partitions, then all of them.
        let newcomer = world.another_process().await;
        world.deps.lifecycle.stop().await.expect("a clean end");
        world.deps = newcomer;
        world.send(&payment, ["a", id].map(failed)).await;
        world.settle().await;
    }
    assert!(world.all_incidents().await.is_empty());
    let _other = world.another_process().await;
    world.send(&payment, [failed("d")]).await;
    world.settle().await;
    assert_eq!(world.all_incidents().await.len(), 1);
}
