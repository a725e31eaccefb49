//! What cannot be read or comes late: the incident is paged all the same.

use platform::rpc;
use platform::testing::{Receiver, eventually};
use proto::api::v1::Severity;
use proto::incident::v1 as inc;
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{SOON, World, on_created};

fn note() -> Vec<Kind> {
    vec![Kind::AddNote(pb::AddNoteStep { text: "x".to_owned() })]
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_gives_way_to_the_built_in_one() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.policy("broken", vec![vec![page]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    world.workflow(on_created("unreadable", note())).await;
    world.workflow(on_created("readable", note())).await;
    assert_eq!(world.sql(r"UPDATE escalation_policies SET levels = '\xff'").await, 1);
    assert_eq!(world.sql(r"UPDATE workflows SET steps = '\xff' WHERE slug = 'unreadable'").await, 1);
    let incident = world.open(&service).await;
    world.until(&incident, "built-in policy", pb::RunStatus::Succeeded).await;
    world.until(&incident, "readable", pb::RunStatus::Succeeded).await;
    assert_eq!(world.runs(&incident).await.len(), 2, "what cannot be read is left out");
}

#[tokio::test]
async fn what_cannot_be_read_can_be_archived() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.policy("broken", vec![vec![page]], 0).await;
    let workflow = world.workflow(on_created("unreadable", note())).await;
    assert_eq!(world.sql(r"UPDATE escalation_policies SET levels = '\xff'").await, 1);
    assert_eq!(world.sql(r"UPDATE workflows SET steps = '\xff'").await, 1);
    let (cx, delete) = (world.owner(), pb::DeleteWorkflowRequest { id: workflow.id });
    world.workflows().delete_workflow(rpc::request(&cx, delete)).await.expect("archived");
    let delete = pb::DeleteEscalationPolicyRequest { id: policy.id };
    world.policies().delete_escalation_policy(rpc::request(&cx, delete)).await.expect("archived");
    let listed =
        world.workflows().list_workflows(rpc::request(&cx, pb::ListWorkflowsRequest::default())).await;
    assert_eq!(listed.expect("listed").get_ref().items.len(), 0, "it hides no other");
    let told = "SELECT FROM pulseops_auth.audit WHERE action = 'workflow.archived'";
    let admin = world.db.admin().await;
    eventually(SOON, async || admin.query_opt(told, &[]).await.expect("asked").map(drop)).await;
}

#[tokio::test]
async fn a_run_that_cannot_be_read_ends_with_the_incident_and_hides_no_other() {
    let world = World::new().await;
    let service = world.service("payment", None).await;
    let wait = vec![Kind::Wait(pb::WaitStep { duration_ms: 3_600_000 })];
    world.workflow(on_created("broken", wait.clone())).await;
    world.workflow(on_created("whole", wait)).await;
    let incident = world.open(&service).await;
    for name in ["broken", "whole"] {
        // At rest, its row let go.
        let free =
            format!("SELECT FROM pulseops_workflow.runs WHERE name = '{name}' AND lease_until IS NULL");
        let admin = world.db.admin().await;
        eventually(SOON, async || admin.query_opt(&free, &[]).await.expect("asked").map(drop)).await;
    }
    world.sql("UPDATE runs SET program = '{\"op\": \"newer\"}' WHERE name = 'broken'").await;
    world.sql("UPDATE runs SET state = state - 'op' WHERE name = 'broken'").await;
    assert_eq!(world.runs(&incident).await.len(), 3, "they are listed");
    world.acknowledge(&incident).await;
    for name in ["broken", "whole"] {
        world.until(&incident, name, pb::RunStatus::Cancelled).await;
    }
    world.until_settled(&incident).await;
}

#[tokio::test]
async fn a_created_event_that_is_replayed_after_a_reopening_pages_nobody_twice() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.slow_policy("on-call", vec![vec![page]]).await;
    let service = world.service("payment", Some(&policy)).await;
    world.sql("ALTER TABLE incident_states ADD CONSTRAINT broken CHECK (version > 1)").await;
    let incident = world.open(&service).await;
    let admin = world.db.admin().await;
    let dead = "SELECT FROM pulseops_bus.dead_letters WHERE consumer = 'responder'";
    eventually(SOON, async || admin.query_opt(dead, &[]).await.expect("asked").map(drop)).await;
    world.sql("ALTER TABLE incident_states DROP CONSTRAINT broken").await;
    let (cx, id) = (world.owner(), incident.id.clone());
    let resolve = inc::ResolveIncidentRequest { id: id.clone(), ..Default::default() };
    world.incidents().resolve_incident(rpc::request(&cx, resolve)).await.expect("resolved");
    let reopen = inc::ReopenIncidentRequest { id, ..Default::default() };
    world.incidents().reopen_incident(rpc::request(&cx, reopen)).await.expect("reopened");
    world.at_rest(&incident, "Policy on-call").await;

    admin.execute("UPDATE pulseops_bus.dead_letters SET state = 'replay'", &[]).await.expect("asked for");
    let replayed = "SELECT FROM pulseops_bus.dead_letters WHERE state = 'replayed'";
    eventually(SOON, async || admin.query_opt(replayed, &[]).await.expect("asked").map(drop)).await;
    assert_eq!(world.runs(&incident).await.len(), 1, "that of the reopening");
    endpoint.nth("/page", 1).await;
    assert_eq!(endpoint.distinct("webhook-id").len(), 1);
}

#[tokio::test]
async fn a_created_event_that_is_replayed_after_newer_ones_still_pages() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.policy("on-call", vec![vec![page]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    world.sql("ALTER TABLE incident_states ADD CONSTRAINT broken CHECK (version > 1)").await;
    let incident = world.open(&service).await;
    let admin = world.db.admin().await;
    let dead = "SELECT FROM pulseops_bus.dead_letters WHERE consumer = 'responder'";
    eventually(SOON, async || admin.query_opt(dead, &[]).await.expect("asked").map(drop)).await;
    world.sql("ALTER TABLE incident_states DROP CONSTRAINT broken").await;
    let message = inc::UpdateIncidentRequest {
        id: incident.id.clone(),
        incident: Some(inc::Incident { severity: Severity::Low.into(), ..inc::Incident::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["severity".to_owned()] }),
    };
    world.incidents().update_incident(rpc::request(&world.owner(), message)).await.expect("changed");
    let newer = "SELECT FROM pulseops_workflow.incident_states WHERE version > 1";
    eventually(SOON, async || admin.query_opt(newer, &[]).await.expect("asked").map(drop)).await;
    assert_eq!(world.runs(&incident).await.len(), 0);
    admin.execute("UPDATE pulseops_bus.dead_letters SET state = 'replay'", &[]).await.expect("asked for");
    world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    endpoint.nth("/page", 1).await;
}
