//! Alerts: counted under their key, cooled down, paused, and resolving themselves.

use std::time::Duration;

use platform::testing::eventually;
use proto::events::v1::Event;
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
async fn an_alert_shows_the_event_that_fired_last() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule {
        auto_resolve_ms: Some(600_000),
        title: "{event.severity}: {event.value}".to_owned(),
        ..charges(&payment, count(2, 60))
    };
    world.create_rule(rule).await;
    let of = |id: &str, region: &str, value: Option<f64>| {
        let attributes = [("region".to_owned(), region.to_owned()), ("zero".to_owned(), "\0".to_owned())];
        Event { attributes: attributes.into(), value, ..failed(id) }
    };
    let shown = async || {
        let [alert] = &world.all_alerts().await[..] else { panic!("exactly one alert") };
        (alert.attributes["region"].clone(), alert.value, alert.attributes["zero"].clone(), alert.count)
    };
    world.send(&payment, [of("a", "us", None), of("b", "eu", Some(4.5))]).await;
    world.settle().await;
    assert_eq!(shown().await, ("eu".to_owned(), Some(4.5), "\u{FFFD}".to_owned(), 1));
    assert_eq!(world.all_alerts().await[0].title, "high: 4.5");
    // It keeps the alert from resolving itself, and does not fire.
    world.send(&payment, [of("c", "ap", Some(1.0))]).await;
    world.settle().await;
    assert_eq!(shown().await.0, "eu");
    world.send(&payment, [of("d", "sa", None)]).await;
    world.settle().await;
    assert_eq!(shown().await, ("sa".to_owned(), None, "\u{FFFD}".to_owned(), 2));
}

#[tokio::test]
async fn large_attributes_are_not_written_again_by_events_that_change_none() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule { auto_resolve_ms: Some(3_600_000), ..charges(&payment, count(2, 60)) };
    world.create_rule(rule).await;
    // Too large for the row, and nothing that compression makes small.
    let noise = || (0..128).map(|_| world.db.source().id().simple().to_string()).collect::<String>();
    let large: std::collections::BTreeMap<_, _> = (0..4).map(|n| (format!("a{n}"), noise())).collect();
    let event = |id: &str| Event { attributes: large.clone(), ..failed(id) };
    let aside =
        "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'pulseops_incident.alerts'::regclass";
    let aside: String = world.db.admin().await.query_one(aside, &[]).await.expect("a table").get(0);
    let written = format!("SELECT max(chunk_id::int8) FROM {aside}");
    world.send(&payment, ["a", "b"].map(event)).await;
    world.settle().await;
    let before = world.number(&written).await;
    // One only matches, the next fires with the same attributes.
    for id in ["c", "d"] {
        world.send(&payment, [event(id)]).await;
        world.settle().await;
    }
    assert_eq!(world.number(&written).await, before);
    let [alert] = &world.all_alerts().await[..] else { panic!("exactly one alert") };
    assert_eq!((alert.count, &alert.attributes), (2, &large));
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
    let until = world.db.source().now() + chrono::TimeDelta::seconds(600);
    payment.paused_until = Some(proto::time::to_timestamp(until));
    let payment = world.update_service(payment, &["paused_until"]).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    assert_eq!(world.all_alerts().await[0].incident_id, None);
    // People may open one all the same.
    world.create_incident(&payment).await;

    world.db.advance(Duration::from_secs(601)).await;
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
    let rule = wire::Rule { auto_resolve_ms: Some(600_000), ..charges(&payment, count(2, 60)) };
    world.create_rule(rule).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.settle().await;
    world.db.advance(Duration::from_secs(400)).await;
    // It does not fire, but it is not quiet either.
    world.send(&payment, [failed("c")]).await;
    world.settle().await;
    let due = "SELECT extract(epoch FROM due_at - started_at)::int8 FROM pulseops_incident.alerts";
    assert!(world.number(due).await >= 1_000);
    assert_eq!(world.incident("1").await.status(), IncidentStatus::Triggered);

    world.db.advance(Duration::from_secs(601)).await;
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

