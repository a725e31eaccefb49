//! Rules are compiled when they are saved.

use incident_service::consumers::{RULES, Rules};
use platform::bus::Delivered;
use platform::consumer::{BatchCtx, Handler};
use platform::error::Kind;
use platform::rpc;
use proto::incident::v1 as wire;

use crate::world::{World, charges, count, each, failed, mask, ok, refused, service};

#[tokio::test]
async fn a_bad_rule_is_pointed_at() {
    let world = World::new().await;
    let payment = world.payment().await;
    let bad = wire::Rule {
        selection: "event.name == 'x' && evnt.value > 3".to_owned(),
        dedup_key: "{nonsense}".to_owned(),
        ..charges(&payment, each())
    };
    let message = wire::CreateRuleRequest { rule: Some(bad) };
    let error = refused(world.rules().create_rule(rpc::request(&world.owner(), message)).await);
    assert_eq!(error.kind, Kind::Invalid);
    let faults: Vec<(&str, &str)> = error.fields.iter().map(|f| (f.field.as_str(), f.code)).collect();
    assert_eq!(faults, [("rule.selection", "invalid_expression"), ("rule.dedup_key", "invalid_template")]);
    assert!(error.fields[0].detail.starts_with("line 1, column 22:"), "{}", error.fields[0].detail);
}

#[tokio::test]
async fn a_group_is_by_names_of_attributes() {
    let world = World::new().await;
    let payment = world.payment().await;
    let by = |names: &[&str]| {
        let group_by = names.iter().map(|&name| name.to_owned()).collect();
        let rule = Some(wire::Rule { group_by, ..charges(&payment, each()) });
        rpc::request(&world.owner(), wire::CreateRuleRequest { rule })
    };
    let bad = by(&["host", "attributes.region", "event.attributes.zone"]);
    let error = refused(world.rules().create_rule(bad).await);
    let faults: Vec<&str> = error.fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!((error.kind, faults), (Kind::Invalid, vec!["rule.group_by[1]", "rule.group_by[2]"]));
    assert!(error.fields[0].detail.ends_with("write region"), "{}", error.fields[0].detail);
    ok(world.rules().create_rule(by(&["host", "http.status"])).await);
}

#[tokio::test]
async fn a_rule_is_made_read_changed_and_archived() {
    let world = World::new().await;
    let payment = world.payment().await;
    let made = world.create_rule(charges(&payment, count(3, 60))).await;
    let get = wire::GetRuleRequest { id: made.id.clone() };
    assert_eq!(ok(world.rules().get_rule(rpc::request(&world.owner(), get.clone())).await), made);
    let twice = wire::CreateRuleRequest { rule: Some(charges(&payment, each())) };
    let error = refused(world.rules().create_rule(rpc::request(&world.owner(), twice)).await);
    assert_eq!((error.kind, error.code), (Kind::Conflict, "already_exists"));

    let changed = wire::Rule { name: "Charges".to_owned(), selection: "((".to_owned(), ..made.clone() };
    let changed = world.update_rule(changed, &["name"]).await;
    assert_eq!((changed.name.as_str(), &changed.selection, changed.version), ("Charges", &made.selection, 2));
    let stale = wire::UpdateRuleRequest {
        id: made.id.clone(),
        rule: Some(made.clone()),
        update_mask: Some(mask(&["name"])),
    };
    let mut stale = rpc::request(&world.owner(), stale);
    stale.metadata_mut().insert("if-match", "1".parse().expect("ascii"));
    assert_eq!(refused(world.rules().update_rule(stale).await).code, "version_mismatch");

    for _ in 0..2 {
        let delete = wire::DeleteRuleRequest { id: made.id.clone() };
        ok(world.rules().delete_rule(rpc::request(&world.owner(), delete)).await);
    }
    let archived = ok(world.rules().get_rule(rpc::request(&world.owner(), get)).await);
    assert_eq!((archived.archived_at.is_some(), archived.version), (true, 3));
    let list = async |archived: bool| {
        let request = wire::ListRulesRequest { archived, ..Default::default() };
        ok(world.rules().list_rules(rpc::request(&world.owner(), request)).await).items.len()
    };
    assert_eq!((list(false).await, list(true).await), (0, 1));
    let again = wire::CreateRuleRequest { rule: Some(charges(&payment, each())) };
    let error = refused(world.rules().create_rule(rpc::request(&world.owner(), again)).await);
    assert_eq!((error.kind, error.code), (Kind::Conflict, "already_exists"));
    assert!(error.detail.starts_with("an archived rule has this slug"), "{}", error.detail);
}

