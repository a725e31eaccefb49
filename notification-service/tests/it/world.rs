//! One organization in a process of its own: the service's `build` over a test database.

use notification_service::{Config, Delivery, MIGRATIONS, NAME};
use platform::bus::{Envelope, Record};
use platform::ctx::{Ctx, OrgId, Trace};
use platform::deps::Deps;
use platform::migrate::Migrations;
use platform::rpc::{self, Transport};
use platform::testing::{Company, TestDb, eventually};
use proto::api::v1::{Actor, ActorKind, Reference, Severity, Target, TargetKind};
use proto::auth::v1::RegisterRequest;
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::events::v1::{IncidentEvent, UserEvent};
use proto::incident::v1::{Incident, IncidentStatus};
use proto::notification::v1 as wire;
use proto::notification::v1::channel_service_client::ChannelServiceClient;
use proto::notification::v1::contact_method_service_client::ContactMethodServiceClient;
use proto::notification::v1::notification_service_client::NotificationServiceClient;
use proto::notification::v1::send_service_client::SendServiceClient;
use uuid::Uuid;

pub const OURS: Migrations = Migrations { owner: NAME, dir: &MIGRATIONS };
const AUTHS: Migrations = Migrations { owner: "auth", dir: &auth_service::MIGRATIONS };
const INCIDENTS: Migrations = Migrations { owner: "incident", dir: &incident_service::MIGRATIONS };
pub use platform::testing::SOON;

pub struct World {
    pub db: TestDb,
    pub deps: Deps,
    pub org: OrgId,
    owner: Ctx,
    _company: Company,
}

/// What a person may do with their own account.
pub fn own(world: &World, user: Uuid) -> Ctx {
    let mut cx = world.db.cx_in(world.org, &["profile"]);
    let mut principal = (*cx.principal).clone();
    principal.id = user;
    cx.principal = principal.into();
    cx
}

/// Retries that a test need not wait for, and limits that no slow machine comes to.
pub fn quick() -> Config {
    let delivery = Delivery {
        first_retry_ms: 20,
        max_retry_ms: 50,
        max_attempts: 3,
        timeout_ms: 120_000,
        trust_decision_ms: 60_000,
        trust_team_ms: 600_000,
        peer_timeout_ms: 10_000,
        ..Delivery::default()
    };
    Config { delivery, ..Config::default() }
}

impl World {
    pub async fn new() -> Self {
        Self::with(quick()).await
    }

    pub async fn with(config: Config) -> Self {
        let company = Company::shared().await;
        Self::build(config, company).await
    }

    /// With so many connections to its database.
    pub async fn with_connections(connections: usize) -> Self {
        let company = Company::shared().await;
        Self::on(TestDb::with(&[OURS]).await.with_connections(connections), quick(), company).await
    }

    /// For tests with failpoints.
    pub async fn alone() -> Self {
        let company = Company::alone().await;
        Self::build(quick(), company).await
    }

    /// With auth- and incident-service in the same process; the owner has registered.
    pub async fn with_peers() -> Self {
        Self::with_peers_and(quick()).await
    }

    pub async fn with_peers_and(config: Config) -> Self {
        Self::among_peers(config, Company::shared().await).await
    }

    /// The same for tests with failpoints.
    pub async fn alone_with_peers() -> Self {
        Self::among_peers(quick(), Company::alone().await).await
    }

    async fn among_peers(config: Config, company: Company) -> Self {
        let db = TestDb::with(&[OURS, AUTHS, INCIDENTS]).await;
        let mut world = Self::on(db, config, company).await;
        let auth = auth_service::build(&world.deps, &auth_service::Config::default()).await;
        world.deps.directory.add(&auth.expect("built"));
        let incident = incident_service::build(&world.deps, &incident_service::Config::default()).await;
        world.deps.directory.add(&incident.expect("built"));
        world.register().await;
        world
    }

