//! Alerts: counted under their key, cooled down, paused, and resolving themselves.

use std::time::Duration;

use platform::testing::eventually;
use proto::incident::v1 as wire;
use proto::incident::v1::{AlertStatus, IncidentStatus, TimelineKind};

use crate::world::{SOON, World, charges, count, each, failed};

#[tokio::test]
async fn further_triggers_are_counted_and_open_nothing() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, each())).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    world.send(&payment, ["b", "c"].map(failed)).await;
    world.settle().await;

    let [alert] = &world.all_alerts().await[..] else { panic!("exactly one alert") };
    assert_eq!((alert.count, alert.status()), (3, AlertStatus::Firing));
    let [incident] = &world.all_incidents().await[..] else { panic!("exactly one incident") };
    let mut kinds = world.timeline_kinds(&incident.id).await;
    // An entry for each batch: on a busy machine both triggers have their own.
    kinds.dedup();
    assert_eq!(kinds, [TimelineKind::Created, TimelineKind::AlertAdded]);
    assert_eq!((incident.version, world.told().await.len()), (1, 1));
}

#[tokio::test]
async fn after_a_resolve_it_is_a_new_alert_and_a_new_incident() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, each())).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    let first = world.all_incidents().await[0].clone();
    world.resolve(&first.id).await;
    assert_eq!(world.all_alerts().await[0].status(), AlertStatus::Resolved);

    world.send(&payment, [failed("b")]).await;
    world.settle().await;
    let numbers: Vec<i64> = world.all_incidents().await.iter().map(|i| i.number).collect();
    assert_eq!((numbers, world.all_alerts().await.len()), (vec![1, 2], 2));
}

#[tokio::test]
async fn a_cooldown_holds_the_next_alert_back() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(wire::Rule { cooldown_ms: 60_000, ..charges(&payment, each()) }).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    world.resolve("1").await;
    world.send(&payment, [failed("b")]).await;
    world.settle().await;
    assert_eq!(world.all_alerts().await.len(), 1);
    world.db.advance(Duration::from_secs(61)).await;
    world.send(&payment, [failed("c")]).await;
    world.settle().await;
    assert_eq!(world.all_alerts().await.len(), 2);
}

#[tokio::test]
async fn a_paused_service_keeps_alerts_without_incidents() {
    let world = World::new().await;
    let mut payment = world.payment().await;
    world.create_rule(charges(&payment, each())).await;
    let until = world.db.source().now() + chrono::TimeDelta::seconds(60);
    payment.paused_until = Some(proto::time::to_timestamp(until));
    let payment = world.update_service(payment, &["paused_until"]).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    assert_eq!(world.all_alerts().await[0].incident_id, None);
    // People may open one all the same.
    world.create_incident(&payment).await;

    world.db.advance(Duration::from_secs(61)).await;
    world.send(&payment, [failed("b")]).await;
    world.settle().await;
    let incidents = world.all_incidents().await;
    assert_eq!(incidents.len(), 2);
    let alert = &world.all_alerts().await[0];
    assert_eq!((alert.count, alert.incident_id.as_ref()), (2, Some(&incidents[1].id)));
}

#[tokio::test]
async fn a_quiet_alert_resolves_itself_and_its_incident() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule { auto_resolve_ms: Some(60_000), ..charges(&payment, count(2, 60)) };
    world.create_rule(rule).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.settle().await;
    world.db.advance(Duration::from_secs(40)).await;
    // It does not fire, but it is not quiet either.
    world.send(&payment, [failed("c")]).await;
    world.settle().await;
    world.db.advance(Duration::from_secs(40)).await;
    world.settle().await;
    assert_eq!(world.incident("1").await.status(), IncidentStatus::Triggered);

    world.db.advance(Duration::from_secs(25)).await;
    let incident = eventually(SOON, async || {
        let incident = world.incident("1").await;
        (incident.status() == IncidentStatus::Resolved).then_some(incident)
    })
    .await;
    assert!(incident.auto_resolved);
    assert_eq!(incident.resolved_by.expect("an actor").name, "Charges fail");
    let kinds = world.timeline_kinds("1").await;
    let expected = [TimelineKind::Created, TimelineKind::AlertResolved, TimelineKind::Resolved];
    assert_eq!(kinds, expected);
    assert_eq!(world.all_alerts().await[0].status(), AlertStatus::Resolved);
    assert_eq!(
        world.number("SELECT count(*) FROM pulseops_incident.alerts WHERE due_at IS NOT NULL").await,
        0
    );
}

#[tokio::test]
async fn a_service_resolves_what_was_opened_by_hand_when_it_says_so() {
    let world = World::new().await;
    let service = wire::Service { auto_resolve_ms: Some(5_000), ..crate::world::service("orders") };
    let orders = world.create_service(service).await;
    let opened = world.create_incident(&orders).await;
    world.db.advance(Duration::from_secs(6)).await;
    eventually(SOON, async || {
        let incident = world.incident(&opened.id).await;
        (incident.status() == IncidentStatus::Resolved && incident.auto_resolved).then_some(())
    })
    .await;
}
