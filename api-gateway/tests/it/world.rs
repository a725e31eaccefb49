//! The gateway's `build` over a test database, incident-service's `build` behind it, and callers as
//! values.

use api_gateway::{Config, Gateway, Intake};
use auth_service::peer::AuthPeer;
use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use platform::access::{AccessTable, OptionNames};
use platform::bus::{Envelope, TailFrom};
use platform::ctx::{OrgId, Permissions, Principal, PrincipalKind};
use platform::deps::Deps;
use platform::migrate::Migrations;
use platform::testing::{Issuer, TestDb, eventually};
use prost::Message;
use proto::events::v1::Event;
use proto::topics::EVENTS;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tower::ServiceExt;
use uuid::Uuid;

pub use platform::testing::SOON;
pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";
/// How the intake looks services up.
pub const RESOLVE: &str = "/pulseops.incident.v1.ServiceService/ResolveServices";

const INCIDENT: Migrations = Migrations { owner: incident_service::NAME, dir: &incident_service::MIGRATIONS };
const AUTH: Migrations = Migrations { owner: auth_service::NAME, dir: &auth_service::MIGRATIONS };

pub struct World {
    pub db: TestDb,
    pub deps: Deps,
    pub org: OrgId,
    pub intake: Intake,
    /// Until it is told to listen.
    pub gateway: Option<Gateway>,
    router: Router,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let db = TestDb::with(&[INCIDENT]).await;
        let deps = db.deps(access());
        Self::start(db, deps, config).await
    }

    /// With auth-service too: its tokens and keys are those that the doors know.
    pub async fn with_auth() -> Self {
        let db = TestDb::with(&[AUTH, INCIDENT]).await;
        let mut deps = db.deps(access());
        let transport = deps.directory.transport("pulseops.auth.v1");
        let peer = AuthPeer::new(transport, "gateway", deps.source.clone());
        let verifier = peer.verifier(deps.door.access.clone(), deps.secret.clone());
        deps.door.verifier = verifier.expect("a verifier");
        let auth = auth_service::build(&deps, &auth_service::Config::default()).await.expect("auth is built");
        deps.directory.add(&auth);
        Self::start(db, deps, Config::default()).await
    }

    async fn start(db: TestDb, deps: Deps, config: Config) -> Self {
        let incidents = incident_service::build(&deps, &incident_service::Config::default()).await;
        deps.directory.add(&incidents.expect("incident-service is built"));
        let lifecycle = deps.lifecycle.clone();
        let gateway = api_gateway::build(&deps, &config, move || lifecycle.is_ready()).await;
        let gateway = gateway.expect("the gateway is built");
        let (router, intake) = (gateway.router(), gateway.intake.clone());
        let org = OrgId(db.source().id());
        Self { db, deps, org, intake, gateway: Some(gateway), router }
    }

    /// A user of the organization.
    pub fn user(&self, role: &str) -> Caller {
        self.user_of(self.org, role)
    }

    /// An owner of another organization.
    pub fn stranger(&self) -> Caller {
        self.user_of(OrgId(self.db.source().id()), "owner")
    }

    fn user_of(&self, org: OrgId, role: &str) -> Caller {
        let mut user = Principal::bare(PrincipalKind::User, self.db.source().id(), role);
        user.role = Some(role.to_owned());
        self.principal(&user, org)
    }

    /// Who holds an integration key of `service`.
    pub fn key_of(&self, service: &str) -> Caller {
        let mut key = Principal::bare(PrincipalKind::IntegrationKey, self.db.source().id(), "prometheus");
        key.permissions = Permissions::from_iter(["events_write"]);
        key.bound_service = Some(service.parse().expect("a UUID"));
        self.principal(&key, self.org)
    }

    fn principal(&self, principal: &Principal, org: OrgId) -> Caller {
        self.bearer(Issuer::new(self.db.source()).token(principal, org))
    }

    /// Who presents this token.
    pub fn bearer(&self, token: impl Into<String>) -> Caller {
        Caller { router: self.router.clone(), token: Some(token.into()) }
    }

    pub fn nobody(&self) -> Caller {
        Caller { router: self.router.clone(), token: None }
    }

    /// The id of a new service.
    pub async fn service(&self, slug: &str) -> String {
        self.user("owner").create_service(slug).await
    }

    /// Every event in the log, those of one service in their order.
    pub async fn stored(&self) -> Vec<(Envelope, Event)> {
        let ends = self.deps.bus.bounds(EVENTS.name).await.expect("the topic");
        let total: i64 = ends.iter().map(|bounds| bounds.end - bounds.start).sum();
        let mut reader = self.deps.bus.tail(EVENTS.name, TailFrom::Start).await.expect("a tail");
        let mut stored = Vec::new();
        while (stored.len() as i64) < total {
            for batch in reader.poll(500, SOON).await.expect("records") {
                for delivered in batch.records {
                    let event = Event::decode(delivered.record.data).expect("an event");
                    stored.push((delivered.record.envelope, event));
                }
            }
        }
        stored
    }

    /// Ids of the events in the log, sorted.
    pub async fn stored_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.stored().await.into_iter().map(|(_, event)| event.id).collect();
        ids.sort_unstable();
        ids
    }

    /// From now on appends of events wait, as they do when the disk is slow.
    pub async fn hold_appends(&self) -> Held {
        let sql = "BEGIN; SELECT FROM pulseops_bus.partitions p \
            JOIN pulseops_bus.topics t ON t.id = p.topic_id WHERE t.name = 'pulseops.events.v1' \
            FOR UPDATE OF p";
        self.hold(sql).await
    }

    /// From now on nothing can be read of services.
    pub async fn hold_services(&self) -> Held {
        self.hold("BEGIN; LOCK TABLE pulseops_incident.services").await
    }

    async fn hold(&self, sql: &str) -> Held {
        let admin = self.db.admin().await;
        admin.batch_execute(sql).await.expect("locked");
        Held(admin)
    }

    /// Waits until so many events are accepted and not yet durable.
    pub async fn until_waiting(&self, events: usize) {
        eventually(SOON, async || (self.intake.waiting() == events).then_some(())).await;
    }

    /// Waits until an append has reached the database and waits there.
    pub async fn until_appending(&self) {
        let admin = self.db.admin().await;
        let sql = waiting("pid", APPEND);
        eventually(SOON, async || admin.query(&sql, &[]).await.expect("the activity").pop().map(drop)).await;
    }

    /// Ends the connection of every append that waits.
    pub async fn break_appends(&self) {
        let sql = waiting("pg_terminate_backend(pid)", APPEND);
        self.db.admin().await.query(&sql, &[]).await.expect("terminated");
    }
}

