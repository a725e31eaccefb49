//! The http step against a real endpoint.

use platform::error::Error;
use platform::rpc::Fault;
use platform::testing::eventually;
use proto::incident::v1::Incident;
use proto::workflow::v1::{self as pb, step::Kind};

use crate::world::{SOON, World, http, on_created, triples};
use platform::testing::Receiver;

#[tokio::test]
async fn it_is_tried_again_under_one_key_until_it_works() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    endpoint.then(503).then(500).then(200);
    let service = world.service("payment", None).await;
    let step = pb::HttpStep {
        on_success: pb::OnOutcome::Stop.into(),
        headers: [("X-Runbook".to_owned(), "retry".to_owned())].into(),
        ..http(endpoint.url("retry/{service.slug}"), 5)
    };
    let note = Kind::AddNote(pb::AddNoteStep { text: "never".to_owned() });
    world.workflow(on_created("first-aid", vec![Kind::Http(step), note])).await;
    let incident = world.open(&service).await;

    let run = world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    let hits = endpoint.hits_of("/retry/payment");
    assert_eq!((hits.len(), endpoint.distinct("idempotency-key").len()), (3, 1));
    let first = &hits[0];
    assert_eq!((first.header("content-type"), first.header("x-runbook")), ("application/json", "retry"));
    assert_eq!(first.json()["id"], incident.id);
    assert_eq!(first.json()["severity"], "critical");
    assert_eq!(first.header("traceparent").len(), 55);
    let tries: Vec<_> = run.steps.iter().map(|it| (it.outcome.as_str(), it.attempts)).collect();
    assert_eq!(tries, [("retrying", 1), ("retrying", 2), ("succeeded", 3)]);
    let ours: Vec<_> = world.told_steps(&incident).await.into_iter().filter(|it| it.1 == "http").collect();
    let steps = [("1", "http", "retrying"), ("1", "http", "retrying"), ("1", "http", "succeeded")];
    assert_eq!(ours, triples(&steps));
}

#[tokio::test]
async fn when_it_does_not_help_the_next_step_follows() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    endpoint.then(500).then(500);
    let service = world.service("payment", None).await;
    let step = pb::HttpStep {
        method: pb::HttpMethod::Put.into(),
        body: Some(r#"{"title": "{incident.title}"}"#.to_owned()),
        ..http(endpoint.url("retry"), 2)
    };
    let note = Kind::AddNote(pb::AddNoteStep { text: "retry did not help {service.name}".to_owned() });
    world.workflow(on_created("first-aid", vec![Kind::Http(step), note])).await;
    let incident = world.open(&service).await;
    let run = world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    let outcomes: Vec<_> = run.steps.iter().map(|it| (it.path.as_str(), it.outcome.as_str())).collect();
    assert_eq!(outcomes, [("1", "retrying"), ("1", "failed"), ("2", "succeeded")]);
    assert_eq!(run.steps[2].detail, "retry did not help The payment");
    let hits = endpoint.hits_of("/retry");
    assert_eq!(
        (hits[0].method.as_str(), hits[0].json()["title"].as_str()),
        ("PUT", Some("charges \"fail\""))
    );
}

#[tokio::test]
async fn a_step_may_say_which_statuses_are_good() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    endpoint.then(200).then(404);
    let service = world.service("payment", None).await;
    let step = pb::HttpStep { success_status: vec![404], ..http(endpoint.url("retry"), 3) };
    world.workflow(on_created("first-aid", vec![Kind::Http(step)])).await;
    let incident = world.open(&service).await;
    world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    assert_eq!(endpoint.hits_of("/retry").len(), 2);
}

