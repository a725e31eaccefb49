//! What automation does, with service tokens only.

use platform::ctx::Ctx;
use platform::error::Kind;
use platform::rpc;
use proto::api::v1::{Actor, ActorKind, Severity};
use proto::incident::v1 as wire;
use proto::incident::v1::record_step_request::Data;
use proto::incident::v1::{IncidentStatus, TimelineKind};

use crate::world::{World, ok, refused};

fn runbook() -> Option<Actor> {
    let id = uuid::Uuid::from_u128(5).to_string();
    Some(Actor { kind: ActorKind::Workflow.into(), id, name: "Retry charges".to_owned() })
}

fn step(incident: &str) -> wire::RecordStepRequest {
    let data =
        wire::StepData { kind: "http".to_owned(), outcome: "retrying".to_owned(), ..Default::default() };
    wire::RecordStepRequest {
        incident_id: incident.to_owned(),
        kind: TimelineKind::Step.into(),
        actor: runbook(),
        at: None,
        data: Some(Data::Step(data)),
    }
}

fn escalate(incident: &str, level: i32) -> wire::EscalateIncidentRequest {
    let escalation = wire::EscalationData { level, round: 1, ..Default::default() };
    wire::EscalateIncidentRequest {
        incident_id: incident.to_owned(),
        actor: runbook(),
        escalation: Some(escalation),
    }
}

fn keyed<M>(cx: &Ctx, key: &str, message: M) -> tonic::Request<M> {
    rpc::keyed(cx, key, message).expect("a key")
}

#[tokio::test]
async fn automation_must_send_a_key() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let (workflow, id) = (world.workflow(), incident.id.clone());
    let severity = wire::SetSeverityRequest {
        incident_id: id.clone(),
        actor: runbook(),
        severity: Severity::Low.into(),
    };
    let resolve =
        wire::ResolveByAutomationRequest { incident_id: id.clone(), actor: runbook(), note: String::new() };
    let mut responses = world.responses();
    let errors = [
        refused(responses.record_step(rpc::request(&workflow, step(&id))).await),
        refused(responses.escalate_incident(rpc::request(&workflow, escalate(&id, 1))).await),
        refused(responses.set_severity(rpc::request(&workflow, severity)).await),
        refused(responses.resolve_by_automation(rpc::request(&workflow, resolve)).await),
    ];
    for error in errors {
        assert_eq!((error.kind, error.code), (Kind::Invalid, "idempotency_key_required"));
    }
    assert_eq!((world.incident(&id).await, world.timeline(&id).await.len()), (incident, 1));
}

#[tokio::test]
async fn steps_are_recorded_once_under_their_key() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let workflow = world.workflow();
    for _ in 0..2 {
        ok(world.responses().record_step(keyed(&workflow, "run-1/0/1", step(&incident.id))).await);
    }
    let entries = world.timeline(&incident.id).await;
    assert_eq!((entries.len(), entries[1].kind()), (2, TimelineKind::Step));
    assert_eq!(entries[1].actor.as_ref().expect("an actor").name, "Retry charges");
    assert_eq!(world.incident(&incident.id).await.version, 1);

    let wrong = wire::RecordStepRequest { kind: TimelineKind::Resolved.into(), ..step(&incident.id) };
    let error = refused(world.responses().record_step(keyed(&workflow, "wrong", wrong)).await);
    assert_eq!(error.fields[0].field, "kind");
}

#[tokio::test]
async fn escalation_ends_with_the_acknowledgement() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let workflow = world.workflow();
    let state =
        ok(world.responses().escalate_incident(keyed(&workflow, "1", escalate(&incident.id, 1))).await);
    assert_eq!((state.status(), state.version), (IncidentStatus::Triggered, 2));

    let taken = wire::AcknowledgeIncidentRequest { id: incident.id.clone(), note: String::new() };
    ok(world.incidents().acknowledge_incident(rpc::request(&world.owner(), taken)).await);
    let state =
        ok(world.responses().escalate_incident(keyed(&workflow, "2", escalate(&incident.id, 2))).await);
    assert_eq!((state.status(), state.version), (IncidentStatus::Acknowledged, 3));
    let told = world.told().await;
    let escalated: Vec<i32> =
        told.iter().filter_map(|(_, event)| event.escalation.as_ref()).map(|e| e.level).collect();
    assert_eq!(escalated, [1]);
}

#[tokio::test]
async fn automation_sets_the_severity_and_resolves() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let workflow = world.workflow();
    let worse = wire::SetSeverityRequest {
        incident_id: incident.id.clone(),
        actor: runbook(),
        severity: Severity::Critical.into(),
    };
    ok(world.responses().set_severity(keyed(&workflow, "worse", worse)).await);
    let resolve = wire::ResolveByAutomationRequest {
        incident_id: incident.id.clone(),
        actor: runbook(),
        note: "retried".to_owned(),
    };
    for key in ["1", "2"] {
        let request = keyed(&workflow, key, resolve.clone());
        let state = ok(world.responses().resolve_by_automation(request).await);
        assert_eq!((state.status(), state.version), (IncidentStatus::Resolved, 3));
    }
    // What was resolved stays as it was resolved.
    let late = wire::SetSeverityRequest {
        incident_id: incident.id.clone(),
        actor: runbook(),
        severity: Severity::Low.into(),
    };
    let state = ok(world.responses().set_severity(keyed(&workflow, "late", late)).await);
    assert_eq!((state.status(), state.version), (IncidentStatus::Resolved, 3));
    let incident = world.incident(&incident.id).await;
    assert_eq!(incident.severity(), Severity::Critical);
    assert!(incident.auto_resolved);
    assert_eq!(incident.resolved_by, runbook());
    let unknown = uuid::Uuid::from_u128(9).to_string();
    let ask = wire::GetStatesRequest { incident_ids: vec![unknown, incident.id.clone()] };
    let states = ok(world.responses().get_states(rpc::request(&workflow, ask)).await).states;
    assert_eq!((states.len(), states[0].resolved_at), (1, incident.resolved_at));
}

#[tokio::test]
async fn people_are_kept_out() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let error =
        refused(world.responses().record_step(rpc::request(&world.owner(), step(&incident.id))).await);
    assert_eq!(error.kind, Kind::Forbidden);
    let names = wire::ResolveServicesRequest { names: vec!["payment".to_owned()] };
    let error = refused(world.services().resolve_services(rpc::request(&world.owner(), names)).await);
    assert_eq!(error.kind, Kind::Forbidden);
}
