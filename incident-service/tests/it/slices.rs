//! Many at once: one statement a table, few commits.

use std::collections::BTreeMap;

use futures::future::join_all;
use platform::ctx::Ctx;
use platform::rpc;
use proto::events::v1::Event;
use proto::incident::v1 as wire;

use crate::world::{World, charges, count, draft, each, failed, ok, record};

#[tokio::test]
async fn numbers_have_no_gaps_however_many_open_at_once() {
    let world = World::new().await;
    let payment = world.payment().await;
    let owner = world.owner();
    let message = || wire::CreateIncidentRequest { incident: Some(draft(&payment)) };
    let opened = join_all((0..12).map(|_| async {
        ok(world.incidents().create_incident(rpc::request(&owner, message())).await).number
    }))
    .await;
    let mut numbers = opened;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12).collect::<Vec<i64>>());
}

#[tokio::test]
async fn of_many_acknowledgements_one_counts() {
    let world = World::new().await;
    world.create_incident(&world.payment().await).await;
    let owner = world.owner();
    let answers = join_all((0..8).map(|_| async {
        let message = wire::AcknowledgeIncidentRequest { id: "1".to_owned(), note: String::new() };
        ok(world.incidents().acknowledge_incident(rpc::request(&owner, message)).await).version
    }))
    .await;
    assert_eq!(answers, [2; 8]);
    assert_eq!(world.timeline("1").await.len(), 2);
}

#[tokio::test]
async fn people_resolve_while_events_pour_in() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, each())).await;
    for round in 0..20 {
        let events = (0..5).map(|event| failed(&format!("{round}-{event}")));
        let resolve = async {
            for incident in world.all_incidents().await {
                world.resolve(&incident.id).await;
            }
        };
        tokio::join!(world.send(&payment, events), resolve);
    }
    world.settle().await;
    // Every firing is counted, each in one alert, and no alert is open under a resolved incident.
    assert_eq!(world.number("SELECT sum(count)::int8 FROM pulseops_incident.alerts").await, 100);
    let torn = "SELECT count(*) FROM pulseops_incident.alerts a \
        JOIN pulseops_incident.incidents i ON i.org_id = a.org_id AND i.id = a.incident_id \
        WHERE (a.status = 'resolved') <> (i.status = 'resolved')";
    assert_eq!(world.number(torn).await, 0);
    assert_eq!(world.number("SELECT count(*) FROM pulseops_bus.dead_letters").await, 0);
}

#[tokio::test]
async fn five_hundred_incidents_are_few_commits() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule { dedup_key: "{attributes.order}".to_owned(), ..charges(&payment, each()) };
    world.create_rule(rule).await;
    let event = |number: usize| Event {
        attributes: BTreeMap::from([("order".to_owned(), format!("order-{number}"))]),
        ..failed(&format!("event-{number}"))
    };
    world.send(&payment, (0..500).map(event)).await;
    world.settle().await;

    // One, unless the machine was so busy that the batch was cut.
    let sql = "SELECT count(DISTINCT xmin::text) FROM pulseops_incident.incidents";
    let commits = world.number(sql).await;
    assert!(commits <= 50, "{commits}");
    assert_eq!(world.number("SELECT count(*) FROM pulseops_incident.incidents").await, 500);
    let sql = "SELECT max(number) - min(number) FROM pulseops_incident.incidents";
    assert_eq!(world.number(sql).await, 499);
    let sql = "SELECT count(*) FROM pulseops_incident.timeline WHERE kind = 'created'";
    assert_eq!(world.number(sql).await, 500);
    assert_eq!(world.number("SELECT last FROM pulseops_incident.incident_counters").await, 500);
    assert_eq!(world.told().await.len(), 500);
}

#[tokio::test]
async fn events_of_several_services_keep_apart() {
    let world = World::new().await;
    let (payment, orders) =
        (world.payment().await, world.create_service(crate::world::service("orders")).await);
    world.create_rule(charges(&payment, count(3, 60))).await;
    let rule = wire::Rule { slug: "orders".to_owned(), ..charges(&orders, count(2, 60)) };
    world.create_rule(rule).await;
    world.send(&payment, ["a", "b"].map(failed)).await;
    world.send(&orders, ["a", "b"].map(failed)).await;
    world.settle().await;
    let [incident] = &world.all_incidents().await[..] else { panic!("exactly one incident") };
    assert_eq!(incident.service_id, orders.id);
}

