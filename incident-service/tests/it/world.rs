//! One organization in a process of its own: the service's `build` over a test database.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use incident_service::sweep::Sweeper;
use incident_service::{Config, EVENTS, INCIDENTS, MIGRATIONS, NAME};
use platform::bus::{Delivered, Envelope, Record, TailFrom};
use platform::ctx::{Ctx, OrgId, Principal, Trace};
use platform::deps::Deps;
use platform::error::Error;
use platform::migrate::Migrations;
use platform::rpc::{self, Transport};
use platform::testing::{Company, TestDb, eventually};
use prost::Message;
use proto::api::v1::Severity;
use proto::events::v1::{Event, IncidentEvent};
use proto::incident::v1 as wire;
use proto::incident::v1::alert_service_client::AlertServiceClient;
use proto::incident::v1::incident_service_client::IncidentServiceClient;
use proto::incident::v1::response_service_client::ResponseServiceClient;
use proto::incident::v1::rule_service_client::RuleServiceClient;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use tonic::{Response, Status};

pub const OURS: Migrations = Migrations { owner: NAME, dir: &MIGRATIONS };
pub use platform::testing::SOON;

pub struct World {
    pub db: TestDb,
    pub deps: Deps,
    pub org: OrgId,
    owner: Ctx,
    _company: Company,
}

impl World {
    pub async fn new() -> Self {
        let company = Company::shared().await;
        Self::build(company, &[OURS]).await
    }

    /// With the tables of other services, whom the test builds.
    pub async fn with(services: &[Migrations]) -> Self {
        let company = Company::shared().await;
        Self::build(company, services).await
    }

    /// For tests with failpoints.
    pub async fn alone() -> Self {
        let company = Company::alone().await;
        Self::build(company, &[OURS]).await
    }

    async fn build(company: Company, services: &[Migrations]) -> Self {
        let db = TestDb::with(services).await;
        let deps = db.deps_of(proto::descriptor_pool());
        let owner = db.cx_as(&deps.door.access, "owner");
        let org = owner.org;
        start(&deps).await;
        Self { db, deps, org, owner, _company: company }
    }

    /// The process ends, another begins on the same database.
    pub async fn restart(&mut self) {
        self.deps.lifecycle.stop().await.expect("a clean end");
        self.deps = self.another_process().await;
    }

    /// One more process of this service on the same database.
    pub async fn another_process(&self) -> Deps {
        let deps = self.db.deps_of(proto::descriptor_pool());
        start(&deps).await;
        deps
    }

    /// From now on [`owner`](Self::owner) is this user.
    pub fn become_user(&mut self, org: OrgId, user: uuid::Uuid) {
        let principal = Principal { id: user, ..(*self.owner.principal).clone() };
        self.owner = Ctx { org, principal: Arc::new(principal), ..self.owner.clone() };
        self.org = org;
    }

    /// A user with every permission; the same one each time.
    pub fn owner(&self) -> Ctx {
        Ctx { now: self.db.source().now(), ..self.owner.clone() }
    }

    /// A user of another organization with every permission.
    pub fn stranger(&self) -> Ctx {
        Ctx { org: OrgId(self.db.source().id()), ..self.owner() }
    }

    pub fn workflow(&self) -> Ctx {
        let source = self.db.source().clone();
        let trace = Trace::new(&source);
        Ctx::service("workflow", self.org, source, trace, None)
    }

    pub fn transport(&self) -> Transport {
        self.deps.directory.transport("pulseops.incident.v1")
    }

    pub fn services(&self) -> ServiceServiceClient<Transport> {
        ServiceServiceClient::new(self.transport())
    }

    pub fn rules(&self) -> RuleServiceClient<Transport> {
        RuleServiceClient::new(self.transport())
    }

    pub fn incidents(&self) -> IncidentServiceClient<Transport> {
        IncidentServiceClient::new(self.transport())
    }

    pub fn alerts(&self) -> AlertServiceClient<Transport> {
        AlertServiceClient::new(self.transport())
    }

    pub fn responses(&self) -> ResponseServiceClient<Transport> {
        ResponseServiceClient::new(self.transport())
    }

    pub async fn create_service(&self, service: wire::Service) -> wire::Service {
        let message = wire::CreateServiceRequest { service: Some(service) };
        ok(self.services().create_service(rpc::request(&self.owner(), message)).await)
    }

