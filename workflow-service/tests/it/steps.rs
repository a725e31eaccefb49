//! What the other steps do.

use std::time::Duration;

use proto::api::v1::{Severity, Target, TargetKind, Urgency};
use proto::incident::v1::{Incident, IncidentStatus, timeline_entry::Data};
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{World, on_created, until_pages};
use platform::testing::Receiver;

#[tokio::test]
async fn notes_waits_and_resolve() {
    let world = World::new().await;
    let owners = Target { kind: TargetKind::Owners.into(), id: String::new() };
    let policy = world.slow_policy("on-call", vec![vec![owners]]).await;
    let service = world.service("payment", Some(&policy)).await;
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
    world.until(&incident, "Policy on-call", pb::RunStatus::Cancelled).await;
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

fn set_severity(severity: Severity) -> Kind {
    Kind::SetSeverity(pb::SetSeverityStep { severity: severity.into() })
}

/// Severities on the timeline, from and to.
async fn severities(world: &World, incident: &Incident) -> Vec<(String, String)> {
    let changes = world.timeline(incident).await.into_iter().filter_map(|entry| match entry.data {
        Some(Data::Change(changes)) => Some(changes.changes),
        _ => None,
    });
    changes.flatten().filter(|it| it.field == "severity").map(|it| (it.from, it.to)).collect()
}

#[tokio::test]
async fn the_severity_is_set_once_and_only_while_the_incident_is_open() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let resolve = Kind::Resolve(pb::ResolveStep { note: String::new() });
    let steps = vec![
        set_severity(Severity::Low),
        set_severity(Severity::Low),
        resolve,
        set_severity(Severity::Critical),
    ];
    world.workflow(on_created("calm-down", steps)).await;
    let incident = world.open(&service).await;
    let run = world.until(&incident, "calm-down", pb::RunStatus::Succeeded).await;
    let details: Vec<_> = run.steps.iter().map(|it| (it.kind.as_str(), it.detail.as_str())).collect();
    let expected = [
        ("set_severity", "the severity is low"),
        ("set_severity", "the severity is low"),
        ("resolve", "resolved"),
        ("set_severity", "nothing to set: the incident is resolved"),
    ];
    assert_eq!(details, expected);
    let after = world.incident(&incident).await;
    assert_eq!((after.severity(), after.urgency()), (Severity::Low, Urgency::Low));
    assert_eq!(severities(&world, &incident).await, [("critical".to_owned(), "low".to_owned())]);
    let told = world.told_steps(&incident).await;
    assert_eq!(told.iter().filter(|it| it.1 == "set_severity" && it.2 == "succeeded").count(), 3);
}

#[tokio::test]
async fn escalate_tells_the_next_level_at_once() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let second = world.channel("second", endpoint.url("second")).await;
    let policy = world.slow_policy("slow", vec![vec![first], vec![second]]).await;
    let service = world.service("payment", Some(&policy)).await;
    // Shorter than the level, longer than any test.
    let steps = vec![
        Kind::Wait(pb::WaitStep { duration_ms: 1_800_000 }),
        Kind::Escalate(pb::EscalateStep { policy_id: None }),
    ];
    world.workflow(on_created("hurry", steps)).await;
    let incident = world.open(&service).await;
    endpoint.nth("/first", 1).await;
    world.at_rest(&incident, "Policy slow").await;
    world.at_rest(&incident, "hurry").await;
    world.db.advance(Duration::from_secs(1_801)).await;
    let told = until_pages(&endpoint, 2).await;
    assert_eq!(told, [(1, 1, "/first".to_owned()), (1, 2, "/second".to_owned())]);
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
    endpoint.nth("/other", 1).await;
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