#[tokio::test]
async fn a_rule_can_be_tried_without_saving_it() {
    let world = World::new().await;
    let sample = |name: &str| wire::SampleEvent { name: name.to_owned(), ..Default::default() };
    let request = wire::ValidateRuleRequest {
        selection: "event.name in ['a', 'b']".to_owned(),
        events: vec![sample("a"), sample("c")],
        ..Default::default()
    };
    let answer = ok(world.rules().validate_rule(rpc::request(&world.owner(), request)).await);
    assert_eq!(answer.event_names, ["a", "b"]);
    assert_eq!(answer.selected, [true, false]);
    let bad = wire::ValidateRuleRequest { selection: "1 + 1".to_owned(), ..Default::default() };
    let error = refused(world.rules().validate_rule(rpc::request(&world.owner(), bad)).await);
    assert_eq!((error.fields[0].field.as_str(), error.fields[0].code), ("selection", "invalid_expression"));
}

#[tokio::test]
async fn trying_a_rule_costs_no_more_than_its_limits() {
    let world = World::new().await;
    let attributes = |count: usize| (0..count).map(|n| (format!("a{n}"), String::new())).collect();
    let sample = |count: usize| wire::SampleEvent {
        name: "a".to_owned(),
        attributes: attributes(count),
        ..Default::default()
    };
    let request = |selection: &str, events: Vec<wire::SampleEvent>| {
        let selection = selection.to_owned();
        let message = wire::ValidateRuleRequest { selection, events, ..Default::default() };
        rpc::request(&world.owner(), message)
    };
    let refused = async |selection: &str, events: Vec<wire::SampleEvent>| {
        let error = refused(world.rules().validate_rule(request(selection, events)).await);
        (error.fields[0].field.clone(), error.fields[0].code)
    };
    let all_in_all = "event.attributes.all(a, event.attributes.all(b, a != b && a.size() > b.size()))";
    assert_eq!(refused(all_in_all, vec![]).await, ("selection".to_owned(), "invalid_expression"));
    let endless = format!("1 == 1{}", "+1".repeat(2000));
    assert_eq!(refused(&endless, vec![]).await, ("selection".to_owned(), "invalid_expression"));
    let (field, _) = refused("event.name == 'a'", vec![sample(129)]).await;
    assert!(field.starts_with("events[0].attributes"), "{field}");
    let dear = "event.attributes.all(a, ['x', 'y', 'z', 'v', 'w'].all(b, !a.endsWith(b)))";
    let dear = [dear; 4].join(" && ");
    assert_eq!(refused(&dear, vec![sample(1); 100]).await, ("events".to_owned(), "too_many"));
    let few = world.rules().validate_rule(request(&dear, vec![sample(128); 10])).await;
    assert_eq!(ok(few).selected, [true; 10]);
}

#[tokio::test]
async fn a_service_has_so_many_rules_at_most() {
    let world = World::new().await;
    let payment = world.payment().await;
    world.create_rule(charges(&payment, each())).await;
    assert_eq!(copied(&world, 498).await, 498);
    let create = async |slug: &str| {
        let rule = wire::Rule { slug: slug.to_owned(), ..charges(&payment, each()) };
        let message = wire::CreateRuleRequest { rule: Some(rule) };
        world.rules().create_rule(rpc::request(&world.owner(), message)).await
    };
    ok(create("the-last").await);
    let error = refused(create("too-many").await);
    assert_eq!((error.fields[0].field.as_str(), error.fields[0].code), ("rule.service_id", "too_many_rules"));
}