    pub async fn payment(&self) -> wire::Service {
        self.create_service(service("payment")).await
    }

    pub async fn update_service(&self, service: wire::Service, paths: &[&str]) -> wire::Service {
        let id = service.id.clone();
        let message =
            wire::UpdateServiceRequest { id, service: Some(service), update_mask: Some(mask(paths)) };
        ok(self.services().update_service(rpc::request(&self.owner(), message)).await)
    }

    pub async fn create_rule(&self, rule: wire::Rule) -> wire::Rule {
        let message = wire::CreateRuleRequest { rule: Some(rule) };
        ok(self.rules().create_rule(rpc::request(&self.owner(), message)).await)
    }

    pub async fn update_rule(&self, rule: wire::Rule, paths: &[&str]) -> wire::Rule {
        let id = rule.id.clone();
        let message = wire::UpdateRuleRequest { id, rule: Some(rule), update_mask: Some(mask(paths)) };
        ok(self.rules().update_rule(rpc::request(&self.owner(), message)).await)
    }

    pub async fn create_incident(&self, service: &wire::Service) -> wire::Incident {
        let message = wire::CreateIncidentRequest { incident: Some(draft(service)) };
        ok(self.incidents().create_incident(rpc::request(&self.owner(), message)).await)
    }

    pub async fn incident(&self, id: &str) -> wire::Incident {
        let message = wire::GetIncidentRequest { id: id.to_owned() };
        ok(self.incidents().get_incident(rpc::request(&self.owner(), message)).await)
    }

    pub async fn resolve(&self, id: &str) -> wire::Incident {
        let message = wire::ResolveIncidentRequest { id: id.to_owned(), note: "fixed".to_owned() };
        ok(self.incidents().resolve_incident(rpc::request(&self.owner(), message)).await)
    }

    /// Every incident, oldest first.
    pub async fn all_incidents(&self) -> Vec<wire::Incident> {
        let message = wire::ListIncidentsRequest {
            page_size: 200,
            sort: "number".to_owned(),
            ..wire::ListIncidentsRequest::default()
        };
        ok(self.incidents().list_incidents(rpc::request(&self.owner(), message)).await).items
    }

    /// Every alert, oldest first.
    pub async fn all_alerts(&self) -> Vec<wire::Alert> {
        let message = wire::ListAlertsRequest {
            page_size: 200,
            sort: "started_at".to_owned(),
            ..wire::ListAlertsRequest::default()
        };
        ok(self.alerts().list_alerts(rpc::request(&self.owner(), message)).await).items
    }

    /// Kinds of the entries of an incident's timeline, oldest first.
    pub async fn timeline(&self, id: &str) -> Vec<wire::TimelineEntry> {
        let message = wire::ListTimelineRequest {
            id: id.to_owned(),
            page_size: 200,
            ..wire::ListTimelineRequest::default()
        };
        ok(self.incidents().list_timeline(rpc::request(&self.owner(), message)).await).items
    }

    pub async fn timeline_kinds(&self, id: &str) -> Vec<wire::TimelineKind> {
        self.timeline(id).await.iter().map(wire::TimelineEntry::kind).collect()
    }

    /// Puts events on the bus as the gateway does.
    pub async fn send(&self, service: &wire::Service, events: impl IntoIterator<Item = Event>) {
        let now = self.db.source().now();
        let records: Vec<Record> = events.into_iter().map(|event| self.record(service, event, now)).collect();
        self.deps.bus.append(EVENTS.name, &records).await.expect("appended");
    }

    pub fn record(&self, service: &wire::Service, event: Event, now: DateTime<Utc>) -> Record {
        Record {
            key: format!("{}/{}", self.org, service.id).into(),
            ..record(&self.owner(), service, event, now)
        }
    }

    /// Forgets what is over, as every process does now and then.
    pub async fn sweep(&self) {
        let idle = self.db.deps_of(proto::descriptor_pool());
        let sweeper = Sweeper::new(&self.db.db(NAME), idle.bus.clone(), self.db.source());
        sweeper.step().await.expect("swept");
    }

