//! The people and things of the story.

use std::collections::BTreeSet;

use platform::testing::{Hit, Receiver};
use serde_json::{Value, json};

use super::client::{Client, User, id};

/// Ada's team owns the service payment; Grace is the next level.
pub struct Cast {
    pub ada: User,
    pub grace: User,
    pub service: String,
    pub rule: String,
}

impl Cast {
    /// Everybody can be reached at the receiver under the own name; levels wait `level_ms`.
    pub async fn set_up(nobody: &Client, receiver: &Receiver, level_ms: i64) -> Self {
        let ada = nobody.register("Ada").await;
        let grace = ada.colleague("Grace", "responder").await;
        for user in [&ada, &grace] {
            let method = json!({"kind": "webhook", "address": receiver.url(&user.name.to_lowercase())});
            user.create(&format!("/v1/users/{}/contact-methods", user.id), method).await;
        }
        let team = id(&ada.create("/v1/teams", json!({"slug": "payments", "name": "Payments"})).await);
        ada.create(&format!("/v1/teams/{team}/members"), json!({"user_id": ada.id})).await;
        let policy = json!({"slug": "payments", "name": "Payments on call", "levels": [
            {"targets": [{"kind": "team", "id": team}], "timeout_ms": level_ms},
            {"targets": [{"kind": "user", "id": grace.id}], "timeout_ms": level_ms},
        ]});
        let policy = id(&ada.create("/v1/escalation-policies", policy).await);
        let service =
            json!({"slug": "payment", "name": "Payment", "team_id": team, "escalation_policy_id": policy});
        let service = id(&ada.create("/v1/services", service).await);
        let rule = id(&ada.create("/v1/rules", rule(&service, 3)).await);
        Self { ada, grace, service, rule }
    }

    /// Calls the receiver's `retry` up to `tries` times before anybody is paged.
    pub async fn retry_first(&self, receiver: &Receiver, tries: usize, initial_ms: i64) -> String {
        let workflow = json!({
            "slug": "retry-then-page", "name": "Retry, then page", "triggers": ["created"],
            "service_ids": [self.service], "hold_paging_ms": 60_000,
            "steps": [
                {"name": "retry the charges", "http": {
                    "url": receiver.url("retry"), "on_success": "stop", "timeout_ms": 5_000,
                    "retry": {"max_attempts": tries, "initial_ms": initial_ms, "max_ms": initial_ms, "jitter": 0},
                }},
                {"name": "call people", "escalate": {}},
            ],
        });
        id(&self.ada.create("/v1/workflows", workflow).await)
    }

    /// Sends events; all are accepted.
    pub async fn report(&self, events: Value) {
        let answer = self.ada.post("/v1/events", events).await.expect(202);
        assert_eq!(answer["rejected"], json!([]), "{answer}");
    }

    pub fn incidents_path(&self) -> String {
        format!("/v1/incidents?service_id={}&sort=created_at", self.service)
    }

    /// Waits for the service's first incident.
    pub async fn incident(&self) -> Value {
        self.ada.until(&self.incidents_path(), |list| list.pointer("/items/0").cloned()).await
    }

    /// The service's incidents now.
    pub async fn incidents(&self) -> Vec<Value> {
        super::client::items(&self.ada.get(&self.incidents_path()).await.expect(200))
    }

    /// Waits until every run of the incident has ended and gives them.
    pub async fn ended_runs(&self, incident: &str) -> Vec<Value> {
        let path = format!("/v1/runs?incident_id={incident}");
        self.ada
            .until(&path, |list| {
                let runs = list["items"].as_array()?;
                (!runs.is_empty() && runs.iter().all(|run| !run["ended_at"].is_null())).then(|| runs.clone())
            })
            .await
    }

    /// Waits until so many deliveries about the incident have arrived and gives all there are.
    pub async fn delivered(&self, incident: &str, count: usize) -> Vec<Value> {
        let path = format!("/v1/notifications?incident_id={incident}");
        self.ada
            .until(&path, |list| {
                let sent = list["items"].as_array()?;
                let delivered = sent.iter().filter(|one| one["status"] == "delivered").count();
                (delivered == count).then(|| sent.clone())
            })
            .await
    }

    /// Waits for the record of one resolved incident and gives its group in `mttr`.
    pub async fn mttr(&self) -> Value {
        let path = format!("/v1/analytics/mttr?service_id={}", self.service);
        self.ada
            .until(&path, |answer| {
                answer.pointer("/groups/0").filter(|group| group["resolved"] == json!(1)).cloned()
            })
            .await
    }
}

/// `at_least` failed charges within ten minutes, longer than any restart takes, are a critical incident.
pub fn rule(service: &str, at_least: i32) -> Value {
    json!({
        "slug": "charges-fail", "name": "Charges fail", "service_id": service,
        "selection": "event.name == \"charge.failed\"",
        "condition": {"count": {"at_least": at_least, "window_ms": 600_000}},
        "severity": "critical", "title": "Charges fail on {service}",
    })
}

/// One failed charge.
pub fn failure() -> Value {
    json!({"service": "payment", "name": "charge.failed", "severity": "high", "attributes": {"region": "eu"}})
}

/// By what the receiver of these requests knows that some of them are one: the key of a page, or of a step.
pub fn keys(receiver: &Receiver, path: &str) -> BTreeSet<String> {
    let key = |hit: Hit| {
        let page = hit.headers.contains_key("webhook-id");
        hit.header(if page { "webhook-id" } else { "idempotency-key" }).to_owned()
    };
    let keys: BTreeSet<_> = receiver.hits_of(path).into_iter().map(key).collect();
    assert!(!keys.contains(""), "a key that says nothing: {keys:?}");
    keys
}

/// Milliseconds from creation to resolution, by the incident itself.
pub fn time_to_resolve(incident: &Value) -> i64 {
    let at = |field: &str| {
        let text = incident[field].as_str().unwrap_or_else(|| panic!("{field} in {incident}"));
        chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()
    };
    at("resolved_at") - at("created_at")
}
