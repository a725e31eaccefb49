//! One organization in a process of its own: every service that takes part, over a test database.

mod parts;

use platform::ctx::{Ctx, OrgId, Principal};
use platform::deps::Deps;
use platform::migrate::Migrations;
use platform::rpc::{self, Transport};
use platform::testing::{Company, TestDb, eventually};
use proto::api::v1::{Role, Severity, Target, TargetKind};
use proto::auth::v1 as auth;
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::incident::v1 as inc;
use proto::incident::v1::incident_service_client::IncidentServiceClient;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use proto::notification::v1 as note;
use proto::notification::v1::channel_service_client::ChannelServiceClient;
use proto::notification::v1::contact_method_service_client::ContactMethodServiceClient;
use proto::workflow::v1 as pb;
use proto::workflow::v1::escalation_policy_service_client::EscalationPolicyServiceClient;
use proto::workflow::v1::workflow_service_client::WorkflowServiceClient;
use uuid::Uuid;
use workflow_service::{BuiltinPolicy, Config};

pub const OURS: Migrations = Migrations { owner: workflow_service::NAME, dir: &workflow_service::MIGRATIONS };
pub use parts::{HOUR, http, on_created, triples, until_pages};
pub use platform::testing::SOON;

pub struct World {
    pub db: TestDb,
    pub deps: Deps,
    owner: Ctx,
    _company: Company,
}

impl World {
    pub async fn new() -> Self {
        Self::build(Company::shared().await).await
    }

    /// For tests with failpoints.
    pub async fn alone() -> Self {
        Self::build(Company::alone().await).await
    }

    /// Whose owner, Olga, has registered with auth-service and is known to notification-service.
    pub async fn with_people() -> Self {
        let mut world = Self::new().await;
        let request = auth::RegisterRequest {
            email: "olga@example.com".to_owned(),
            password: "correct horse battery".to_owned(),
            name: "Olga".to_owned(),
            organization: "Example".to_owned(),
        };
        let nobody = Ctx::anonymous(world.db.source().clone());
        let mut client = SessionServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
        let session = client.register(rpc::request(&nobody, request)).await.expect("registered").into_inner();
        let parse = |id: &str| id.parse::<Uuid>().expect("a UUID");
        let (org, olga) = (session.organization.expect("hers").id, session.user.expect("her").id);
        world.owner.org = OrgId(parse(&org));
        let principal = (*world.owner.principal).clone();
        let (id, name, role) = (parse(&olga), "Olga".to_owned(), Some("owner".to_owned()));
        world.owner.principal = Principal { id, name, role, ..principal }.into();
        world.heard(&olga).await;
        world
    }

    /// Another user of the organization, who is told by `url`; the target that tells them.
    pub async fn person(&self, name: &str, url: String) -> Target {
        let email = format!("{}@example.com", name.to_lowercase());
        let role = Role::Responder.into();
        let user = auth::User { email, name: name.to_owned(), role, ..auth::User::default() };
        let mut client = UserServiceClient::new(self.deps.directory.transport("pulseops.auth.v1"));
        let message = auth::CreateUserRequest { user: Some(user) };
        let created = client.create_user(rpc::request(&self.owner(), message)).await.expect("created");
        let id = created.into_inner().id;
        self.heard(&id).await;
        self.contact(&id, url).await;
        Target { kind: TargetKind::User.into(), id }
    }

    /// Tells the user by `url`, too.
    pub async fn contact(&self, user_id: &str, url: String) {
        let kind = note::ChannelKind::Webhook.into();
        let method = note::ContactMethod { kind, address: url, ..note::ContactMethod::default() };
        let (user_id, contact_method) = (user_id.to_owned(), Some(method));
        let message = note::CreateContactMethodRequest { user_id, contact_method };
        let transport = self.deps.directory.transport("pulseops.notification.v1");
        let mut client = ContactMethodServiceClient::new(transport);
        client.create_contact_method(rpc::request(&self.owner(), message)).await.expect("created");
    }

    /// A team with this member.
    pub async fn team(&self, name: &str, member: &Target) -> Target {
        let mut client = TeamServiceClient::new(self.deps.directory.transport("pulseops.auth.v1"));
        let team = auth::Team { slug: name.to_lowercase(), name: name.to_owned(), ..auth::Team::default() };
        let message = auth::CreateTeamRequest { team: Some(team) };
        let created = client.create_team(rpc::request(&self.owner(), message)).await.expect("created");
        let id = created.into_inner().id;
        let (team_id, user_id) = (id.clone(), member.id.clone());
        let member = auth::AddTeamMemberRequest { team_id, user_id, ..Default::default() };
        client.add_team_member(rpc::request(&self.owner(), member)).await.expect("added");
        Target { kind: TargetKind::Team.into(), id }
    }

    /// Until notification-service knows the user.
    async fn heard(&self, user: &str) {
        let admin = self.db.admin().await;
        let sql = "SELECT FROM pulseops_notification.people WHERE user_id::text = $1";
        eventually(SOON, async || admin.query_opt(sql, &[&user]).await.ok().flatten().map(drop)).await;
    }

