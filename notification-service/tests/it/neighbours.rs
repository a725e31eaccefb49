//! What tests with the real auth- and incident-service ask of them.

use std::time::Duration;

use platform::error::Error;
use platform::rpc::{self, Fault};
use platform::testing::eventually;
use proto::api::v1::{Role, Severity, Target, TargetKind};
use proto::auth::v1 as auth;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::incident::v1 as incident;
use proto::incident::v1::TimelineKind;
use proto::incident::v1::incident_service_client::IncidentServiceClient;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use proto::incident::v1::timeline_entry::Data;
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::world::{SOON, World};

pub const MEMBERS: &str = "/pulseops.auth.v1.TeamService/ListTeamMembers";
pub const USER: &str = "/pulseops.auth.v1.UserService/GetUser";
pub const STATES: &str = "/pulseops.incident.v1.ResponseService/GetStates";
pub const RECORD: &str = "/pulseops.incident.v1.ResponseService/RecordStep";

pub fn down() -> Fault {
    Fault::Fail(Error::unavailable("down", "it is down"))
}

pub async fn create_team(world: &World) -> Target {
    let mut client = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let team = auth::Team { slug: "payments".to_owned(), name: "Payments".to_owned(), ..Default::default() };
    let request = auth::CreateTeamRequest { team: Some(team) };
    let team = client.create_team(rpc::request(&world.owner(), request)).await.expect("created").into_inner();
    let team = Target { kind: TargetKind::Team.into(), id: team.id };
    add_member(world, &team, world.owner().principal.id).await;
    team
}

pub async fn add_member(world: &World, team: &Target, user: Uuid) {
    let mut client = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let member = auth::AddTeamMemberRequest {
        team_id: team.id.clone(),
        user_id: user.to_string(),
        ..Default::default()
    };
    client.add_team_member(rpc::request(&world.owner(), member)).await.expect("added");
}

pub fn users(world: &World) -> UserServiceClient<rpc::Transport> {
    UserServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"))
}

pub async fn create_user(world: &World, name: &str) -> Uuid {
    let user = auth::User {
        email: format!("{name}@example.com"),
        name: name.to_owned(),
        role: Role::Responder.into(),
        ..Default::default()
    };
    let request = auth::CreateUserRequest { user: Some(user) };
    let user = users(world).create_user(rpc::request(&world.owner(), request)).await.expect("created");
    user.into_inner().id.parse().expect("a UUID")
}

pub async fn set_status(world: &World, user: Uuid, status: auth::UserStatus) {
    let request = auth::UpdateUserRequest {
        id: user.to_string(),
        user: Some(auth::User { status: status.into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["status".to_owned()] }),
    };
    let changed = users(world).update_user(rpc::request(&world.owner(), request)).await.expect("changed");
    world.heard_of(user, changed.into_inner().version).await;
}

/// Gives the owner a webhook.
pub async fn create_method(world: &World, url: &str) -> wire::ContactMethod {
    create_method_of(world, world.owner().principal.id, url).await
}

pub async fn create_method_of(world: &World, user: Uuid, url: &str) -> wire::ContactMethod {
    let method = wire::ContactMethod {
        kind: wire::ChannelKind::Webhook.into(),
        address: url.to_owned(),
        ..Default::default()
    };
    let request =
        wire::CreateContactMethodRequest { user_id: user.to_string(), contact_method: Some(method) };
    let created = world.methods().create_contact_method(rpc::request(&world.owner(), request)).await;
    created.expect("created").into_inner()
}

pub fn incidents(world: &World) -> IncidentServiceClient<rpc::Transport> {
    IncidentServiceClient::new(world.deps.directory.transport("pulseops.incident.v1"))
}

pub async fn create_incident(world: &World) -> incident::Incident {
    let service =
        incident::Service { slug: "payment".to_owned(), name: "payment".to_owned(), ..Default::default() };
    let request = incident::CreateServiceRequest { service: Some(service) };
    let mut services = ServiceServiceClient::new(world.deps.directory.transport("pulseops.incident.v1"));
    let service = services.create_service(rpc::request(&world.owner(), request)).await.expect("created");
    let incident = incident::Incident {
        title: "charge.failed".to_owned(),
        severity: Severity::Critical.into(),
        service_id: service.into_inner().id,
        ..Default::default()
    };
    let request = incident::CreateIncidentRequest { incident: Some(incident) };
    incidents(world)
        .create_incident(rpc::request(&world.owner(), request))
        .await
        .expect("opened")
        .into_inner()
}

pub async fn acknowledge(world: &World, id: &str) {
    let request = incident::AcknowledgeIncidentRequest { id: id.to_owned(), ..Default::default() };
    incidents(world).acknowledge_incident(rpc::request(&world.owner(), request)).await.expect("taken");
}

pub async fn timeline(world: &World, id: &str, kind: TimelineKind) -> Vec<incident::NotificationData> {
    let entries = entries(world, id, kind).await.into_iter();
    entries
        .map(|data| match data {
            Data::Notification(data) => data,
            data => panic!("{data:?} is no notification"),
        })
        .collect()
}

pub async fn entries(world: &World, id: &str, kind: TimelineKind) -> Vec<Data> {
    let request =
        incident::ListTimelineRequest { id: id.to_owned(), kind: vec![kind.into()], ..Default::default() };
    let page = incidents(world).list_timeline(rpc::request(&world.owner(), request)).await;
    page.expect("a page").into_inner().items.into_iter().filter_map(|entry| entry.data).collect()
}

/// A page about `incident` that was decided `age` ago.
pub fn page(
    world: &World,
    key: &str,
    incident: &incident::Incident,
    targets: Vec<Target>,
    age: Duration,
) -> wire::SendRequest {
    let mut request = world.page(key, targets);
    let decided_at = world.db.source().now() - age;
    request.decided_at = Some(proto::time::to_timestamp(decided_at));
    if let Some(event) = &mut request.incident {
        event.incident = Some(incident.clone());
    }
    request
}

/// Until no delivery has anything left to do.
pub async fn settled(world: &World) {
    let admin = world.db.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT count(*) FROM pulseops_notification.notifications WHERE due_at IS NOT NULL";
        (admin.query_one(sql, &[]).await.ok()?.get::<_, i64>(0) == 0).then_some(())
    })
    .await;
}
