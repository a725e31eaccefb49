//! One thing of every kind that a path can name, made by the first tenant; a colleague who may only read;
//! the owner of another organization.

use std::collections::HashMap;

use serde_json::{Value, json};
use transcode::Operation;
use uuid::Uuid;

use crate::support::client::{User, id, items};
use crate::world::TestPlatform;

pub struct Fixture {
    pub owner: User,
    pub viewer: User,
    pub other: User,
    /// By the part of the path before the variable, for example `teams`.
    ids: HashMap<&'static str, String>,
    /// The path of each POST that made something, and the Location that it answered.
    pub created: Vec<(String, Option<String>)>,
}

impl Fixture {
    pub async fn make(platform: &TestPlatform) -> Self {
        let owner = platform.register().await;
        let viewer = owner.colleague("Vera", "viewer").await;
        let other = platform.nobody.register("Otto").await;
        let mut created = Vec::new();
        let mut ids = HashMap::from([("users", owner.id.clone()), ("members", owner.id.clone())]);
        for (kind, path, body) in configuration(&owner) {
            let path = path.replace("{service}", ids.get("services").map_or("", String::as_str));
            let body = fill(body, &ids);
            let made = made(&owner, path, body, &mut created).await;
            // Keys are shown beside what is kept of them.
            let resource = made.get("api_key").unwrap_or(&made);
            ids.insert(kind, id(resource));
        }
        let member = json!({"user_id": owner.id});
        owner.create(&format!("/v1/teams/{}/members", ids["teams"]), member).await;
        let body = json!({"title": "Slow", "severity": "high", "service_id": ids["services"]});
        let incident = id(&made(&owner, "/v1/incidents".to_owned(), body, &mut created).await);
        for (kind, path) in [
            ("alerts", format!("/v1/incidents/{incident}/alerts")),
            ("runs", format!("/v1/runs?incident_id={incident}")),
            ("notifications", format!("/v1/notifications?incident_id={incident}")),
        ] {
            let first = owner.until(&path, |list| items(list).first().map(id)).await;
            ids.insert(kind, first);
        }
        ids.insert("incidents", incident);
        ids.insert("dead-letters", dead_letter(platform, &owner).await);
        Self { owner, viewer, other, ids, created }
    }

    /// The path of `operation`, its variables replaced by things of the first tenant.
    pub fn path(&self, operation: &Operation) -> String {
        let template = operation.path().expect("an operation of the REST face").to_owned();
        let variables = self.variables(operation).into_iter();
        variables.fold(template, |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
    }

    /// The variables of the path of `operation`, each with a thing of the first tenant.
    ///
    /// # Panics
    /// When the contract has a kind of thing that is not made here: add it.
    pub fn variables<'a>(&'a self, operation: &'a Operation) -> Vec<(&'a str, &'a str)> {
        let template = operation.path().expect("an operation of the REST face");
        let mut before = "";
        let mut variables = Vec::new();
        for part in template.split('/').skip(1) {
            if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                let found = self.ids.get(before);
                let id = found.unwrap_or_else(|| panic!("the fixture makes no {before} ({template})"));
                variables.push((name, id.as_str()));
            } else {
                before = part;
            }
        }
        variables
    }

    pub fn id(&self, kind: &str) -> &str {
        &self.ids[kind]
    }

    /// The ids of everything that the first tenant has made.
    pub fn ids(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.ids.iter().map(|(kind, id)| (*kind, id))
    }
}

async fn made(owner: &User, path: String, body: Value, created: &mut Vec<(String, Option<String>)>) -> Value {
    let answer = owner.post(&path, body).await;
    let location = answer.headers.get("location").map(|it| it.to_str().expect("a path").to_owned());
    created.push((path, location));
    answer.expect(201)
}

fn configuration(owner: &User) -> Vec<(&'static str, String, Value)> {
    let slug = |slug: &str| json!({"slug": slug, "name": slug});
    let with = |mut body: Value, more: Value| {
        let (Value::Object(body_map), Value::Object(more)) = (&mut body, more) else { return body };
        body_map.extend(more);
        body
    };
    vec![
        ("teams", "/v1/teams".to_owned(), slug("payments")),
        ("contact-methods", format!("/v1/users/{}/contact-methods", owner.id), json!({"kind": "log"})),
        (
            "escalation-policies",
            "/v1/escalation-policies".to_owned(),
            with(
                slug("p"),
                json!({"levels": [{"targets": [{"kind": "team", "id": "{teams}"}], "timeout_ms": 60_000}]}),
            ),
        ),
        ("services", "/v1/services".to_owned(), with(slug("payment"), json!({"team_id": "{teams}"}))),
        (
            "rules",
            "/v1/rules".to_owned(),
            with(
                slug("r"),
                json!({"service_id": "{services}", "selection": "event.name == \"x\"",
                       "condition": {"each": {}}, "severity": "low"}),
            ),
        ),
        (
            "workflows",
            "/v1/workflows".to_owned(),
            with(slug("w"), json!({"triggers": ["created"], "steps": [{"add_note": {"text": "seen"}}]})),
        ),
        ("channels", "/v1/channels".to_owned(), with(slug("c"), json!({"kind": "log"}))),
        ("api-keys", "/v1/api-keys".to_owned(), json!({"name": "ci", "scopes": ["incidents_read"]})),
        ("integration-keys", "/v1/services/{service}/integration-keys".to_owned(), json!({"name": "prod"})),
    ]
}

/// Replaces `{kind}` in the texts of `body` by what was made of that kind.
fn fill(body: Value, ids: &HashMap<&'static str, String>) -> Value {
    let mut text = body.to_string();
    for (kind, id) in ids {
        text = text.replace(&format!("\"{{{kind}}}\""), &format!("\"{id}\""));
    }
    serde_json::from_str(&text).expect("ids need no escapes")
}

/// No consumer fails on purpose: the row is what one would have written.
async fn dead_letter(platform: &TestPlatform, owner: &User) -> String {
    let org: Uuid = owner.org.parse().expect("an id");
    let id = platform.db.source().id();
    let sql = format!(
        "INSERT INTO pulseops_bus.dead_letters (org_id, id, consumer, topic, partition, log_offset, key, \
         event_id, event_type, source, subject, event_time, event_version, trace, depth, data, error_code, \
         error_detail, attempts, state, created_at, version) \
         VALUES ('{org}', '{id}', 'nobody', 'pulseops.events.v1', 0, 0, '', '{id}', 'x', 'gateway', 'x', \
         pulseops.now(), 0, '', 0, '', 'poison', 'made by a test', 1, 'dead', pulseops.now(), 1)"
    );
    platform.admin().await.execute(&sql, &[]).await.expect("a dead letter");
    id.to_string()
}