    /// From now on everything happens in another organization, whose owner is `owner`; the one until
    /// now.
    pub fn move_to(&mut self, owner: Ctx) -> Ctx {
        std::mem::replace(&mut self.owner, owner)
    }

    /// The owner of a new organization.
    pub fn stranger(&self) -> Ctx {
        self.db.cx_as(&self.deps.door.access, "owner")
    }

    async fn build(company: Company) -> Self {
        let services = [
            Migrations { owner: auth_service::NAME, dir: &auth_service::MIGRATIONS },
            Migrations { owner: incident_service::NAME, dir: &incident_service::MIGRATIONS },
            Migrations { owner: notification_service::NAME, dir: &notification_service::MIGRATIONS },
            OURS,
        ];
        let db = TestDb::with(&services).await;
        let deps = db.deps_of(proto::descriptor_pool());
        let owner = db.cx_as(&deps.door.access, "owner");
        let world = Self { db, deps, owner, _company: company };
        world.start().await;
        world
    }

    async fn start(&self) {
        let builtin_policy = BuiltinPolicy { first_timeout_ms: 1_000, second_timeout_ms: 1_000, repeat: 0 };
        // On a busy machine an answer that is on its way is no answer that is missing.
        let ours = Config { builtin_policy, peer_timeout_ms: 20_000, ..Config::default() };
        let mut theirs = notification_service::Config::default();
        theirs.delivery.peer_timeout_ms = 20_000;
        let deps = &self.deps;
        let services = [
            auth_service::build(deps, &auth_service::Config::default()).await.expect("auth"),
            incident_service::build(deps, &incident_service::Config::default()).await.expect("incident"),
            notification_service::build(deps, &theirs).await.expect("notification"),
            workflow_service::build(deps, &ours).await.expect("workflow"),
        ];
        services.iter().for_each(|service| deps.directory.add(service));
    }

    /// A user with every permission; the same one each time.
    pub fn owner(&self) -> Ctx {
        Ctx { now: self.db.source().now(), ..self.owner.clone() }
    }

    pub fn workflows(&self) -> WorkflowServiceClient<Transport> {
        WorkflowServiceClient::new(self.deps.directory.transport("pulseops.workflow.v1"))
    }

    pub fn policies(&self) -> EscalationPolicyServiceClient<Transport> {
        EscalationPolicyServiceClient::new(self.deps.directory.transport("pulseops.workflow.v1"))
    }

    pub fn incidents(&self) -> IncidentServiceClient<Transport> {
        IncidentServiceClient::new(self.deps.directory.transport("pulseops.incident.v1"))
    }

    /// A webhook channel; the target that tells it.
    pub async fn channel(&self, slug: &str, url: String) -> Target {
        let channel = note::Channel {
            slug: slug.to_owned(),
            name: slug.to_uppercase(),
            kind: note::ChannelKind::Webhook.into(),
            address: url,
            ..note::Channel::default()
        };
        let message = note::CreateChannelRequest { channel: Some(channel) };
        let transport = self.deps.directory.transport("pulseops.notification.v1");
        let mut client = ChannelServiceClient::new(transport);
        let created = client.create_channel(rpc::request(&self.owner(), message)).await;
        let id = created.expect("created").into_inner().id;
        Target { kind: TargetKind::Channel.into(), id }
    }

    /// A policy of these levels, each waiting a second: for tests that let it come to its end.
    pub async fn policy(&self, slug: &str, levels: Vec<Vec<Target>>, repeat: i32) -> pb::EscalationPolicy {
        self.policy_waiting(1_000, slug, levels, repeat).await
    }

    /// A policy of these levels that goes on when the test moves the clock by [`HOUR`] and not before.
    pub async fn slow_policy(&self, slug: &str, levels: Vec<Vec<Target>>) -> pb::EscalationPolicy {
        self.policy_waiting(3_600_000, slug, levels, 0).await
    }

    async fn policy_waiting(
        &self,
        timeout_ms: i64,
        slug: &str,
        levels: Vec<Vec<Target>>,
        repeat: i32,
    ) -> pb::EscalationPolicy {
        let levels = levels.into_iter().map(|targets| pb::Level { targets, timeout_ms });
        let policy = pb::EscalationPolicy {
            slug: slug.to_owned(),
            name: format!("Policy {slug}"),
            levels: levels.collect(),
            repeat,
            ..pb::EscalationPolicy::default()
        };
        let message = pb::CreateEscalationPolicyRequest { escalation_policy: Some(policy) };
        let created = self.policies().create_escalation_policy(rpc::request(&self.owner(), message)).await;
        created.expect("created").into_inner()
    }

    pub async fn workflow(&self, workflow: pb::Workflow) -> pb::Workflow {
        let message = pb::CreateWorkflowRequest { workflow: Some(workflow) };
        let created = self.workflows().create_workflow(rpc::request(&self.owner(), message)).await;
        created.expect("created").into_inner()
    }

    pub async fn service(&self, slug: &str, policy: Option<&pb::EscalationPolicy>) -> inc::Service {
        let escalation_policy_id = policy.map(|policy| policy.id.clone());
        self.service_like(slug, inc::Service { escalation_policy_id, ..inc::Service::default() }).await
    }

