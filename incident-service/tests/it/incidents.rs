//! What people do with an incident, and what the answers say.

use std::collections::BTreeMap;

use platform::error::Kind;
use platform::rpc;
use proto::api::v1::{Severity, Urgency};
use proto::incident::v1 as wire;
use proto::incident::v1::timeline_entry::Data;
use proto::incident::v1::{IncidentStatus, TimelineKind};

use crate::world::{World, draft, mask, ok, refused};

fn acknowledge(id: &str) -> wire::AcknowledgeIncidentRequest {
    wire::AcknowledgeIncidentRequest { id: id.to_owned(), note: String::new() }
}

fn reopen(id: &str) -> wire::ReopenIncidentRequest {
    wire::ReopenIncidentRequest { id: id.to_owned(), note: "it is back".to_owned() }
}

#[tokio::test]
async fn the_whole_life() {
    let world = World::new().await;
    let payment = world.payment().await;
    let opened = world.create_incident(&payment).await;
    assert_eq!(
        (opened.number, opened.status(), opened.urgency()),
        (1, IncidentStatus::Triggered, Urgency::High)
    );
    let source = opened.source.clone().expect("a source");
    assert_eq!(
        (source.kind(), source.id),
        (wire::SourceKind::Person, world.owner().principal.id.to_string())
    );

    let mut client = world.incidents();
    let taken = ok(client.acknowledge_incident(rpc::request(&world.owner(), acknowledge("1"))).await);
    assert_eq!((taken.status(), taken.version), (IncidentStatus::Acknowledged, 2));
    assert_eq!(taken.first_acknowledged_at, taken.acknowledged_at);
    // Again changes nothing.
    let again = ok(client.acknowledge_incident(rpc::request(&world.owner(), acknowledge(&opened.id))).await);
    assert_eq!(again, taken);

    let resolved = world.resolve(&opened.id).await;
    assert_eq!((resolved.status(), resolved.version), (IncidentStatus::Resolved, 3));
    assert_eq!((resolved.auto_resolved, resolved.resolution_note.as_str()), (false, "fixed"));
    assert_eq!(world.resolve(&opened.id).await, resolved);
    let error = refused(client.acknowledge_incident(rpc::request(&world.owner(), acknowledge("1"))).await);
    assert_eq!((error.kind, error.code), (Kind::Conflict, "invalid_transition"));

    let back = ok(client.reopen_incident(rpc::request(&world.owner(), reopen("1"))).await);
    assert_eq!((back.status(), back.reopen_count), (IncidentStatus::Triggered, 1));
    assert_eq!((back.resolved_at, back.acknowledged_at), (None, None));
    assert_eq!(back.first_acknowledged_at, taken.first_acknowledged_at);

    let kinds = world.timeline_kinds("1").await;
    let expected =
        [TimelineKind::Created, TimelineKind::Acknowledged, TimelineKind::Resolved, TimelineKind::Reopened];
    assert_eq!(kinds, expected);
    let versions: Vec<(String, i64)> = world
        .told()
        .await
        .iter()
        .map(|(d, _)| (d.record.envelope.ty.clone(), d.record.envelope.version))
        .collect();
    let expected = ["created", "acknowledged", "resolved", "reopened"];
    let expected: Vec<(String, i64)> = (1..)
        .zip(expected)
        .map(|(version, step)| (format!("pulseops.incident.{step}.v1"), version))
        .collect();
    assert_eq!(versions, expected);
}

#[tokio::test]
async fn a_stale_version_is_refused() {
    let world = World::new().await;
    let opened = world.create_incident(&world.payment().await).await;
    let mut stale = rpc::request(&world.owner(), acknowledge(&opened.id));
    stale.metadata_mut().insert("if-match", "7".parse().expect("ascii"));
    let error = refused(world.incidents().acknowledge_incident(stale).await);
    assert_eq!((error.kind, error.code), (Kind::Precondition, "version_mismatch"));
    let mut fresh = rpc::request(&world.owner(), acknowledge(&opened.id));
    fresh.metadata_mut().insert("if-match", "1".parse().expect("ascii"));
    ok(world.incidents().acknowledge_incident(fresh).await);
}