#[tokio::test]
async fn what_fired_in_a_pause_is_told_when_the_pause_is_over() {
    let world = World::new().await;
    let mut payment = world.payment().await;
    world.create_rule(charges(&payment, each())).await;
    let until = world.db.source().now() + chrono::TimeDelta::seconds(600);
    payment.paused_until = Some(proto::time::to_timestamp(until));
    let mut payment = world.update_service(payment, &["paused_until"]).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    world.db.advance(Duration::from_secs(300)).await;
    world.db.settle(SOON).await;
    assert!(world.all_incidents().await.is_empty());
    world.db.advance(Duration::from_secs(301)).await;
    let [incident] = &world.until_incidents(1).await[..] else { panic!("exactly one incident") };
    assert_eq!(incident.title, "Charges fail");
    assert_eq!(world.all_alerts().await[0].incident_id.as_ref(), Some(&incident.id));
    assert_eq!(world.timeline_kinds("1").await, [TimelineKind::Created]);
    world.resolve("1").await;

    // Ended before its time.
    let until = world.db.source().now() + chrono::TimeDelta::days(1);
    payment.paused_until = Some(proto::time::to_timestamp(until));
    let mut payment = world.update_service(payment, &["paused_until"]).await;
    world.send(&payment, [failed("b")]).await;
    world.settle().await;
    payment.paused_until = None;
    let mut payment = world.update_service(payment, &["paused_until"]).await;
    world.until_incidents(2).await;
    world.resolve("2").await;

    // What goes away in the pause tells nobody, and no more does what is archived.
    payment.paused_until = Some(proto::time::to_timestamp(until));
    let payment = world.update_service(payment, &["paused_until"]).await;
    world.send(&payment, [failed("c")]).await;
    world.settle().await;
    let delete = wire::DeleteServiceRequest { id: payment.id.clone() };
    let delete = platform::rpc::request(&world.owner(), delete);
    crate::world::ok(world.services().delete_service(delete).await);
    eventually(SOON, async || {
        let alerts = world.all_alerts().await;
        alerts.iter().all(|alert| alert.status() == AlertStatus::Resolved).then_some(())
    })
    .await;
    assert_eq!(world.all_incidents().await.len(), 2);
}

/// Seconds from the last trigger of the only alert to its due time.
async fn due_in(world: &World) -> Option<i64> {
    let sql = "SELECT extract(epoch FROM due_at - last_at)::int8 FROM pulseops_incident.alerts";
    world.db.admin().await.query_one(sql, &[]).await.expect("a query").get(0)
}

#[tokio::test]
async fn a_change_of_when_alerts_resolve_themselves_holds_for_open_ones() {
    let world = World::new().await;
    let mut payment = world.payment().await;
    let mut rule = world.create_rule(charges(&payment, each())).await;
    world.send(&payment, [failed("a")]).await;
    world.settle().await;
    assert_eq!(due_in(&world).await, None);

    payment.auto_resolve_ms = Some(600_000);
    let mut payment = world.update_service(payment, &["auto_resolve_ms"]).await;
    assert!(due_in(&world).await.is_some_and(|seconds| (600..1_200).contains(&seconds)));
    rule.auto_resolve_ms = Some(3_600_000);
    let mut rule = world.update_rule(rule, &["auto_resolve_ms"]).await;
    assert!(due_in(&world).await.is_some_and(|seconds| (3_600..4_200).contains(&seconds)));
    // The rule's own word goes before the service's, whatever that says.
    payment.auto_resolve_ms = Some(300_000);
    let mut payment = world.update_service(payment, &["auto_resolve_ms"]).await;
    world.send(&payment, [failed("b")]).await;
    world.settle().await;
    assert_eq!(due_in(&world).await, Some(3600));
    payment.auto_resolve_ms = None;
    world.update_service(payment, &["auto_resolve_ms"]).await;
    rule.auto_resolve_ms = None;
    world.update_rule(rule, &["auto_resolve_ms"]).await;
    assert_eq!(due_in(&world).await, None);
}

#[tokio::test]
async fn many_that_go_quiet_are_few_commits() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule {
        dedup_key: "{event.dedup_key}".to_owned(),
        auto_resolve_ms: Some(60_000),
        ..charges(&payment, each())
    };
    world.create_rule(rule).await;
    let event = |number: usize| Event { dedup_key: format!("order-{number}"), ..failed(&number.to_string()) };
    world.send(&payment, (0..250).map(event)).await;
    world.settle().await;
    world.db.advance(Duration::from_secs(61)).await;
    let open = "SELECT count(*) FROM pulseops_incident.incidents WHERE status <> 'resolved'";
    eventually(SOON, async || (world.number(open).await == 0).then_some(())).await;

    let commits = "SELECT count(DISTINCT xmin::text) FROM pulseops_incident.incidents";
    let commits = world.number(commits).await;
    // A hundred at most in each; a slice that two steps wanted at once may go one by one.
    assert!(commits <= 100, "{commits}");
    let kinds = "SELECT count(DISTINCT (incident_id, kind)) FROM pulseops_incident.timeline \
        WHERE kind IN ('created', 'alert_resolved', 'resolved')";
    assert_eq!(world.number(kinds).await, 750);
    let entries = "SELECT count(*) FROM pulseops_incident.timeline";
    assert_eq!(world.number(entries).await, 750);
    assert_eq!(world.told().await.len(), 500);
    let due = "SELECT count(*) FROM pulseops_incident.alerts WHERE due_at IS NOT NULL OR status = 'firing'";
    assert_eq!(world.number(due).await, 0);
    let incident = world.incident("250").await;
    assert!(incident.auto_resolved);
    assert_eq!(
        (incident.version, incident.resolved_by.expect("an actor").name.as_str()),
        (2, "Charges fail")
    );
}
