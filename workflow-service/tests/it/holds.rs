//! A workflow may hold the escalation; five things end the hold, whichever comes first.

use std::time::Duration;

use platform::testing::eventually;
use proto::incident::v1::Incident;
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{SOON, World, http, on_created};
use platform::testing::Receiver;

const WAIT: Kind = Kind::Wait(pb::WaitStep { duration_ms: 3_600_000 });
const ESCALATE: Kind = Kind::Escalate(pb::EscalateStep { policy_id: None });

/// A world in which a workflow with these steps holds the policy for `hold_ms`, an incident open.
async fn held(hold_ms: i64, steps: impl FnOnce(&Receiver) -> Vec<Kind>) -> (World, Receiver, Incident) {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.policy("on-call", vec![vec![page]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    let workflow = on_created("first-aid", steps(&endpoint));
    world.workflow(pb::Workflow { hold_paging_ms: hold_ms, ..workflow }).await;
    let incident = world.open(&service).await;
    (world, endpoint, incident)
}

async fn paged(endpoint: &Receiver) {
    eventually(SOON, async || (endpoint.hits_of("/page").len() == 1).then_some(())).await;
}

/// The policy waits for the release, and for nothing else.
async fn is_held(world: &World, endpoint: &Receiver, incident: &Incident) {
    world.until(incident, "Policy on-call", pb::RunStatus::Held).await;
    assert_eq!(endpoint.hits_of("/page").len(), 0);
}

fn failing(endpoint: &Receiver, on_failure: pb::OnOutcome) -> Kind {
    let step = http(endpoint.url("retry"), 1);
    Kind::Http(pb::HttpStep { on_failure: on_failure.into(), ..step })
}

#[tokio::test]
async fn the_limit_ends_it() {
    let (world, endpoint, incident) = held(900_000, |_| vec![WAIT]).await;
    is_held(&world, &endpoint, &incident).await;
    world.db.advance(Duration::from_secs(901)).await;
    paged(&endpoint).await;
}

#[tokio::test]
async fn an_escalate_step_ends_it() {
    let (world, endpoint, incident) =
        held(900_000, |endpoint| vec![failing(endpoint, pb::OnOutcome::Continue), ESCALATE, WAIT]).await;
    paged(&endpoint).await;
    world.until(&incident, "first-aid", pb::RunStatus::Running).await;
    let steps = world.run_of(&incident, "first-aid").await.expect("there").steps;
    assert_eq!(steps[1].detail, "escalation starts now");
}

#[tokio::test]
async fn a_notify_step_ends_it() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let told = world.channel("told", endpoint.url("told")).await;
    let policy = world.policy("on-call", vec![vec![page]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    let message = "{incident.severity}: {incident.title} of {service.slug}".to_owned();
    let notify = Kind::Notify(pb::NotifyStep { targets: vec![told], message });
    let workflow = on_created("first-aid", vec![notify, WAIT]);
    world.workflow(pb::Workflow { hold_paging_ms: 900_000, ..workflow }).await;
    world.open(&service).await;
    paged(&endpoint).await;
    let told = eventually(SOON, async || endpoint.hits_of("/told").into_iter().next()).await;
    let text = String::from_utf8_lossy(&told.body).into_owned();
    assert!(text.contains("critical: charges \\\"fail\\\" of payment"), "{text}");
}

#[tokio::test]
async fn the_end_of_the_workflow_ends_it() {
    let (world, endpoint, incident) =
        held(900_000, |endpoint| vec![Kind::Http(http(endpoint.url("retry"), 1))]).await;
    paged(&endpoint).await;
    world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
}

#[tokio::test]
async fn the_failure_of_the_workflow_ends_it() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.policy("on-call", vec![vec![page]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    endpoint.then(500);
    let workflow = on_created("first-aid", vec![failing(&endpoint, pb::OnOutcome::Fail), WAIT]);
    world.workflow(pb::Workflow { hold_paging_ms: 900_000, ..workflow }).await;
    let incident = world.open(&service).await;
    world.until(&incident, "first-aid", pb::RunStatus::Failed).await;
    paged(&endpoint).await;
}

#[tokio::test]
async fn somebody_who_comes_ends_it_without_a_page() {
    let (world, endpoint, incident) = held(900_000, |_| vec![WAIT]).await;
    is_held(&world, &endpoint, &incident).await;
    world.acknowledge(&incident).await;
    world.until(&incident, "Policy on-call", pb::RunStatus::Cancelled).await;
    world.until(&incident, "first-aid", pb::RunStatus::Cancelled).await;
    world.until_settled(&incident).await;
    assert_eq!(endpoint.hits_of("/page").len(), 0);
}

#[tokio::test]
async fn it_lasts_as_long_as_the_longest_workflow() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let policy = world.policy("on-call", vec![vec![page]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    let long = on_created("long", vec![WAIT]);
    world.workflow(pb::Workflow { hold_paging_ms: 800_000, ..long }).await;
    let brief = on_created("brief", vec![Kind::AddNote(pb::AddNoteStep { text: "hm".to_owned() })]);
    world.workflow(pb::Workflow { hold_paging_ms: 900_000, ..brief }).await;
    let incident = world.open(&service).await;
    world.until(&incident, "brief", pb::RunStatus::Succeeded).await;
    let held = world.until(&incident, "Policy on-call", pb::RunStatus::Held).await;
    let due = held.due_at.expect("held until then");
    let opened = incident.created_at.expect("set");
    let seconds = due.seconds - opened.seconds;
    assert!((799..=830).contains(&seconds), "as long as the one that still holds: {seconds} s");
    assert_eq!(endpoint.hits_of("/page").len(), 0);
}

#[tokio::test]
async fn to_notify_and_escalate_at_once_tells_one_level() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let page = world.channel("page", endpoint.url("page")).await;
    let next = world.channel("next", endpoint.url("next")).await;
    let told = world.channel("told", endpoint.url("told")).await;
    let policy = world.slow_policy("slow", vec![vec![page], vec![next]]).await;
    let service = world.service("payment", Some(&policy)).await;
    let notify = Kind::Notify(pb::NotifyStep { targets: vec![told], message: String::new() });
    let workflow = on_created("first-aid", vec![notify, ESCALATE]);
    world.workflow(pb::Workflow { hold_paging_ms: 900_000, ..workflow }).await;
    let incident = world.open(&service).await;
    world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    paged(&endpoint).await;
    world.at_rest(&incident, "Policy slow").await;
    assert_eq!(world.run_of(&incident, "Policy slow").await.expect("there").path, "1.1");
    assert_eq!(endpoint.hits_of("/next").len(), 0);
}
