//! Every operation of the contract, called for real as nobody, as a viewer and as another tenant. The list
//! comes from the contract: an operation that nobody thought of is called all the same.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};
use transcode::{Access, Contract, Operation};

use crate::contract::{access, contract};
use crate::examples::{Examples, Own};
use crate::fixture::Fixture;
use crate::support::client::{Answer, Client, items};
use crate::world::TestPlatform;

/// Operations whose permission a viewer holds and that are refused all the same, by the row.
const OWN_ROWS_ONLY: [(&str, &str); 7] = [
    ("create_contact_method", "everybody keeps their own addresses"),
    ("get_contact_method", "everybody keeps their own addresses"),
    ("list_contact_methods", "everybody keeps their own addresses"),
    ("update_contact_method", "everybody keeps their own addresses"),
    ("delete_contact_method", "everybody keeps their own addresses"),
    ("send_contact_method_code", "everybody keeps their own addresses"),
    ("verify_contact_method", "everybody keeps their own addresses"),
];

/// The operations of the REST face; those that end sessions come last.
fn operations(contract: &Contract) -> Vec<&Operation> {
    let mut operations: Vec<_> = contract.operations().iter().filter(|it| it.is_documented()).collect();
    operations.sort_by_key(|operation| operation.name() == "logout");
    operations
}

async fn call(client: &Client, operation: &Operation, path: &str, body: Value) -> Answer {
    match operation.method().expect("an operation of the REST face").clone() {
        method @ (Method::GET | Method::DELETE) => client.send(method, path, &[], None).await,
        method => client.json(method, path, &body).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_viewer_and_other_tenant() {
    let mut platform = TestPlatform::start().await;
    let fixture = Fixture::make(&platform).await;
    let (contract, access) = (contract(), access());
    let examples = Examples::of(&contract);
    let ours = Own { user: fixture.owner.id.clone(), team: fixture.id("teams").to_owned() };
    let theirs = Own::make(&fixture.other).await;
    let mut table = String::new();
    let mut wrong = Vec::new();
    for operation in operations(&contract) {
        let path = fixture.path(operation);
        let body = |own| examples.body(operation, own);
        let nobody = call(&platform.nobody, operation, &path, body(&ours)).await;
        let viewer = call(&fixture.viewer, operation, &path, body(&ours)).await;
        let other = call(&fixture.other, operation, &path, body(&theirs)).await;
        let holds = match operation.access() {
            Access::Permission(name) => access.role("viewer").contains(name),
            _ => true,
        };
        wrong.extend(judge_nobody(operation, &nobody));
        wrong.extend(judge_viewer(operation, holds, &viewer));
        wrong.extend(judge_other(operation, &fixture, &other));
        let name = operation.name();
        writeln!(table, "{name:<28} {:>3} {:>3} {:>3}", nobody.status, viewer.status, other.status)
            .expect("a string grows");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    insta::assert_snapshot!("nobody_viewer_other_tenant", table);
    // The fixture's dead letter, and what the callers set in motion.
    platform.forgive();
}

fn judge_nobody(operation: &Operation, answer: &Answer) -> Option<String> {
    let right = match operation.access() {
        Access::Public => answer.code() != "missing_token",
        _ => answer.status == 401 && answer.code() == "missing_token",
    };
    (!right).then(|| fault("nobody", operation, answer))
}

fn judge_viewer(operation: &Operation, holds: bool, answer: &Answer) -> Option<String> {
    let own_rows = OWN_ROWS_ONLY.iter().any(|(name, _)| *name == operation.name());
    let right = match operation.access() {
        Access::Public => true,
        _ if own_rows || !holds => answer.status == 403,
        _ if operation.method() == Some(&Method::GET) => answer.status == 200,
        _ => answer.status != 401 && answer.status != 403,
    };
    (!right).then(|| fault("viewer", operation, answer))
}

fn judge_other(operation: &Operation, fixture: &Fixture, answer: &Answer) -> Option<String> {
    if *operation.access() == Access::Public {
        return None;
    }
    let right = if operation.path_variables().is_empty() {
        let shown: Vec<_> = fixture.ids().filter(|(_, id)| answer.text.contains(id.as_str())).collect();
        answer.status < 500 && shown.is_empty()
    } else {
        answer.status == 404
    };
    (!right).then(|| fault("other tenant", operation, answer))
}

fn fault(who: &str, operation: &Operation, answer: &Answer) -> String {
    format!("{who}: {} ({}): {} {}", operation.name(), answer.request, answer.status, answer.text)
}

/// What another tenant owns cannot be referred to either.
#[tokio::test(flavor = "multi_thread")]
async fn references_into_another_tenant_are_refused() {
    let mut platform = TestPlatform::start().await;
    let fixture = Fixture::make(&platform).await;
    let other = &fixture.other;
    let (team, service) = (fixture.id("teams"), fixture.id("services"));
    let (user, channel) = (fixture.id("users"), fixture.id("channels"));
    let policy = |kind: &str, id: &str| json!({"slug": "p", "name": "P", "levels": [{"targets": [{"kind": kind, "id": id}], "timeout_ms": 60_000}]});
    let tries = [
        ("/v1/services", json!({"slug": "s", "name": "S", "team_id": team})),
        (
            "/v1/services",
            json!({"slug": "s", "name": "S", "escalation_policy_id": fixture.id("escalation-policies")}),
        ),
        (
            "/v1/rules",
            json!({"slug": "r", "name": "R", "service_id": service, "selection": "true",
                   "condition": {"each": {}}, "severity": "low"}),
        ),
        ("/v1/incidents", json!({"title": "T", "severity": "low", "service_id": service})),
        ("/v1/escalation-policies", policy("team", team)),
        ("/v1/escalation-policies", policy("user", user)),
        ("/v1/escalation-policies", policy("channel", channel)),
        ("/v1/channels", json!({"slug": "c", "name": "C", "kind": "log", "team_id": team})),
        ("/v1/events", json!({"service": service, "name": "x"})),
    ];
    let mut wrong = Vec::new();
    for (path, body) in tries {
        let answer = other.post(path, body.clone()).await;
        if answer.status != 422 || answer.json()["errors"].as_array().is_none_or(Vec::is_empty) {
            wrong.push(format!("{path} {body}: {} {}", answer.status, answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(items(&other.get("/v1/services").await.expect(200)).is_empty());
    platform.forgive();
}
