//! The service's `build` over a test database. Its doors verify tokens with the service's own keys
//! and exchange keys with itself, as every process does.

use auth_service::peer::{AuthPeer, follow_revocations};
use auth_service::{Config, MIGRATIONS, NAME};
use platform::bus::TailFrom;
use platform::ctx::{Ctx, OrgId, Principal, PrincipalKind, Trace};
use platform::deps::Deps;
use platform::error::Error;
use platform::lifecycle::Stage;
use platform::migrate::Migrations;
use platform::rpc::{self, Transport};
use platform::testing::{TestDb, eventually};
use prost::Message as _;
use proto::auth::v1 as pb;
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::api_key_service_client::ApiKeyServiceClient;
use proto::auth::v1::me_service_client::MeServiceClient;
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::events::v1::UserEvent;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub const OURS: Migrations = Migrations { owner: NAME, dir: &MIGRATIONS };
pub use platform::testing::SOON;
pub const PASSWORD: &str = "correct horse battery staple";

pub struct World {
    pub db: TestDb,
    pub deps: Deps,
}

/// An error as callers see it.
pub fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> (http::StatusCode, &'static str) {
    let error = Error::from(result.expect_err("refused"));
    (error.kind.http(), error.code)
}

/// The field that an error is about.
pub fn field<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, &'static str) {
    let error = Error::from(result.expect_err("refused"));
    let fault = error.fields.first().unwrap_or_else(|| panic!("no field in {error:?}"));
    (fault.field.clone(), fault.code)
}

