//! Escalations: levels, rounds, who is told when, and what ends it.

use platform::testing::eventually;
use proto::api::v1::{Target, TargetKind};
use proto::incident::v1::{TimelineKind, timeline_entry::Data};
use proto::workflow::v1 as pb;

use serde_json::Value;

use crate::world::{HOUR, SOON, World, on_created, triples, until_pages};
use platform::testing::{Hit, Receiver};

#[tokio::test]
async fn levels_are_told_in_turn_until_nobody_is_left() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let second = world.channel("second", endpoint.url("second")).await;
    let policy = world.policy("on-call", vec![vec![first], vec![second]], 1).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;

    let run = world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    assert_eq!(run.detail, "nobody acknowledged after 2 rounds");
    assert_eq!(run.escalation_policy_id.as_ref(), Some(&policy.id));
    assert!(run.due_at.is_none() && run.ended_at.is_some());
    let told = until_pages(&endpoint, 4).await;
    let in_turn = [(1, 1, "/first"), (1, 2, "/second"), (2, 1, "/first"), (2, 2, "/second")];
    assert_eq!(told, in_turn.map(|(round, level, path)| (round, level, path.to_owned())));
    assert_eq!(endpoint.distinct("webhook-id").len(), 4, "a key for each level and round");

    let steps = [
        ("1.1", "notify", "succeeded"),
        ("1.2", "notify", "succeeded"),
        ("2.1", "notify", "succeeded"),
        ("2.2", "notify", "succeeded"),
    ];
    assert_eq!(world.told_steps(&incident).await, triples(&steps));
    let escalations: Vec<_> = world
        .timeline(&incident)
        .await
        .into_iter()
        .filter_map(|entry| match entry.data {
            Some(Data::Escalation(it)) => Some((it.policy, it.round, it.level, it.told.len())),
            _ => None,
        })
        .collect();
    let name = || "Policy on-call".to_owned();
    assert_eq!(escalations, [(name(), 1, 2, 1), (name(), 2, 1, 1), (name(), 2, 2, 1)]);
    let notes: Vec<_> = world
        .timeline(&incident)
        .await
        .into_iter()
        .filter_map(|entry| match entry.data {
            Some(Data::Note(note)) => Some(note.text),
            _ => None,
        })
        .collect();
    assert_eq!(notes, ["nobody acknowledged after 2 rounds"]);
}

/// Round and level of a page's body.
fn place_of(hit: &Hit) -> (Value, Value) {
    let data = &hit.json()["data"];
    (data["round"].clone(), data["level"].clone())
}

#[tokio::test]
async fn a_workflows_message_is_of_no_level() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let service = world.service("payment", None).await;
    let step = pb::NotifyStep { targets: vec![only], message: "look".to_owned() };
    world.workflow(on_created("tell", vec![pb::step::Kind::Notify(step)])).await;
    world.open(&service).await;
    assert_eq!(place_of(&endpoint.nth("/only", 1).await), (Value::Null, Value::Null));
}

#[tokio::test]
async fn an_acknowledgement_ends_the_escalation() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let second = world.channel("second", endpoint.url("second")).await;
    let policy = world.slow_policy("on-call", vec![vec![first], vec![second]]).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    endpoint.nth("/first", 1).await;
    world.at_rest(&incident, "Policy on-call").await;
    world.acknowledge(&incident).await;

    let run = world.until(&incident, "Policy on-call", pb::RunStatus::Cancelled).await;
    assert_eq!(run.detail, "acknowledged by Test User");
    world.until_settled(&incident).await;
    let steps = [("1.1", "notify", "succeeded"), ("1.1", "wait", "cancelled")];
    assert_eq!(world.told_steps(&incident).await, triples(&steps));
    world.db.advance(HOUR).await;
    world.until_settled(&incident).await;
    assert_eq!(endpoint.hits_of("/second").len(), 0, "nobody else is told");
}

#[tokio::test]
async fn a_service_without_a_policy_and_a_team_still_reaches_somebody() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let incident = world.open(&service).await;
    let run = world.until(&incident, "built-in policy", pb::RunStatus::Succeeded).await;
    assert_eq!((run.escalation_policy_id, run.workflow_id), (None, None));
    assert_eq!(run.detail, "nobody acknowledged after 1 round");
    let kinds = world.kinds(&incident).await;
    let unreachable = kinds.iter().filter(|kind| **kind == TimelineKind::NobodyReachable).count();
    assert_eq!(unreachable, 2, "each level says so: {kinds:?}");
}