    pub async fn service_like(&self, slug: &str, service: inc::Service) -> inc::Service {
        let service = inc::Service { slug: slug.to_owned(), name: format!("The {slug}"), ..service };
        let message = inc::CreateServiceRequest { service: Some(service) };
        let transport = self.deps.directory.transport("pulseops.incident.v1");
        let mut client = ServiceServiceClient::new(transport);
        let created = client.create_service(rpc::request(&self.owner(), message)).await;
        created.expect("created").into_inner()
    }

    pub async fn open(&self, service: &inc::Service) -> inc::Incident {
        self.open_like(service, inc::Incident::default()).await
    }

    pub async fn open_like(&self, service: &inc::Service, incident: inc::Incident) -> inc::Incident {
        let incident = inc::Incident {
            title: "charges \"fail\"".to_owned(),
            severity: Severity::Critical.into(),
            service_id: service.id.clone(),
            ..incident
        };
        let message = inc::CreateIncidentRequest { incident: Some(incident) };
        let opened = self.incidents().create_incident(rpc::request(&self.owner(), message)).await;
        opened.expect("opened").into_inner()
    }

    /// Runs a statement in our schema.
    pub async fn sql(&self, sql: &str) -> u64 {
        let admin = self.db.admin().await;
        admin.batch_execute("SET search_path TO pulseops_workflow").await.expect("our schema");
        admin.execute(sql, &[]).await.expect(sql)
    }

    pub async fn acknowledge(&self, incident: &inc::Incident) {
        let id = incident.id.clone();
        let message = inc::AcknowledgeIncidentRequest { id, ..Default::default() };
        let done = self.incidents().acknowledge_incident(rpc::request(&self.owner(), message)).await;
        done.expect("acknowledged");
    }

    pub async fn incident(&self, incident: &inc::Incident) -> inc::Incident {
        let message = inc::GetIncidentRequest { id: incident.id.clone() };
        let got = self.incidents().get_incident(rpc::request(&self.owner(), message)).await;
        got.expect("there").into_inner()
    }

    /// The runs of an incident, oldest first.
    pub async fn runs(&self, incident: &inc::Incident) -> Vec<pb::Run> {
        let incident_id = vec![incident.id.clone()];
        let message = pb::ListRunsRequest { incident_id, ..pb::ListRunsRequest::default() };
        let listed = self.workflows().list_runs(rpc::request(&self.owner(), message)).await;
        let mut runs = listed.expect("listed").into_inner().items;
        runs.reverse();
        runs
    }

    pub async fn run_of(&self, incident: &inc::Incident, name: &str) -> Option<pb::Run> {
        self.runs(incident).await.into_iter().find(|run| run.name == name)
    }

    /// The run of that name once it has this status.
    pub async fn until(&self, incident: &inc::Incident, name: &str, status: pb::RunStatus) -> pb::Run {
        eventually(SOON, async || self.run_of(incident, name).await.filter(|run| run.status() == status))
            .await
    }

    /// Until the run of that name has done what it could and waits, for longer than the test.
    pub async fn at_rest(&self, incident: &inc::Incident, name: &str) {
        let admin = self.db.admin().await;
        eventually(SOON, async || {
            let sql = "SELECT FROM pulseops_workflow.runs WHERE incident_id::text = $1 AND name = $2 \
                AND status = 'running' AND lease_until IS NULL AND due_at > pulseops.now()";
            admin.query_opt(sql, &[&incident.id, &name]).await.expect("asked").map(drop)
        })
        .await;
    }

    /// Until nothing is owed for the incident's runs: the timeline is whole.
    pub async fn until_settled(&self, incident: &inc::Incident) {
        let admin = self.db.admin().await;
        eventually(SOON, async || {
            let sql = "SELECT count(*) FROM pulseops_workflow.runs WHERE incident_id::text = $1 AND due_at IS NOT NULL";
            let row = admin.query_one(sql, &[&incident.id]).await.expect("counted");
            (row.get::<_, i64>(0) == 0).then_some(())
        })
        .await;
    }

    pub async fn timeline(&self, incident: &inc::Incident) -> Vec<inc::TimelineEntry> {
        let id = incident.id.clone();
        let message = inc::ListTimelineRequest { id, page_size: 200, ..Default::default() };
        let listed = self.incidents().list_timeline(rpc::request(&self.owner(), message)).await;
        listed.expect("listed").into_inner().items
    }

    /// What the timeline says of steps: path, kind, outcome.
    pub async fn told_steps(&self, incident: &inc::Incident) -> Vec<(String, String, String)> {
        let steps = self.timeline(incident).await.into_iter().filter_map(|entry| match entry.data {
            Some(inc::timeline_entry::Data::Step(step)) => Some((step.path, step.kind, step.outcome)),
            _ => None,
        });
        steps.collect()
    }

    pub async fn kinds(&self, incident: &inc::Incident) -> Vec<inc::TimelineKind> {
        self.timeline(incident).await.iter().map(inc::TimelineEntry::kind).collect()
    }
}
