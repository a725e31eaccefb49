//! Rules are compiled when they are saved.

use platform::error::Kind;
use platform::rpc;
use proto::incident::v1 as wire;

use crate::world::{World, charges, count, each, mask, ok, refused};

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
