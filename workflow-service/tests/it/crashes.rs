//! A process that dies between two steps of its work: every effect happens, each under one key.

use std::time::Duration;

use platform::failpoint::set;
use platform::testing::eventually;
use proto::api::v1::Severity;
use proto::incident::v1::TimelineKind;
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{HOUR, SOON, World, http, on_created, triples};
use platform::testing::Receiver;

/// One level told, with the process failing once at `point`: one page, one entry, an end.
async fn one_page_with_a_crash_at(point: &str, action: &str) {
    let (world, endpoint) = (World::alone().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let policy = world.policy("on-call", vec![vec![only]], 0).await;
    let service = world.service("payment", Some(&policy)).await;
    let _guard = set(point, action);
    let incident = world.open(&service).await;
    world.until(&incident, "Policy on-call", pb::RunStatus::Succeeded).await;
    endpoint.nth("/only", 1).await;
    assert_eq!(endpoint.distinct("webhook-id").len(), 1, "{point}");
    assert_eq!(world.told_steps(&incident).await, triples(&[("1.1", "notify", "succeeded")]), "{point}");
    let notes = world.kinds(&incident).await.into_iter().filter(|it| *it == TimelineKind::Note).count();
    assert_eq!(notes, 1, "{point}");
}

#[tokio::test]
async fn between_a_step_and_its_outcome() {
    one_page_with_a_crash_at("workflow.before_save.notify", "1*panic").await;
}

#[tokio::test]
async fn between_an_outcome_and_its_entry() {
    one_page_with_a_crash_at("workflow.after_save.notify", "1*panic").await;
}

#[tokio::test]
async fn between_an_entry_and_the_end() {
    one_page_with_a_crash_at("workflow.before_close", "1*panic").await;
}

#[tokio::test]
async fn before_the_consumers_commit() {
    one_page_with_a_crash_at("consumer.before_commit.responder", "1*error").await;
}

#[tokio::test]
async fn a_lost_try_of_an_http_step_goes_on_with_the_next_under_the_same_key() {
    let (world, endpoint) = (World::alone().await, Receiver::start().await);
    endpoint.then(500).then(500).then(200);
    let service = world.service("payment", None).await;
    let workflow = on_created("first-aid", vec![Kind::Http(http(endpoint.url("retry"), 3))]);
    world.workflow(workflow).await;
    let _guard = set("workflow.before_save.http", "1*panic");
    let incident = world.open(&service).await;
    let run = world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    let tries: Vec<_> = run.steps.iter().map(|it| (it.outcome.as_str(), it.attempts)).collect();
    assert_eq!(tries, [("retrying", 2), ("succeeded", 3)], "the first try has no outcome");
    assert_eq!((endpoint.hits().len(), endpoint.distinct("idempotency-key").len()), (3, 1));
    eventually(SOON, async || {
        let told = world.told_steps(&incident).await;
        (told.iter().filter(|it| it.1 == "http").count() == 2).then_some(())
    })
    .await;
}

/// The workflow's only step acts once, with the process failing once between its effect and its outcome.
#[tokio::test]
async fn between_the_effect_of_a_step_and_its_outcome() {
    let steps = [
        ("resolve", Kind::Resolve(pb::ResolveStep { note: "fixed".to_owned() }), TimelineKind::Resolved),
        (
            "set_severity",
            Kind::SetSeverity(pb::SetSeverityStep { severity: Severity::Low.into() }),
            TimelineKind::SeverityChanged,
        ),
    ];
    for (kind, step, effect) in steps {
        let world = World::alone().await;
        let service = world.service("payment", None).await;
        world.workflow(on_created("first-aid", vec![step])).await;
        let _guard = set(format!("workflow.before_save.{kind}"), "1*panic");
        let incident = world.open(&service).await;
        world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
        let effects = world.kinds(&incident).await.into_iter().filter(|it| *it == effect).count();
        assert_eq!(effects, 1, "{kind}");
        let told = world.told_steps(&incident).await;
        let ours: Vec<_> = told.into_iter().filter(|it| it.1 == kind).collect();
        assert_eq!(ours, triples(&[("1", kind, "succeeded")]));
    }
}

#[tokio::test]
async fn the_next_level_is_not_told_although_the_acknowledgement_has_not_arrived_yet() {
    let (world, endpoint) = (World::alone().await, Receiver::start().await);
    let first = world.channel("first", endpoint.url("first")).await;
    let second = world.channel("second", endpoint.url("second")).await;
    let policy = world.slow_policy("on-call", vec![vec![first], vec![second]]).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    endpoint.nth("/first", 1).await;
    world.at_rest(&incident, "Policy on-call").await;
    let guard = set("consumer.before_commit.responder", "error");
    world.acknowledge(&incident).await;
    world.db.advance(HOUR).await;
    let run = world.until(&incident, "Policy on-call", pb::RunStatus::Cancelled).await;
    assert_eq!(run.detail, "the incident is acknowledged", "incident-service said so");
    drop(guard);
    assert_eq!(endpoint.hits_of("/second").len(), 0);
    world.until_settled(&incident).await;
    let steps = [("1.1", "notify", "succeeded"), ("1.2", "notify", "cancelled")];
    assert_eq!(world.told_steps(&incident).await, triples(&steps));
}

#[tokio::test]
async fn who_was_paused_past_the_lease_records_nothing() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let gate = endpoint.gate();
    let service = world.service("payment", None).await;
    let patient = pb::HttpStep { timeout_ms: 30_000, ..http(endpoint.url("retry"), 1) };
    let workflow = on_created("first-aid", vec![Kind::Http(patient)]);
    world.workflow(workflow).await;
    let incident = world.open(&service).await;
    endpoint.nth("/retry", 1).await;
    let admin = world.db.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT FROM pulseops_workflow.runs WHERE name = 'first-aid' AND epoch > 1";
        let taken = admin.query_opt(sql, &[]).await.expect("asked");
        if taken.is_none() {
            world.db.advance(Duration::from_secs(10)).await;
        }
        taken.map(drop)
    })
    .await;
    eventually(SOON, async || (endpoint.hits().len() >= 2).then_some(())).await;
    gate.add_permits(10);
    let run = world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    let tries: Vec<_> = run.steps.iter().map(|it| (it.outcome.as_str(), it.attempts)).collect();
    assert_eq!((tries.len(), tries[0].0), (1, "succeeded"));
    assert!(tries[0].1 >= 2, "the lost try counts");
    assert_eq!(endpoint.distinct("idempotency-key").len(), 1);
}

#[tokio::test]
async fn nobody_acknowledged_is_not_said_of_an_incident_that_somebody_has_just_taken() {
    let (world, endpoint) = (World::alone().await, Receiver::start().await);
    let only = world.channel("only", endpoint.url("only")).await;
    let policy = world.slow_policy("on-call", vec![vec![only]]).await;
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    endpoint.nth("/only", 1).await;
    world.at_rest(&incident, "Policy on-call").await;
    let guard = set("consumer.before_commit.responder", "error");
    world.acknowledge(&incident).await;
    world.db.advance(HOUR).await;
    let run = world.until(&incident, "Policy on-call", pb::RunStatus::Cancelled).await;
    assert_eq!(run.detail, "the incident is acknowledged", "incident-service said so");
    drop(guard);
    world.until_settled(&incident).await;
    let notes = world.kinds(&incident).await.into_iter().filter(|it| *it == TimelineKind::Note).count();
    assert_eq!(notes, 0);
}
