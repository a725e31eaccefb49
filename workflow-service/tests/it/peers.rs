//! Peers that are away: people are told as soon as it can be, and nothing is lost.

use platform::error::Error;
use platform::rpc::Fault;
use proto::incident::v1::TimelineKind;
use proto::workflow::v1 as pb;

use crate::world::{World, triples};
use platform::testing::Receiver;

const SEND: &str = "/pulseops.notification.v1.SendService/Send";
const RECORD: &str = "/pulseops.incident.v1.ResponseService/RecordStep";
const ESCALATE: &str = "/pulseops.incident.v1.ResponseService/EscalateIncident";

fn away() -> Fault {
    Fault::Fail(Error::unavailable("service_unavailable", "away"))
}

#[tokio::test]
async fn a_page_is_sent_as_soon_as_notification_service_is_back() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let policy = world.policy("on-call", vec![vec![only]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    world.deps.directory.faults().inject(SEND, 3, away());
    world.deps.directory.faults().inject(SEND, 1, Fault::LoseAnswer);
    let incident = world.open(&service).await;
    world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    endpoint.nth("/only", 1).await;
    assert_eq!(endpoint.distinct("webhook-id").len(), 1, "the lost answer's page is the same page");
    let steps = [("1.1", "notify", "retrying"), ("1.1", "notify", "succeeded")];
    assert_eq!(world.told_steps(&incident).await, triples(&steps));
}

#[tokio::test]
async fn a_run_does_not_end_before_the_timeline_has_its_steps() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let policy = world.policy("on-call", vec![vec![only]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    world.deps.directory.faults().inject(RECORD, 4, away());
    world.deps.directory.faults().inject(RECORD, 2, Fault::LoseAnswer);
    let incident = world.open(&service).await;
    endpoint.nth("/only", 1).await;
    world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    assert_eq!(world.told_steps(&incident).await, triples(&[("1.1", "notify", "succeeded")]));
    let notes = world.kinds(&incident).await.into_iter().filter(|it| *it == TimelineKind::Note).count();
    assert_eq!(notes, 1);
}

#[tokio::test]
async fn the_next_level_is_told_even_if_the_incident_cannot_be_escalated_yet() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let second = world.channel("second", endpoint.url("second")).await;
    let policy = world.policy("on-call", vec![vec![first], vec![second]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    world.deps.directory.faults().inject(ESCALATE, 2, away());
    let incident = world.open(&service).await;
    world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    endpoint.nth("/second", 1).await;
    let kinds = world.kinds(&incident).await;
    let escalated = kinds.iter().filter(|kind| **kind == TimelineKind::Escalated).count();
    assert_eq!(escalated, 1, "said later, once: {kinds:?}");
}