#[tokio::test]
async fn a_call_under_way_when_somebody_comes_is_written_down_and_nothing_follows() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let gate = endpoint.gate();
    let service = world.service("payment", None).await;
    let patient = pb::HttpStep { timeout_ms: 30_000, ..http(endpoint.url("retry"), 3) };
    let workflow =
        on_created("first-aid", vec![Kind::Http(patient), Kind::Http(http(endpoint.url("second"), 1))]);
    world.workflow(workflow).await;
    let incident = world.open(&service).await;
    eventually(SOON, async || (endpoint.hits().len() == 1).then_some(())).await;
    world.acknowledge(&incident).await;
    world.until(&incident, "first-aid", pb::RunStatus::Cancelled).await;
    gate.add_permits(10);
    let run = eventually(SOON, async || {
        let run = world.run_of(&incident, "first-aid").await?;
        (run.steps.len() == 2).then_some(run)
    })
    .await;
    assert_eq!(run.status(), pb::RunStatus::Cancelled);
    world.until_settled(&incident).await;
    let mut ours: Vec<_> =
        world.told_steps(&incident).await.into_iter().filter(|it| it.1 == "http").collect();
    ours.sort();
    assert_eq!(ours, triples(&[("1", "http", "cancelled"), ("1", "http", "succeeded")]));
    assert_eq!(endpoint.hits_of("/second").len(), 0);
}

#[tokio::test]
async fn another_service_that_is_away_is_no_failed_try() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let service = world.service("payment", None).await;
    let resolve = "/pulseops.incident.v1.ServiceService/ResolveServices";
    let away = || Fault::Fail(Error::unavailable("service_unavailable", "away"));
    let step = pb::HttpStep {
        on_failure: pb::OnOutcome::Fail.into(),
        ..http(endpoint.url("retry/{service.slug}"), 1)
    };
    world.workflow(on_created("first-aid", vec![Kind::Http(step)])).await;
    world.deps.directory.faults().inject(resolve, 2, away());
    let incident = world.open(&service).await;
    let run = world.until(&incident, "first-aid", pb::RunStatus::Succeeded).await;
    let tries: Vec<_> = run.steps.iter().map(|it| (it.outcome.as_str(), it.attempts)).collect();
    assert_eq!((tries, world.deps.directory.faults().waiting(resolve)), (vec![("succeeded", 1)], 0));
    assert_eq!(endpoint.hits_of("/retry/payment").len(), 1);
}

#[tokio::test]
async fn what_becomes_too_long_is_cut_for_people_and_refused_for_endpoints() {
    let (world, endpoint) = (World::new().await, Receiver::start().await);
    let told = world.channel("told", endpoint.url("told")).await;
    let service = world.service("payment", None).await;
    let text = "{labels.long}".repeat(5);
    let step = pb::HttpStep { body: Some("{labels.long}".repeat(300)), ..http(endpoint.url("retry"), 1) };
    let steps = vec![
        Kind::Http(step),
        Kind::Notify(pb::NotifyStep { targets: vec![told], message: text.clone() }),
        Kind::AddNote(pb::AddNoteStep { text: text.clone() }),
        Kind::Resolve(pb::ResolveStep { note: text }),
    ];
    world.workflow(on_created("verbose", steps)).await;
    let labels = [("long".to_owned(), "ä".repeat(1_000))].into();
    let incident = world.open_like(&service, Incident { labels, ..Incident::default() }).await;
    let run = world.until(&incident, "verbose", pb::RunStatus::Succeeded).await;
    let outcomes: Vec<_> = run.steps.iter().map(|it| (it.kind.as_str(), it.outcome.as_str())).collect();
    let ok = "succeeded";
    assert_eq!(outcomes, [("http", "failed"), ("notify", ok), ("add_note", ok), ("resolve", ok)]);
    assert_eq!(run.steps[0].detail, "the body became longer than 256 KiB");
    assert_eq!(run.steps[2].detail.chars().count(), 4_000);
    assert!(run.steps[2].detail.ends_with("ä…"));
    assert_eq!(endpoint.hits_of("/retry").len(), 0);
    eventually(SOON, async || (endpoint.hits_of("/told").len() == 1).then_some(())).await;
}
