//! What the other steps do.

use platform::testing::eventually;
use proto::incident::v1::{IncidentStatus, timeline_entry::Data};
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{SOON, World, on_created};
use platform::testing::Receiver;

#[tokio::test]
async fn notes_waits_and_resolve() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let steps = vec![
        Kind::AddNote(pb::AddNoteStep { text: "looking at #{incident.number}".to_owned() }),
        Kind::Wait(pb::WaitStep { duration_ms: 100 }),
        Kind::Resolve(pb::ResolveStep { note: "it was nothing".to_owned() }),
        Kind::AddNote(pb::AddNoteStep { text: "after it".to_owned() }),
    ];
    world.workflow(on_created("first-aid", steps)).await;
    let incident = world.open(&service).await;
    let run = world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    let kinds: Vec<_> = run.steps.iter().map(|it| (it.kind.as_str(), it.outcome.as_str())).collect();
    let ok = "succeeded";
    assert_eq!(kinds, [("add_note", ok), ("wait", ok), ("resolve", ok), ("add_note", ok)]);

    let resolved = world.incident(&incident).await;
    assert_eq!(resolved.status(), IncidentStatus::Resolved);
    assert_eq!(resolved.resolved_by.expect("by whom").name, "first-aid");
    world.until(&incident, "built-in policy", pb::RunStatus::Cancelled).await;
    let notes: Vec<_> = world
        .timeline(&incident)
        .await
        .into_iter()
        .filter_map(|entry| match entry.data {
            Some(Data::Note(note)) => Some(note.text),
            _ => None,
        })
        .collect();
    assert!(notes.contains(&format!("looking at #{}", incident.number)), "{notes:?}");
    assert!(notes.contains(&"after it".to_owned()), "{notes:?}");
}

#[tokio::test]
async fn escalate_tells_the_next_level_at_once() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let second = world.channel("second", endpoint.url("second")).await;
    let level = |targets| pb::Level { targets, timeout_ms: 3_600_000 };
    let policy = pb::EscalationPolicy {
        slug: "slow".to_owned(),
        name: "Slow".to_owned(),
        levels: vec![level(vec![first]), level(vec![second])],
        ..pb::EscalationPolicy::default()
    };
    let message = pb::CreateEscalationPolicyRequest { escalation_policy: Some(policy) };
    let request = platform::rpc::request(&world.owner(), message);
    let policy = world.policies().create_escalation_policy(request).await.expect("created").into_inner();
    let service = world.service("payment", Some(&policy)).await;
    let steps = vec![
        Kind::Wait(pb::WaitStep { duration_ms: 300 }),
        Kind::Escalate(pb::EscalateStep { policy_id: None }),
    ];
    world.workflow(on_created("hurry", steps)).await;
    let incident = world.open(&service).await;
    eventually(SOON, async || (endpoint.hits().len() == 2).then_some(())).await;
    assert_eq!((endpoint.hits_of("/first").len(), endpoint.hits_of("/second").len()), (1, 1));
    let run = world.until(&incident, "hurry", pb::RunStatus::Succeeded).await;
    assert_eq!(run.steps[1].detail, "the next level is told now");
}

#[tokio::test]
async fn escalate_may_name_another_policy() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let other = world.channel("other", endpoint.url("other")).await;
    let policy = world.policy("other", vec![vec![other]], 0).await;
    let service = world.service("payment", None).await;
    let escalate = pb::EscalateStep { policy_id: Some(policy.id.clone()) };
    world.workflow(on_created("hurry", vec![Kind::Escalate(escalate)])).await;
    let incident = world.open(&service).await;
    let run = world.until(&incident, "Policy other", pb::RunStatus::Succeeded).await;
    assert_eq!(run.escalation_policy_id, Some(policy.id));
    assert_eq!(endpoint.hits_of("/other").len(), 1);
}

#[tokio::test]
async fn workflows_start_on_their_triggers_and_conditions_only() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let note = || vec![Kind::AddNote(pb::AddNoteStep { text: "x".to_owned() })];
    let on = |slug: &str, trigger: pb::TriggerEvent, condition: &str| pb::Workflow {
        triggers: vec![trigger.into()],
        condition: condition.to_owned(),
        ..on_created(slug, note())
    };
    use pb::TriggerEvent as T;
    world.workflow(on("severe", T::Created, "incident.severity == 'critical'")).await;
    world.workflow(on("mild", T::Created, "incident.severity == 'low'")).await;
    world.workflow(on("taken", T::Acknowledged, "incident.status == 'acknowledged'")).await;
    world.workflow(pb::Workflow { disabled: true, ..on("off", T::Created, "") }).await;
    let archived = world.workflow(on("gone", T::Created, "")).await;
    let message = pb::DeleteWorkflowRequest { id: archived.id };
    world
        .workflows()
        .delete_workflow(platform::rpc::request(&world.owner(), message))
        .await
        .expect("archived");

    let incident = world.open(&service).await;
    world.until(&incident, "severe", pb::RunStatus::Succeeded).await;
    world.acknowledge(&incident).await;
    world.until(&incident, "taken", pb::RunStatus::Succeeded).await;
    world.until_settled(&incident).await;
    let mut names: Vec<_> = world.runs(&incident).await.into_iter().map(|run| run.name).collect();
    names.sort();
    assert_eq!(names, ["built-in policy", "severe", "taken"]);
}