    async fn register(&mut self) {
        let request = RegisterRequest {
            email: "olga@example.com".to_owned(),
            password: "correct horse battery".to_owned(),
            name: "Olga".to_owned(),
            organization: "Example".to_owned(),
        };
        let nobody = Ctx::anonymous(self.db.source().clone());
        let mut client = SessionServiceClient::new(self.deps.directory.transport("pulseops.auth.v1"));
        let session = client.register(rpc::request(&nobody, request)).await.expect("registered").into_inner();
        let parse = |id: &str| id.parse::<Uuid>().expect("a UUID");
        self.org = OrgId(parse(&session.organization.expect("hers").id));
        self.owner.org = self.org;
        let mut principal = (*self.owner.principal).clone();
        principal.id = parse(&session.user.expect("her").id);
        principal.name = "Olga".to_owned();
        principal.role = Some("owner".to_owned());
        self.owner.principal = principal.into();
        self.heard(self.owner.principal.id).await;
    }

    async fn build(config: Config, company: Company) -> Self {
        Self::on(TestDb::with(&[OURS]).await, config, company).await
    }

    async fn on(db: TestDb, config: Config, company: Company) -> Self {
        let deps = db.deps_of(proto::descriptor_pool());
        let owner = db.cx_as(&deps.door.access, "owner");
        let org = owner.org;
        let service = notification_service::build(&deps, &config).await.expect("built");
        deps.directory.add(&service);
        Self { db, deps, org, owner, _company: company }
    }

    /// A user with every permission; the same one each time.
    pub fn owner(&self) -> Ctx {
        Ctx { now: self.db.source().now(), ..self.owner.clone() }
    }

    pub fn workflow(&self) -> Ctx {
        let source = self.db.source().clone();
        let trace = Trace::new(&source);
        Ctx::service("workflow", self.org, source, trace, None)
    }

    pub fn transport(&self) -> Transport {
        self.deps.directory.transport("pulseops.notification.v1")
    }

    pub fn channels(&self) -> ChannelServiceClient<Transport> {
        ChannelServiceClient::new(self.transport())
    }

    pub fn methods(&self) -> ContactMethodServiceClient<Transport> {
        ContactMethodServiceClient::new(self.transport())
    }

    pub fn notifications(&self) -> NotificationServiceClient<Transport> {
        NotificationServiceClient::new(self.transport())
    }

    pub async fn create_channel(&self, slug: &str, url: &str) -> wire::Channel {
        let channel = wire::Channel {
            slug: slug.to_owned(),
            name: slug.to_uppercase(),
            kind: wire::ChannelKind::Webhook.into(),
            address: url.to_owned(),
            ..wire::Channel::default()
        };
        let message = wire::CreateChannelRequest { channel: Some(channel) };
        let created = self.channels().create_channel(rpc::request(&self.owner(), message)).await;
        created.expect("created").into_inner()
    }

    pub async fn send(&self, request: wire::SendRequest) -> wire::SendResponse {
        self.try_send(request).await.expect("sent").into_inner()
    }

    pub async fn try_send(
        &self,
        request: wire::SendRequest,
    ) -> Result<tonic::Response<wire::SendResponse>, tonic::Status> {
        let mut client = SendServiceClient::new(self.transport());
        client.send(rpc::request(&self.workflow(), request)).await
    }

    /// As if auth-service had never been asked.
    pub async fn forget_groups(&self, kind: &str) {
        let sql = "DELETE FROM pulseops_notification.groups_seen WHERE kind = $1";
        self.db.admin().await.execute(sql, &[&kind]).await.expect("forgotten");
    }

    /// As if everything had been sealed with another deployment's secret.
    pub async fn lose_secret(&self) {
        let sql = "UPDATE pulseops_notification.channels SET address_sealed = '\\x00'::bytea";
        self.db.admin().await.batch_execute(sql).await.expect("lost");
    }

    pub async fn notification(&self, id: &str) -> wire::Notification {
        let message = wire::GetNotificationRequest { id: id.to_owned() };
        let got = self.notifications().get_notification(rpc::request(&self.owner(), message)).await;
        got.expect("there").into_inner()
    }

    pub async fn until(&self, id: &str, status: wire::NotificationStatus) -> wire::Notification {
        eventually(SOON, async || {
            let notification = self.notification(id).await;
            (notification.status() == status).then_some(notification)
        })
        .await
    }