/// Nothing tells these organizations apart but their ids.
#[tokio::test]
async fn organizations_keep_apart_in_one_batch() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, count(3, 60))).await;
    let theirs = world.stranger();
    let admin = world.db.admin().await;
    for table in ["services", "rules", "rule_sets"] {
        let table = format!("pulseops_incident.{table}");
        let copy = format!(
            "INSERT INTO {table} \
             SELECT (jsonb_populate_record(t, jsonb_build_object('org_id', '{}'))).* FROM {table} t",
            theirs.org
        );
        admin.execute(&copy, &[]).await.expect("copied");
    }
    let now = world.db.source().now();
    let (ours, of) = (world.owner(), |cx: &Ctx, id: &str| record(cx, &payment, failed(id), now));
    // One key, so one partition and one batch.
    let mixed = [of(&ours, "a"), of(&theirs, "a"), of(&ours, "b"), of(&theirs, "b"), of(&theirs, "c")];
    world.deps.bus.append(incident_service::EVENTS.name, &mixed).await.expect("appended");
    world.settle().await;
    assert!(world.all_incidents().await.is_empty());
    let of_theirs = async |what: &str, table: &str| {
        let sql = format!("SELECT {what} FROM pulseops_incident.{table} WHERE org_id = '{}'", theirs.org);
        world.number(&sql).await
    };
    assert_eq!(of_theirs("sum(number)::int8", "incidents").await, 1);
    assert_eq!(of_theirs("count(*)", "seen_events").await, 3);

    let mixed = [of(&theirs, "c"), of(&ours, "c"), of(&theirs, "d"), of(&theirs, "e"), of(&theirs, "f")];
    world.deps.bus.append(incident_service::EVENTS.name, &mixed).await.expect("appended");
    world.settle().await;
    let [incident] = &world.all_incidents().await[..] else { panic!("exactly one incident") };
    assert_eq!(incident.number, 1);
    assert_eq!(world.all_alerts().await[0].count, 1);
    assert_eq!(of_theirs("sum(count)::int8", "alerts").await, 2);
    assert_eq!(of_theirs("count(*)", "incidents").await, 1);
    assert_eq!(of_theirs("count(*)", "windows").await, 1);
    let told = world.told().await;
    let mut orgs: Vec<_> = told.iter().map(|(record, _)| record.record.envelope.org).collect();
    orgs.sort_unstable();
    let mut expected = vec![world.org, theirs.org];
    expected.sort_unstable();
    assert_eq!(orgs, expected);
}

#[tokio::test]
async fn whatever_stands_in_an_event_pages_somebody() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule { title: "{attributes.message}".to_owned(), ..charges(&payment, each()) };
    let grouped = vec!["message".to_owned(), "host".to_owned()];
    world.create_rule(wire::Rule { group_by: grouped, ..rule }).await;
    let event = |id: &str, attributes: &[(&str, &str)]| Event {
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..failed(id)
    };
    let events = [
        event("a", &[("message", "no\0such\nfile"), ("host", "x")]),
        event("b", &[]),
        event("c", &[("message", "a,b"), ("host", "c")]),
        event("d", &[("message", "a"), ("host", "b,c")]),
    ];
    world.send(&payment, events).await;
    world.settle().await;
    let titles: Vec<String> = world.all_incidents().await.into_iter().map(|i| i.title).collect();
    assert_eq!(titles, ["no\u{FFFD}such file", "Charges fail", "a,b", "a"]);
    assert_eq!(world.number("SELECT count(*) FROM pulseops_bus.dead_letters").await, 0);
}

#[tokio::test]
async fn events_of_an_unknown_service_are_left_out() {
    let world = World::new().await;
    let mut nobody = world.payment().await;
    nobody.id = uuid::Uuid::from_u128(7).to_string();
    world.send(&nobody, ["a", "b"].map(failed)).await;
    world.settle().await;
    assert_eq!(world.number("SELECT count(*) FROM pulseops_bus.dead_letters").await, 0);
}

#[tokio::test]
async fn each_group_has_its_window() {
    let world = World::new().await;
    let payment = world.payment().await;
    let rule = wire::Rule {
        group_by: vec!["region".to_owned()],
        title: "Charges fail in {attributes.region}".to_owned(),
        ..charges(&payment, count(2, 60))
    };
    world.create_rule(rule).await;
    let of = |id: &str, region: &str| Event {
        attributes: BTreeMap::from([("region".to_owned(), region.to_owned())]),
        ..failed(id)
    };
    world.send(&payment, [of("a", "eu"), of("b", "us"), of("c", "ap"), of("d", "us")]).await;
    world.settle().await;
    let [incident] = &world.all_incidents().await[..] else { panic!("exactly one incident") };
    assert_eq!(incident.title, "Charges fail in us");
    assert_eq!(world.all_alerts().await[0].dedup_key, "charges-fail:us");
}