    /// Waits until there are so many incidents; oldest first.
    pub async fn until_incidents(&self, count: usize) -> Vec<wire::Incident> {
        eventually(SOON, async || Some(self.all_incidents().await).filter(|all| all.len() == count)).await
    }

    /// Waits until every event was handled and every outbox row was sent.
    pub async fn settle(&self) {
        let admin = self.db.admin().await;
        let ends = self.deps.bus.bounds(EVENTS.name).await.expect("the topic is there");
        eventually(SOON, async || {
            for end in &ends {
                let behind = "SELECT FROM pulseops_incident.positions \
                    WHERE consumer = 'rules' AND partition = $1 AND next >= $2";
                admin.query_opt(behind, &[&end.partition, &end.end]).await.expect("a query")?;
            }
            let unsent = "SELECT FROM pulseops_incident.outbox WHERE sent_at IS NULL LIMIT 1";
            admin.query_opt(unsent, &[]).await.expect("a query").is_none().then_some(())
        })
        .await;
    }

    /// What was told on `pulseops.incidents.v1`, after everything has settled.
    pub async fn told(&self) -> Vec<(Delivered, IncidentEvent)> {
        self.settle().await;
        let ends = self.deps.bus.bounds(INCIDENTS.name).await.expect("the topic is there");
        let total: i64 = ends.iter().map(|bounds| bounds.end - bounds.start).sum();
        let total = usize::try_from(total).expect("not negative");
        let mut reader = self.deps.bus.tail(INCIDENTS.name, TailFrom::Start).await.expect("a tail");
        let mut told = Vec::new();
        while told.len() < total {
            let read = reader.poll(500, SOON).await.expect("records");
            assert!(!read.is_empty(), "{} of {total} records within {SOON:?}", told.len());
            for record in read.into_iter().flat_map(|batch| batch.records) {
                let event = IncidentEvent::decode(record.record.data.clone()).expect("an event");
                told.push((record, event));
            }
        }
        told
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.db.admin().await.query_one(sql, &[]).await.expect("a query").get(0)
    }
}

/// What the gateway puts on the bus for `cx`'s organization, under a key of its own choice.
pub fn record(cx: &Ctx, service: &wire::Service, event: Event, now: DateTime<Utc>) -> Record {
    let accepted_at = Some(proto::time::to_timestamp(now));
    let time = event.time.or(accepted_at);
    let event = Event { service: service.id.clone(), accepted_at, time, ..event };
    let envelope = Envelope::new(cx, "gateway", "pulseops.event.received.v1", &service.id, 0);
    Record::new("any", envelope, &event)
}

async fn start(deps: &Deps) {
    let service = incident_service::build(deps, &Config::default()).await.expect("built");
    deps.directory.add(&service);
}

pub fn ok<T>(answer: Result<Response<T>, Status>) -> T {
    answer.map_err(Error::from).expect("a good answer").into_inner()
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Error {
    answer.expect_err("must be refused").into()
}

pub fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

pub fn service(slug: &str) -> wire::Service {
    wire::Service { slug: slug.to_owned(), name: slug.to_uppercase(), ..wire::Service::default() }
}

pub fn count(at_least: i32, seconds: i64) -> wire::Condition {
    let count = wire::CountInWindow { at_least, window_ms: seconds * 1000 };
    wire::Condition { kind: Some(wire::condition::Kind::Count(count)) }
}

pub fn each() -> wire::Condition {
    wire::Condition { kind: Some(wire::condition::Kind::Each(wire::Each {})) }
}

/// Failed charges open a critical incident.
pub fn charges(service: &wire::Service, condition: wire::Condition) -> wire::Rule {
    wire::Rule {
        slug: "charges-fail".to_owned(),
        name: "Charges fail".to_owned(),
        service_id: service.id.clone(),
        selection: r#"event.name == "charge.failed""#.to_owned(),
        condition: Some(condition),
        severity: Severity::Critical.into(),
        ..wire::Rule::default()
    }
}

pub fn draft(service: &wire::Service) -> wire::Incident {
    wire::Incident {
        title: "Payments fail".to_owned(),
        service_id: service.id.clone(),
        severity: Severity::High.into(),
        ..wire::Incident::default()
    }
}

pub fn failed(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        name: "charge.failed".to_owned(),
        severity: Severity::High.into(),
        attributes: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        ..Event::default()
    }
}
