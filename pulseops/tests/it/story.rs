//! From three failed charges to the MTTR.

use std::time::Duration;

use platform::testing::Receiver;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::{JSON, id, items};
use crate::support::story::{Cast, failure, keys, time_to_resolve};
use crate::world::TestPlatform;

/// The events' own, which everything that they lead to carries on.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LEVEL_MS: i64 = 120_000;
const LEVEL: Duration = Duration::from_millis(LEVEL_MS as u64);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_an_incident_and_the_incident_is_history() {
    let platform = TestPlatform::start().await;
    let receiver = Receiver::start().await;
    receiver.always("/retry", 503);
    let cast = Cast::set_up(&platform.nobody, &receiver, LEVEL_MS).await;
    cast.retry_first(&receiver, 3, 20).await;

    for _ in 0..3 {
        let traced = [JSON, ("traceparent", &*format!("00-{TRACE}-00f067aa0ba902b7-01"))];
        let body = Some(failure().to_string());
        cast.ada.send(Method::POST, "/v1/events", &traced, body).await.expect(202);
    }
    let incident = cast.incident().await;
    assert_eq!((&incident["number"], &incident["severity"]), (&json!(1), &json!("critical")));
    assert_eq!(incident["title"], "Charges fail on payment");

    receiver.nth("/ada", 1).await;
    assert_eq!(receiver.hits_of("/retry").len(), 3, "people are told when the retries did not help");
    assert_eq!(keys(&receiver, "/retry").len(), 1, "the tries of one step are one to the receiver");
    assert!(receiver.hits_of("/grace").is_empty());

    platform.settle().await;
    platform.advance(LEVEL).await;
    receiver.nth("/grace", 1).await;
    for path in ["/retry", "/ada", "/grace"] {
        for hit in receiver.hits_of(path) {
            assert_eq!(hit.header("traceparent").split('-').nth(1), Some(TRACE), "{path}");
        }
    }
    let sent = cast.delivered(&id(&incident), 2).await;
    assert_eq!(sent.len(), 2, "{sent:?}");

    let path = format!("/v1/incidents/{}", id(&incident));
    let taken = cast.grace.post(&format!("{path}/acknowledge"), json!({"note": "on it"})).await.expect(200);
    assert_eq!(taken["status"], "acknowledged");
    let note = json!({"note": "provider failed over"});
    let resolved = cast.grace.post(&format!("{path}/resolve"), note).await.expect(200);
    let group = cast.mttr().await;
    assert_eq!(group.pointer("/mttr/mean_ms"), Some(&json!(time_to_resolve(&resolved))));

    let runs = cast.ended_runs(&id(&incident)).await;
    assert_eq!(runs.len(), 2, "the workflow and the escalation: {runs:?}");
    platform.settle().await;
    let kinds = timeline(&cast, &path).await;
    let order = ["created", "step", "notified", "escalated", "acknowledged", "resolved"];
    let mut rest = kinds.iter();
    for kind in order {
        assert!(rest.any(|it| it == kind), "{kind} is missing or out of order in {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_retry_helps_nobody_is_paged() {
    let platform = TestPlatform::start().await;
    let receiver = Receiver::start().await;
    receiver.next("/retry", 503);
    let cast = Cast::set_up(&platform.nobody, &receiver, LEVEL_MS).await;
    let workflow = json!({
        "slug": "retry-then-resolve", "name": "Retry, then resolve", "triggers": ["created"], "hold_paging_ms": 60_000,
        "steps": [
            {"http": {"url": receiver.url("retry"), "on_failure": "fail", "retry": {"max_attempts": 3, "initial_ms": 20}}},
            {"resolve": {"note": "the retry helped"}},
        ],
    });
    cast.ada.create("/v1/workflows", workflow).await;
    cast.report(json!([failure(), failure(), failure()])).await;
    let path = cast.incidents_path();
    let resolved = cast
        .ada
        .until(&path, |list| list.pointer("/items/0").filter(|it| it["status"] == "resolved").cloned())
        .await;
    assert_eq!(resolved.pointer("/resolved_by/kind"), Some(&json!("workflow")), "{resolved}");
    platform.settle().await;
    platform.advance(LEVEL).await;
    platform.settle().await;
    assert_eq!(receiver.hits_of("/retry").len(), 2);
    assert!(receiver.hits_of("/ada").is_empty() && receiver.hits_of("/grace").is_empty());
    let group = cast.mttr().await;
    assert_eq!(group.pointer("/mttr/mean_ms"), Some(&json!(time_to_resolve(&resolved))));
    assert_eq!(group.pointer("/mtta/mean_ms"), Some(&json!(null)), "nobody had to acknowledge");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_ends_the_paging() {
    let platform = TestPlatform::start().await;
    let receiver = Receiver::start().await;
    let cast = Cast::set_up(&platform.nobody, &receiver, LEVEL_MS).await;
    cast.report(json!([failure(), failure(), failure()])).await;
    receiver.nth("/ada", 1).await;
    let incident = id(&cast.incident().await);
    cast.ada.post(&format!("/v1/incidents/{incident}/acknowledge"), json!({})).await.expect(200);
    platform.settle().await;
    for _ in 0..3 {
        platform.advance(LEVEL).await;
        platform.settle().await;
    }
    assert_eq!(cast.ended_runs(&incident).await[0]["status"], "cancelled");
    assert_eq!(receiver.hits_of("/ada").len(), 1);
    assert!(receiver.hits_of("/grace").is_empty(), "an acknowledged incident pages nobody");
}

async fn timeline(cast: &Cast, path: &str) -> Vec<String> {
    let list = cast.ada.get(&format!("{path}/timeline?page_size=200")).await.expect(200);
    items(&list).iter().filter_map(|entry| entry["kind"].as_str().map(str::to_owned)).collect::<Vec<_>>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_policy_still_tells_somebody() {
    let platform = TestPlatform::start().await;
    let receiver = Receiver::start().await;
    let ada = platform.register().await;
    let method = json!({"kind": "webhook", "address": receiver.url("ada")});
    ada.create(&format!("/v1/users/{}/contact-methods", ada.id), method).await;
    let service = id(&ada.create("/v1/services", json!({"slug": "orders", "name": "Orders"})).await);
    let incident: Value = ada
        .create("/v1/incidents", json!({"title": "Orders hang", "severity": "high", "service_id": service}))
        .await;
    // No team at level 1: the owners of the organization hear of it.
    receiver.nth("/ada", 1).await;
    ada.post(&format!("/v1/incidents/{}/resolve", id(&incident)), json!({})).await.expect(200);
    platform.settle().await;
}