#[tokio::test]
async fn the_rules_of_a_service_have_a_cost_together() {
    let world = World::new().await;
    let payment = world.payment().await;
    let dear = "event.attributes.exists(a, event.attributes[a].contains('x'))";
    let dear = [dear; 4].join(" || ");
    let selecting = |slug: &str| wire::Rule {
        slug: slug.to_owned(),
        selection: dear.clone(),
        ..charges(&payment, each())
    };
    let create = async |rule: wire::Rule| {
        let message = wire::CreateRuleRequest { rule: Some(rule) };
        world.rules().create_rule(rpc::request(&world.owner(), message)).await
    };
    let mut made = vec![ok(create(selecting("dear-0")).await)];
    let error = loop {
        match create(selecting(&format!("dear-{}", made.len()))).await {
            Ok(rule) => made.push(rule.into_inner()),
            Err(status) => break platform::error::Error::from(status),
        }
        assert!(made.len() < 40, "never refused");
    };
    let fault = &error.fields[0];
    assert_eq!((fault.field.as_str(), fault.code), ("rule.selection", "too_expensive"));
    assert!(fault.detail.contains("of 1500000"), "{}", fault.detail);

    let reserve = ok(create(wire::Rule { disabled: true, ..selecting("in-reserve") }).await);
    let set = async |rule: &wire::Rule, disabled: bool| {
        let request = wire::UpdateRuleRequest {
            id: rule.id.clone(),
            rule: Some(wire::Rule { disabled, ..rule.clone() }),
            update_mask: Some(mask(&["disabled"])),
        };
        world.rules().update_rule(rpc::request(&world.owner(), request)).await
    };
    assert_eq!(refused(set(&reserve, false).await).fields[0].code, "too_expensive");
    ok(set(&made[0], true).await);
    ok(set(&reserve, false).await);
}

/// A selection of so many characters that costs little to evaluate.
fn long(characters: usize) -> String {
    let one = "event.id == 'a' || ";
    let mut selection = one.repeat((characters - 13) / one.len());
    selection += "event.id == 'b";
    selection += &"c".repeat(characters - selection.len() - 1);
    selection + "'"
}

#[tokio::test]
async fn the_rules_of_a_service_have_a_length_together() {
    let world = World::new().await;
    let payment = world.payment().await;
    let selecting = |slug: &str, characters: usize| wire::Rule {
        slug: slug.to_owned(),
        selection: long(characters),
        ..charges(&payment, each())
    };
    let create = async |rule: wire::Rule| {
        let message = wire::CreateRuleRequest { rule: Some(rule) };
        world.rules().create_rule(rpc::request(&world.owner(), message)).await
    };
    let made = ok(create(selecting("long", 4_096)).await);
    assert_eq!(copied(&world, 14).await, 14);
    ok(create(selecting("almost", 4_095)).await);
    let error = refused(create(selecting("too-long", 2_000)).await);
    let fault = &error.fields[0];
    assert_eq!((fault.field.as_str(), fault.code), ("rule.selection", "too_long_together"));
    assert!(fault.detail.contains("leave 1 of 65536"), "{}", fault.detail);
    ok(create(wire::Rule { disabled: true, ..selecting("in-reserve", 4_096) }).await);
    // Others may be changed, if they do not grow.
    world.update_rule(wire::Rule { name: "Long".to_owned(), ..made.clone() }, &["name"]).await;
    world.update_rule(wire::Rule { selection: long(2_000), ..made }, &["selection"]).await;
    ok(create(selecting("there-is-room-again", 2_000)).await);
}

