//! What the README promises about repetition and change.

use std::time::{Duration, Instant};

use platform::testing::{Receiver, SOON, eventually};
use serde_json::{Value, json};

use crate::support::client::{id, items};
use crate::support::story::{Cast, failure};
use crate::world::TestPlatform;

const LONG: i64 = 3_600_000;

async fn cast(platform: &TestPlatform) -> (Cast, Receiver) {
    let receiver = Receiver::start().await;
    let cast = Cast::set_up(&platform.nobody, &receiver, LONG).await;
    (cast, receiver)
}

/// A failed charge with an identity of its own.
fn known(platform: &TestPlatform, event: &str) -> Value {
    let mut failure = failure();
    failure["id"] = event.into();
    failure["time"] = platform.db.source().now().to_rfc3339().into();
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_twice_counts_once() {
    let platform = TestPlatform::start().await;
    let (cast, _receiver) = cast(&platform).await;
    let batch = json!([known(&platform, "one"), known(&platform, "two")]);
    cast.report(batch.clone()).await;
    cast.report(batch.clone()).await;
    platform.settle().await;
    assert!(cast.incidents().await.is_empty(), "two events, sent twice, are two");
    cast.report(json!([known(&platform, "three")])).await;
    cast.incident().await;
    cast.report(batch).await;
    platform.settle().await;
    assert_eq!(cast.incidents().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_idempotency_key_twice_is_one_incident() {
    let platform = TestPlatform::start().await;
    let (cast, _receiver) = cast(&platform).await;
    let body =
        |title: &str| json!({"title": title, "severity": "low", "service_id": cast.service}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "7b1d")];
    let post = async |body: String| {
        cast.ada.send(reqwest::Method::POST, "/v1/incidents", &headers, Some(body)).await
    };
    let first = post(body("Slow checkout")).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let first = first.expect(201);
    let again = post(body("Slow checkout")).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.expect(201), first);
    let other = post(body("Another one")).await;
    assert_eq!(other.code(), "idempotency_key_reused");
    other.expect(422);
    assert_eq!(cast.incidents().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_governs_what_is_accepted_a_second_later() {
    let platform = TestPlatform::start().await;
    let (cast, _receiver) = cast(&platform).await;
    cast.report(failure()).await;
    let change = json!({"selection": "event.name == \"refund.failed\"", "condition": {"each": {}}});
    cast.ada.patch(&format!("/v1/rules/{}", cast.rule), change).await.expect(200);
    platform.advance(Duration::from_millis(1_001)).await;
    cast.report(json!([failure(), failure(), failure()])).await;
    platform.settle().await;
    assert!(cast.incidents().await.is_empty(), "the old condition counts no longer");
    cast.report(json!({"service": "payment", "name": "refund.failed"})).await;
    cast.incident().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_failure_while_open_joins_the_alert() {
    let platform = TestPlatform::start().await;
    let (cast, receiver) = cast(&platform).await;
    for _ in 0..2 {
        cast.report(json!([failure(), failure(), failure()])).await;
        platform.settle().await;
    }
    let incidents = cast.incidents().await;
    assert_eq!(incidents.len(), 1);
    let path = format!("/v1/incidents/{}/alerts", id(&incidents[0]));
    let alerts = items(&cast.ada.get(&path).await.expect(200));
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0]["count"].as_i64() >= Some(2), "{alerts:?}");
    assert_eq!(receiver.hits_of("/ada").len(), 1, "counted, not paged again");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_are_gone_for_open_tokens_too() {
    let platform = TestPlatform::start().await;
    let (cast, _receiver) = cast(&platform).await;
    let key = json!({"name": "ci", "scopes": ["incidents_read"]});
    let made = cast.ada.post("/v1/api-keys", key).await.expect(201);
    let program = platform.nobody.with_token(made["key"].as_str().expect("shown once"));
    program.get("/v1/incidents").await.expect(200);
    program.get("/v1/users").await.expect(403);
    let path = made.pointer("/api_key/id").and_then(Value::as_str).map(|id| format!("/v1/api-keys/{id}"));
    cast.ada.delete(&path.expect("its id")).await.expect(204);
    cast.grace.get("/v1/incidents").await.expect(200);
    cast.grace.post("/v1/auth/logout", json!({})).await.expect(204);
    for client in [&program, &*cast.grace] {
        eventually(SOON, async || (client.get("/v1/incidents").await.status == 401).then_some(())).await;
    }
}

/// The quickest of some: a machine that is busy takes its time for everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_is_refused_within_a_second() {
    let platform = TestPlatform::start().await;
    let ada = platform.register().await;
    let mut least = Duration::MAX;
    for name in ["Bob", "Carol", "Dan", "Eve", "Fay"] {
        let someone = ada.colleague(name, "viewer").await;
        someone.get("/v1/incidents").await.expect(200);
        someone.post("/v1/auth/logout", json!({})).await.expect(204);
        let ended = Instant::now();
        eventually(SOON, async || (someone.get("/v1/incidents").await.status == 401).then_some(())).await;
        least = least.min(ended.elapsed());
    }
    assert!(least < Duration::from_secs(1), "{least:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_key_may_send_for_its_service_and_nothing_else() {
    let platform = TestPlatform::start().await;
    let (cast, _receiver) = cast(&platform).await;
    let path = format!("/v1/services/{}/integration-keys", cast.service);
    let made = cast.ada.post(&path, json!({"name": "payment prod"})).await.expect(201);
    let program = platform.nobody.with_token(made["key"].as_str().expect("shown once"));
    let events = json!([{"name": "charge.failed"}, {"name": "charge.failed"}, {"name": "charge.failed"}]);
    program.post("/v1/events", events).await.expect(202);
    cast.incident().await;
    program.get("/v1/incidents").await.expect(403);
    let other = json!({"slug": "orders", "name": "Orders"});
    cast.ada.create("/v1/services", other).await;
    program.post("/v1/events", json!({"service": "orders", "name": "x"})).await.expect(422);
}