#[tokio::test]
async fn a_created_event_that_comes_twice_makes_one_run() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let policy = world.policy("on-call", vec![vec![only]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    endpoint.nth("/only", 1).await;

    // The whole log again, as after an append whose answer was lost.
    let bus = &world.deps.bus;
    let topic = workflow_service::consumers::INCIDENTS.name;
    let mut tail = bus.tail(topic, platform::bus::TailFrom::Start).await.expect("a tail");
    let batches = tail.poll(100, SOON).await.expect("records");
    let records: Vec<_> = batches.into_iter().flat_map(|it| it.records).map(|it| it.record).collect();
    assert!(!records.is_empty());
    bus.append(topic, &records).await.expect("appended again");
    world.acknowledge(&incident).await;
    let admin = world.db.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT status FROM pulseops_workflow.incident_states";
        let row = admin.query_one(sql, &[]).await.expect("one incident");
        (row.get::<_, &str>(0) == "acknowledged").then_some(())
    })
    .await;
    assert_eq!(world.runs(&incident).await.len(), 1);
    assert_eq!(endpoint.distinct("webhook-id").len(), 1);
}

#[tokio::test]
async fn a_reopened_incident_is_escalated_anew() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let policy = world.policy("on-call", vec![vec![only]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    endpoint.nth("/only", 1).await;
    world.acknowledge(&incident).await;
    world.until_settled(&incident).await;
    let cx = world.owner();
    let id = incident.id.clone();
    let resolve = proto::incident::v1::ResolveIncidentRequest { id: id.clone(), ..Default::default() };
    world.incidents().resolve_incident(platform::rpc::request(&cx, resolve)).await.expect("resolved");
    let reopen = proto::incident::v1::ReopenIncidentRequest { id, ..Default::default() };
    world.incidents().reopen_incident(platform::rpc::request(&cx, reopen)).await.expect("reopened");
    eventually(SOON, async || {
        let runs = world.runs(&incident).await;
        let ended = |run: &pb::Run| run.status() == pb::RunStatus::Succeeded;
        (runs.len() == 2 && ended(&runs[1])).then_some(())
    })
    .await;
    let pages = eventually(SOON, async || {
        let pages = endpoint.distinct("webhook-id").len();
        (pages >= 2).then_some(pages)
    });
    assert_eq!(pages.await, 2, "each escalation tells its level");
}

#[tokio::test]
async fn a_policy_keeps_the_levels_it_started_with() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let other = world.channel("other", endpoint.url("other")).await;
    let policy = world.slow_policy("on-call", vec![vec![first.clone()], vec![first]]).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    endpoint.nth("/first", 1).await;
    world.at_rest(&incident, "Policy on-call").await;
    let level = pb::Level { targets: vec![other], timeout_ms: 1_000 };
    let changed = pb::EscalationPolicy { levels: vec![level], ..policy.clone() };
    let message = pb::UpdateEscalationPolicyRequest {
        id: policy.id,
        escalation_policy: Some(changed),
        update_mask: Some(prost_types::FieldMask { paths: vec!["levels".to_owned()] }),
    };
    let request = platform::rpc::request(&world.owner(), message);
    world.policies().update_escalation_policy(request).await.expect("updated");
    world.db.advance(HOUR).await;
    let told = until_pages(&endpoint, 2).await;
    assert_eq!(told, [(1, 1, "/first".to_owned()), (1, 2, "/first".to_owned())]);
}

#[tokio::test]
async fn users_and_teams_that_do_not_exist_are_refused() {
    let world = World::new().await;
    let id = world.db.source().id().to_string();
    for kind in [TargetKind::User, TargetKind::Team, TargetKind::Channel] {
        let target = Target { kind: kind.into(), id: id.clone() };
        let policy = pb::EscalationPolicy {
            slug: "x".to_owned(),
            name: "X".to_owned(),
            levels: vec![pb::Level { targets: vec![target], timeout_ms: 1_000 }],
            ..pb::EscalationPolicy::default()
        };
        let message = pb::CreateEscalationPolicyRequest { escalation_policy: Some(policy) };
        let request = platform::rpc::request(&world.owner(), message);
        let refused = world.policies().create_escalation_policy(request).await.expect_err("refused");
        let error = platform::error::Error::from(refused);
        let faults: Vec<_> = error.fields.iter().map(|it| (it.field.as_str(), it.code)).collect();
        let expected = [("escalation_policy.levels[0].targets[0].id", "unknown_reference")];
        assert_eq!(faults, expected, "{kind:?}");
    }
}