#[tokio::test]
async fn the_same_key_twice_opens_one_incident() {
    let world = World::new().await;
    let payment = world.payment().await;
    let create = |title: &str| wire::CreateIncidentRequest {
        incident: Some(wire::Incident { title: title.to_owned(), ..draft(&payment) }),
    };
    let owner = world.owner();
    let call = async |title: &str| {
        let request = rpc::keyed(&owner, "key-1", create(title)).expect("a key");
        world.incidents().create_incident(request).await
    };
    let first = call("a").await.expect("opened");
    let second = call("a").await.expect("replayed");
    assert!(first.metadata().get(rpc::IDEMPOTENCY_REPLAYED).is_none());
    assert!(second.metadata().get(rpc::IDEMPOTENCY_REPLAYED).is_some());
    assert_eq!(first.into_inner(), second.into_inner());
    assert_eq!(refused(call("b").await).code, "idempotency_key_reused");
    assert_eq!(world.all_incidents().await.len(), 1);
}

#[tokio::test]
async fn changes_are_told_with_from_and_to() {
    let world = World::new().await;
    let mut incident = world.create_incident(&world.payment().await).await;
    incident.title = "Payments are slow".to_owned();
    incident.severity = Severity::Low.into();
    incident.labels = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
    let message = wire::UpdateIncidentRequest {
        id: "1".to_owned(),
        incident: Some(incident),
        update_mask: Some(mask(&["title", "severity", "labels"])),
    };
    let changed = ok(world.incidents().update_incident(rpc::request(&world.owner(), message.clone())).await);
    assert_eq!((changed.version, changed.severity(), changed.urgency()), (3, Severity::Low, Urgency::Low));

    let entries = world.timeline("1").await;
    let [_, severity, fields] = &entries[..] else { panic!("three entries: {entries:?}") };
    assert_eq!((severity.kind(), fields.kind()), (TimelineKind::SeverityChanged, TimelineKind::Updated));
    let Some(Data::Change(data)) = &severity.data else { panic!("changes") };
    let told = |of: &wire::FieldChange| (of.field.clone(), of.from.clone(), of.to.clone());
    let change = |of: &str| (of.to_owned(), "high".to_owned(), "low".to_owned());
    assert_eq!(data.changes.iter().map(told).collect::<Vec<_>>(), [change("severity"), change("urgency")]);
    let Some(Data::Change(data)) = &fields.data else { panic!("changes") };
    let names: Vec<&str> = data.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(names, ["title", "labels"]);

    // The same once more changes nothing.
    let same = ok(world.incidents().update_incident(rpc::request(&world.owner(), message)).await);
    assert_eq!(same, changed);
}

#[tokio::test]
async fn an_urgency_said_with_the_severity_holds() {
    let world = World::new().await;
    let opened = world.create_incident(&world.payment().await).await;
    let update = async |severity: Severity, urgency: Urgency, paths: &[&str]| {
        let incident =
            wire::Incident { severity: severity.into(), urgency: urgency.into(), ..opened.clone() };
        let message = wire::UpdateIncidentRequest {
            id: "1".to_owned(),
            incident: Some(incident),
            update_mask: Some(mask(paths)),
        };
        ok(world.incidents().update_incident(rpc::request(&world.owner(), message)).await)
    };
    let both = ["severity", "urgency"];
    let loud = update(Severity::Low, Urgency::High, &both).await;
    assert_eq!((loud.severity(), loud.urgency(), loud.version), (Severity::Low, Urgency::High, 2));
    let quiet = update(Severity::Critical, Urgency::Low, &both).await;
    assert_eq!((quiet.severity(), quiet.urgency(), quiet.version), (Severity::Critical, Urgency::Low, 3));
    let Some(Data::Change(data)) = &world.timeline("1").await[2].data else { panic!("changes") };
    let changes: Vec<_> =
        data.changes.iter().map(|c| (c.field.as_str(), c.from.as_str(), c.to.as_str())).collect();
    assert_eq!(changes, [("severity", "low", "critical"), ("urgency", "high", "low")]);
    // Somebody had set another one than the severity gives: it stays when only the severity changes.
    let kept = update(Severity::High, Urgency::High, &["severity"]).await;
    assert_eq!(kept.urgency(), Urgency::Low);
}