pub fn inner<T>(result: Result<Response<T>, Status>) -> T {
    result.unwrap_or_else(|status| panic!("{:?}", Error::from(status))).into_inner()
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let db = TestDb::with(&[OURS]).await;
        let deps = deps(&db);
        let service = auth_service::build(&deps, &config).await.expect("built");
        deps.directory.add(&service);
        Self { db, deps }
    }

    /// With incident-service beside it, the real one.
    pub async fn with_incidents() -> Self {
        let theirs = Migrations { owner: incident_service::NAME, dir: &incident_service::MIGRATIONS };
        let db = TestDb::with(&[OURS, theirs]).await;
        let deps = deps(&db);
        let auth = auth_service::build(&deps, &Config::default()).await.expect("built");
        deps.directory.add(&auth);
        let config = incident_service::Config::default();
        let incidents = incident_service::build(&deps, &config).await.expect("built");
        deps.directory.add(&incidents);
        Self { db, deps }
    }

    /// Lets the doors hear what is revoked, as every process does.
    pub fn listen(&self) {
        let (bus, verifier) = (self.deps.bus.clone(), self.deps.door.verifier.clone());
        let source = self.deps.source.clone();
        self.deps.lifecycle.spawn(Stage::Consumers, "revocations", |shutdown| {
            follow_revocations(bus, verifier, source, shutdown)
        });
    }

    pub fn anonymous(&self) -> Ctx {
        Ctx::anonymous(self.deps.source.clone())
    }

    /// One of our own services, acting in `org`.
    pub fn service(&self, org: OrgId) -> Ctx {
        let source = self.deps.source.clone();
        Ctx::service("incident", org, source.clone(), Trace::new(&source), None)
    }

    /// An organization and its owner, written past the API because that would hash a password.
    pub async fn organization(&self, slug: &str) -> Ctx {
        let org = OrgId(self.db.source().id());
        let sql = "INSERT INTO pulseops_auth.organizations \
            VALUES ($1::text::uuid, $2, $2, 'UTC', '{}', now(), 'test', now(), 'test', NULL, 1)";
        self.db.admin().await.execute(sql, &[&org.to_string(), &slug]).await.expect("inserted");
        self.member(org, "owner").await
    }

    /// A user of `org` with `role`, written past the API, and the context of their calls.
    pub async fn member(&self, org: OrgId, role: &str) -> Ctx {
        let id = self.db.source().id();
        let email = format!("{}@example.com", id.simple());
        let sql = "INSERT INTO pulseops_auth.users \
            VALUES ($1::text::uuid, $2::text::uuid, $3, $4, $4, NULL, 'UTC', NULL, 'active', '{}', now(), 'test', now(), 'test', NULL, 1)";
        let admin = self.db.admin().await;
        admin.execute(sql, &[&org.to_string(), &id.to_string(), &email, &role]).await.expect("inserted");
        self.user(org, id, role)
    }

    /// The context of a user's calls, without a session.
    pub fn user(&self, org: OrgId, id: Uuid, role: &str) -> Ctx {
        let mut user = Principal::bare(PrincipalKind::User, id, role);
        user.role = Some(role.to_owned());
        user.permissions = self.deps.door.access.role(role);
        Ctx::new(self.deps.source.clone(), user, org)
    }

    /// The context of the calls of a key that nobody made and that holds `scopes`.
    pub fn key(&self, org: OrgId, scopes: &[&str]) -> Ctx {
        self.key_of(org, self.db.source().id(), scopes)
    }

    /// The context of the calls of key `id` with `scopes`.
    pub fn key_of(&self, org: OrgId, id: Uuid, scopes: &[&str]) -> Ctx {
        let mut key = Principal::bare(PrincipalKind::ApiKey, id, "a key");
        key.permissions = scopes.iter().copied().collect();
        Ctx::new(self.deps.source.clone(), key, org)
    }

    pub async fn register(&self, email: &str, organization: &str) -> Result<pb::Session, Status> {
        let request = pb::RegisterRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            name: "Ann".to_owned(),
            organization: organization.to_owned(),
        };
        let request = rpc::request(&self.anonymous(), request);
        self.sessions().register(request).await.map(Response::into_inner)
    }

    pub async fn login(&self, email: &str, password: &str) -> Result<pb::Session, Status> {
        let request = pb::LoginRequest { email: email.to_owned(), password: password.to_owned() };
        let request = rpc::request(&self.anonymous(), request);
        self.sessions().login(request).await.map(Response::into_inner)
    }

    pub async fn refresh(&self, token: &str) -> Result<pb::Session, Status> {
        let request = pb::RefreshRequest { refresh_token: token.to_owned() };
        let request = rpc::request(&self.anonymous(), request);
        self.sessions().refresh(request).await.map(Response::into_inner)
    }

    /// Who calls with this bearer token, asked through the door.
    pub async fn me(&self, bearer: &str) -> Result<pb::Me, Status> {
        let request = with_bearer(bearer, pb::GetMeRequest {});
        MeServiceClient::new(self.transport()).get_me(request).await.map(Response::into_inner)
    }

    /// Waits until the bearer token is refused, and says how.
    pub async fn refused(&self, bearer: &str) -> &'static str {
        eventually(SOON, || async { self.me(bearer).await.err().map(|status| Error::from(status).code) })
            .await
    }

    /// What the topic says of users, in order, once it has said `count` things of them.
    pub async fn users_told(&self, org: OrgId, count: usize) -> Vec<(String, UserEvent)> {
        let mut reader = self.deps.bus.tail("pulseops.auth.v1", TailFrom::Start).await.expect("a reader");
        let mut told = Vec::new();
        while told.len() < count {
            let batches = reader.poll(100, SOON).await.expect("records");
            let records =
                batches.into_iter().flat_map(|batch| batch.records).map(|delivered| delivered.record);
            let users = records.filter(|r| r.envelope.org == org && r.envelope.ty.contains(".user."));
            told.extend(users.map(|r| (r.envelope.ty, UserEvent::decode(r.data).expect("a user event"))));
        }
        told
    }

    /// (type, subject, version) of the events of `org`, in order.
    pub async fn events(&self, org: OrgId) -> Vec<(String, String, i64)> {
        let sql = "SELECT type, aggregate_id, version FROM pulseops_auth.outbox \
            WHERE org_id = $1::text::uuid ORDER BY id";
        let rows = self.db.admin().await.query(sql, &[&org.to_string()]).await.expect("the outbox");
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    /// (action, kind and id of the actor) of the audit of `org`, in order.
    pub async fn audit(&self, org: OrgId) -> Vec<(String, String)> {
        let sql = "SELECT action, actor_kind || ':' || actor_id \
            FROM pulseops_auth.audit WHERE org_id = $1::text::uuid ORDER BY id";
        let rows = self.db.admin().await.query(sql, &[&org.to_string()]).await.expect("the audit");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    pub async fn actions(&self, org: OrgId) -> Vec<String> {
        self.audit(org).await.into_iter().map(|(action, ..)| action).collect()
    }

    fn transport(&self) -> Transport {
        self.deps.directory.transport("pulseops.auth.v1")
    }

    pub fn sessions(&self) -> SessionServiceClient<Transport> {
        SessionServiceClient::new(self.transport())
    }

    pub fn users(&self) -> UserServiceClient<Transport> {
        UserServiceClient::new(self.transport())
    }

    pub fn teams(&self) -> TeamServiceClient<Transport> {
        TeamServiceClient::new(self.transport())
    }

    pub fn keys(&self) -> ApiKeyServiceClient<Transport> {
        ApiKeyServiceClient::new(self.transport())
    }

    pub fn access(&self) -> AccessServiceClient<Transport> {
        AccessServiceClient::new(self.transport())
    }
}

/// What a process is made of; its verifier asks auth-service.
pub fn deps(db: &TestDb) -> Deps {
    let mut deps = db.deps_of(proto::descriptor_pool());
    let transport = deps.directory.transport("pulseops.auth.v1");
    let peer = AuthPeer::new(transport, "gateway", deps.source.clone());
    let verifier = peer.verifier(deps.door.access.clone(), deps.secret.clone());
    deps.door.verifier = verifier.expect("a verifier");
    deps
}

pub fn with_bearer<M>(bearer: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let value = format!("Bearer {bearer}").parse().expect("visible ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

pub fn org_of(session: &pb::Session) -> OrgId {
    let organization = session.organization.as_ref().expect("set");
    organization.id.parse().expect("a UUID")
}

pub fn user_of(session: &pb::Session) -> &pb::User {
    session.user.as_ref().expect("set")
}