const APPEND: &str = "SELECT append(%";

fn waiting(what: &str, query: &str) -> String {
    format!(
        "SELECT {what} FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '{query}'"
    )
}

pub fn access() -> AccessTable {
    AccessTable::from_pool(proto::descriptor_pool(), OptionNames::default()).expect("the contract")
}

/// Locks, until they are released.
pub struct Held(Client);

impl Held {
    pub async fn release(self) {
        self.0.batch_execute("COMMIT").await.expect("released");
    }
}

/// Somebody who sends requests.
#[derive(Clone)]
pub struct Caller {
    router: Router,
    token: Option<String>,
}

impl Caller {
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.expect("infallible").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub async fn empty(&self, method: Method, path: &str) -> Answer {
        self.send(self.request(method, path).body(Body::empty()).expect("a request")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.empty(Method::GET, path).await
    }

    pub async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, kind);
        self.send(request.body(body.into()).expect("a request")).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, JSON, body.to_string()).await
    }

    pub async fn events(&self, events: &Value) -> Answer {
        self.post_json("/v1/events", events).await
    }

    /// Sends events while others do something else.
    pub fn sending(&self, events: Value) -> JoinHandle<Answer> {
        let caller = self.clone();
        tokio::spawn(async move { caller.events(&events).await })
    }

    pub async fn create_service(&self, slug: &str) -> String {
        let answer = self.post_json("/v1/services", &json!({ "slug": slug, "name": slug })).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.text_at("/id")
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn text_at(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text at {pointer}: {json}")).to_owned()
    }

    /// The answer as a problem with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")));
        let request = self.header("x-request-id").expect("every answer names its request");
        assert_eq!(problem["instance"], request);
        assert!(request.parse::<Uuid>().is_ok() && !problem["detail"].as_str().unwrap_or("").is_empty());
        problem
    }

    /// (field, code) of a problem's faults.
    pub fn faults(&self) -> Vec<(String, String)> {
        let json = self.json();
        let faults = json["errors"].as_array().unwrap_or_else(|| panic!("no errors: {json}"));
        let text = |fault: &Value, key: &str| fault[key].as_str().expect("text").to_owned();
        faults.iter().map(|fault| (text(fault, "field"), text(fault, "code"))).collect()
    }

    /// How many events a 202 accepted; (index, code) of the others.
    #[track_caller]
    pub fn taken(&self) -> (u64, Vec<(u64, String)>) {
        assert_eq!((self.status, self.header("content-type")), (202, Some(JSON)), "{}", self.text);
        let json = self.json();
        let rejected = json["rejected"].as_array().expect("a list");
        let of = |item: &Value| {
            assert!(item["detail"].is_string() && item.as_object().expect("an object").len() == 3);
            (item["index"].as_u64().expect("an index"), item["code"].as_str().expect("a code").to_owned())
        };
        (json["accepted"].as_u64().expect("a number"), rejected.iter().map(of).collect())
    }
}