#[tokio::test]
async fn the_rules_of_an_organization_have_a_length_together() {
    let world = World::new().await;
    let create = async |service: &wire::Service, slug: &str, characters: usize| {
        let (slug, selection) = (slug.to_owned(), long(characters));
        let rule = Some(wire::Rule { slug, selection, ..charges(service, each()) });
        world.rules().create_rule(rpc::request(&world.owner(), wire::CreateRuleRequest { rule })).await
    };
    let mut services = Vec::new();
    for slug in ["a", "b", "c"] {
        services.push(world.create_service(service(slug)).await);
    }
    let [large, small, fresh] = &services[..] else { panic!("three services") };
    ok(create(large, "large", 4_096).await);
    // More than a service may have by itself: what counts here is the organization.
    assert_eq!(copied(&world, 510).await, 510);
    let made = ok(create(small, "small", 4_000).await);
    let pattern = "event.name.matches('x')".to_owned();
    let rule = wire::Rule { slug: "pattern".to_owned(), selection: pattern, ..charges(fresh, each()) };
    let rule = wire::CreateRuleRequest { rule: Some(rule) };
    let error = refused(world.rules().create_rule(rpc::request(&world.owner(), rule)).await);
    assert!(
        error.fields[0].detail.starts_with("this counts as 368 characters"),
        "{}",
        error.fields[0].detail
    );
    ok(create(fresh, "almost", 95).await);
    let error = refused(create(fresh, "too-long", 20).await);
    let fault = &error.fields[0];
    assert_eq!((fault.field.as_str(), fault.code), ("rule.selection", "too_long_together"));
    assert!(fault.detail.contains("organization's enabled rules leave 1 of 2097152"), "{}", fault.detail);
    let grown = wire::UpdateRuleRequest {
        id: made.id.clone(),
        rule: Some(wire::Rule { selection: long(4_002), ..made.clone() }),
        update_mask: Some(mask(&["selection"])),
    };
    let error = refused(world.rules().update_rule(rpc::request(&world.owner(), grown)).await);
    assert_eq!(error.fields[0].code, "too_long_together");
    world.update_rule(wire::Rule { selection: long(3_900), ..made }, &["selection"]).await;
    ok(create(fresh, "in-its-place", 100).await);
    // What an archived service has is not compiled.
    let archive = wire::DeleteServiceRequest { id: large.id.clone() };
    ok(world.services().delete_service(rpc::request(&world.owner(), archive)).await);
    ok(create(fresh, "there-is-room-again", 4_096).await);
}

/// Makes so many copies of every rule, under other ids and slugs.
pub async fn copied(world: &World, times: i32) -> u64 {
    let copies = format!(
        "INSERT INTO pulseops_incident.rules SELECT (jsonb_populate_record(r, jsonb_build_object( \
        'id', gen_random_uuid(), 'slug', r.slug || '-' || n))).* FROM pulseops_incident.rules r, generate_series(1, {times}) n"
    );
    world.db.admin().await.execute(&copies, &[]).await.expect("copied")
}

#[tokio::test]
async fn a_batch_that_takes_too_long_ends_early() {
    let world = World::new().await;
    let payment = world.payment().await;
    let dear = ["event.attributes.exists(a, event.attributes[a].contains('nothing'))"; 4].join(" || ");
    for slug in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let (slug, selection) = (slug.to_owned(), dear.clone());
        world.create_rule(wire::Rule { slug, selection, ..charges(&payment, each()) }).await;
    }
    let now = world.db.source().now();
    let delivered = |offset: i64| {
        let attributes = (0..128).map(|n| (format!("a{n}"), "something".to_owned())).collect();
        let event = proto::events::v1::Event { attributes, ..failed(&offset.to_string()) };
        Delivered { partition: 0, offset, record: world.record(&payment, event, now) }
    };
    let batch: Vec<Delivered> = (0..500).map(delivered).collect();
    let cx = BatchCtx {
        consumer: RULES,
        service: incident_service::NAME,
        topic: incident_service::EVENTS.name,
        partition: 0,
        epoch: 1,
        now,
        replay: false,
        source: world.db.source().clone(),
    };
    let rules = Rules::new(chrono::TimeDelta::seconds(300));
    let mut tx = world.db.db("incident").begin_system("test").await.expect("a transaction");
    // However long the machine takes between two statements.
    let patient = "SET LOCAL idle_in_transaction_session_timeout = 0";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(patient), &mut *tx).await.expect("set");
    let taken = rules.handle(&cx, &mut tx, &batch).await.expect("handled").taken(batch.len());
    assert!((1..500).contains(&taken), "{taken} of 500");
}