    /// Until this attempt is on record as failed: then its step holds nothing any more, and the clock may move.
    pub async fn failed(&self, id: &str, number: i32) {
        eventually(SOON, async || {
            let notification = self.notification(id).await;
            let attempt = notification.attempts.into_iter().find(|attempt| attempt.number == number)?;
            (attempt.outcome() == wire::AttemptOutcome::Failed).then_some(())
        })
        .await;
    }

    /// auth-service says that somebody has an account.
    pub async fn hear_of(&self, name: &str, email: &str, verified: bool) -> Uuid {
        let user = self.db.source().id();
        self.hear_again(user, name, email, verified, self.db.source().id()).await;
        user
    }

    /// The same with the event's id given.
    pub async fn hear_again(&self, user: Uuid, name: &str, email: &str, verified: bool, event: Uuid) {
        let data = UserEvent {
            user_id: user.to_string(),
            email: email.to_owned(),
            name: name.to_owned(),
            verified,
            ..UserEvent::default()
        };
        self.say("registered", user, 1, event, &data).await;
        self.heard(user).await;
    }

    /// auth-service says that an account was changed to this.
    pub async fn hear_change(&self, user: Uuid, name: &str, inactive: bool, version: i64) {
        let data =
            UserEvent { user_id: user.to_string(), name: name.to_owned(), inactive, ..UserEvent::default() };
        self.say("changed", user, version, self.db.source().id(), &data).await;
    }

    async fn say(&self, what: &str, user: Uuid, version: i64, event: Uuid, data: &UserEvent) {
        let ty = format!("pulseops.auth.user.{what}.v1");
        let mut envelope = Envelope::new(&self.workflow(), "auth", ty, user, version);
        envelope.id = event;
        let record = Record::new(self.org.uuid().as_bytes().to_vec(), envelope, data);
        self.deps.bus.ensure_topic(&auth_service::events::TOPIC).await.expect("the topic");
        self.deps.bus.append(auth_service::events::TOPIC.name, &[record]).await.expect("appended");
    }

    /// Until auth-service's word about `user` has arrived.
    async fn heard(&self, user: Uuid) {
        self.heard_of(user, 0).await;
    }

    /// The same of this version of the user.
    pub async fn heard_of(&self, user: Uuid, version: i64) {
        let admin = self.db.admin().await;
        eventually(SOON, async || {
            let sql = "SELECT count(*) FROM pulseops_notification.people WHERE user_id::text = $1 AND version >= $2";
            let row = admin.query_one(sql, &[&user.to_string(), &version]).await;
            row.ok().filter(|row| row.get::<_, i64>(0) > 0)
        })
        .await;
    }

    pub fn page(&self, key: &str, targets: Vec<Target>) -> wire::SendRequest {
        let id = Uuid::from_u128(0x0190_f0e0_0000_7000_8000_0000_0000_0001);
        let incident = Incident {
            id: id.to_string(),
            number: 12,
            title: "charge.failed".to_owned(),
            severity: Severity::Critical.into(),
            status: IncidentStatus::Triggered.into(),
            service_id: id.to_string(),
            ..Incident::default()
        };
        wire::SendRequest {
            key: key.to_owned(),
            targets,
            incident: Some(IncidentEvent {
                incident: Some(incident),
                service: Some(Reference { id: id.to_string(), name: "payment".to_owned() }),
                ..IncidentEvent::default()
            }),
            message: String::new(),
            decided_at: Some(proto::time::to_timestamp(self.db.source().now())),
            run_id: id.to_string(),
            sequence: 1,
            actor: Some(Actor {
                kind: ActorKind::Workflow.into(),
                id: id.to_string(),
                name: "policy".to_owned(),
            }),
        }
    }
}

pub fn channel(id: &str) -> Target {
    Target { kind: TargetKind::Channel.into(), id: id.to_owned() }
}

pub fn user(id: Uuid) -> Target {
    Target { kind: TargetKind::User.into(), id: id.to_string() }
}

/// The error of an answer, as the platform reads it.
pub fn error<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) -> platform::error::Error {
    platform::error::Error::from(answer.expect_err("refused"))
}