#[tokio::test]
async fn what_only_the_server_sets_cannot_be_changed() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let change = async |incident: wire::Incident, path: &str| {
        let message = wire::UpdateIncidentRequest {
            id: "1".to_owned(),
            incident: Some(incident),
            update_mask: Some(mask(&[path])),
        };
        refused(world.incidents().update_incident(rpc::request(&world.owner(), message)).await)
    };
    for (path, code) in [("status", "read_only"), ("service_id", "immutable"), ("nonsense", "unknown_field")]
    {
        let error = change(incident.clone(), path).await;
        assert_eq!((error.kind, error.fields[0].code), (Kind::Invalid, code), "{path}");
    }
    let untitled = wire::Incident { title: String::new(), ..incident.clone() };
    assert_eq!(change(untitled, "title").await.fields[0].field, "incident.title");
    let large = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("a".repeat(17_000))) };
    let fields = prost_types::Struct { fields: BTreeMap::from([("a".to_owned(), large)]) };
    let bulky = wire::Incident { custom_fields: Some(fields), ..incident };
    let error = change(bulky, "custom_fields").await;
    assert_eq!(
        (error.fields[0].field.as_str(), error.fields[0].code),
        ("incident.custom_fields", "too_large")
    );
}

#[tokio::test]
async fn notes_stand_on_the_timeline() {
    let world = World::new().await;
    world.create_incident(&world.payment().await).await;
    let note = wire::CreateNoteRequest { id: "1".to_owned(), text: "looking".to_owned() };
    let entry = ok(world.incidents().create_note(rpc::request(&world.owner(), note)).await);
    assert_eq!(world.timeline("1").await[1], entry);
    assert_eq!(entry.data, Some(Data::Note(wire::NoteData { text: "looking".to_owned() })));
    assert_eq!(entry.actor.expect("an actor").name, "Test User");
}

#[tokio::test]
async fn what_belongs_to_others_does_not_exist() {
    let world = World::new().await;
    let payment = world.payment().await;
    let incident = world.create_incident(&payment).await;
    let stranger = world.stranger();
    for id in ["1", incident.id.as_str()] {
        let get = wire::GetIncidentRequest { id: id.to_owned() };
        let error = refused(world.incidents().get_incident(rpc::request(&stranger, get)).await);
        assert_eq!(error.kind, Kind::NotFound);
        let error =
            refused(world.incidents().acknowledge_incident(rpc::request(&stranger, acknowledge(id))).await);
        assert_eq!(error.kind, Kind::NotFound);
    }
    let list = wire::ListIncidentsRequest::default();
    assert!(ok(world.incidents().list_incidents(rpc::request(&stranger, list)).await).items.is_empty());
    let create = wire::CreateIncidentRequest { incident: Some(draft(&payment)) };
    let error = refused(world.incidents().create_incident(rpc::request(&stranger, create)).await);
    assert_eq!(
        (error.fields[0].field.as_str(), error.fields[0].code),
        ("incident.service_id", "unknown_reference")
    );
    // Numbers are each organization's own.
    let theirs = World::new().await;
    assert_eq!(theirs.create_incident(&theirs.payment().await).await.number, 1);
}

#[tokio::test]
async fn a_viewer_only_looks() {
    let world = World::new().await;
    let incident = world.create_incident(&world.payment().await).await;
    let viewer = world.db.cx_in(world.org, &["incidents_read"]);
    let get = wire::GetIncidentRequest { id: incident.id.clone() };
    assert_eq!(ok(world.incidents().get_incident(rpc::request(&viewer, get)).await), incident);
    let error =
        refused(world.incidents().acknowledge_incident(rpc::request(&viewer, acknowledge("1"))).await);
    assert_eq!(error.kind, Kind::Forbidden);
}
