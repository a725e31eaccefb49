//! References into other services, and what happens when those are away.

use auth_service as auth;
use platform::ctx::{Ctx, OrgId};
use platform::error::Kind;
use platform::migrate::Migrations;
use platform::rpc::{self, Fault};
use proto::api::v1::{Target, TargetKind};
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::{CreateTeamRequest, DeleteTeamRequest, RegisterRequest, Team};
use proto::incident::v1 as wire;
use proto::workflow::v1::escalation_policy_service_client::EscalationPolicyServiceClient;
use proto::workflow::v1::{CreateEscalationPolicyRequest, EscalationPolicy, Level};
use workflow_service as workflow;

use crate::world::{OURS, World, ok, refused, service};

/// With the real auth- and workflow-service, and a user who has registered.
async fn everybody() -> (World, Ctx) {
    let auth = Migrations { owner: auth::NAME, dir: &auth::MIGRATIONS };
    let workflow = Migrations { owner: workflow::NAME, dir: &workflow::MIGRATIONS };
    let mut world = World::with(&[auth, OURS, workflow]).await;
    let auth = auth::build(&world.deps, &auth::Config::default()).await.expect("auth is built");
    world.deps.directory.add(&auth);
    let workflow = workflow::build(&world.deps, &workflow::Config::default()).await;
    world.deps.directory.add(&workflow.expect("workflow is built"));

    let mut sessions = SessionServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let register = RegisterRequest {
        email: "ada@example.com".to_owned(),
        password: "correct horse battery".to_owned(),
        name: "Ada".to_owned(),
        organization: "Engines".to_owned(),
    };
    let anonymous = Ctx::anonymous(world.db.source().clone());
    let session = ok(sessions.register(rpc::request(&anonymous, register)).await);
    let user = session.user.expect("a user").id.parse().expect("a UUID");
    let org = session.organization.expect("an organization").id.parse().expect("a UUID");
    world.become_user(OrgId(org), user);
    let owner = world.owner();
    (world, owner)
}

async fn team(world: &World, slug: &str) -> Team {
    let mut teams = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let team = Team { slug: slug.to_owned(), name: slug.to_uppercase(), ..Team::default() };
    let message = CreateTeamRequest { team: Some(team) };
    ok(teams.create_team(rpc::request(&world.owner(), message)).await)
}

async fn policy(world: &World) -> EscalationPolicy {
    let transport = world.deps.directory.transport("pulseops.workflow.v1");
    let target = Target { kind: TargetKind::User.into(), id: world.owner().principal.id.to_string() };
    let policy = EscalationPolicy {
        slug: "night".to_owned(),
        name: "Night".to_owned(),
        levels: vec![Level { targets: vec![target], timeout_ms: 60_000 }],
        ..EscalationPolicy::default()
    };
    let message = CreateEscalationPolicyRequest { escalation_policy: Some(policy) };
    let mut policies = EscalationPolicyServiceClient::new(transport);
    ok(policies.create_escalation_policy(rpc::request(&world.owner(), message)).await)
}

#[tokio::test]
async fn references_are_checked_and_told_by_name() {
    let (world, owner) = everybody().await;
    let (team_of, night) = (team(&world, "payments").await, policy(&world).await);
    let draft = wire::Service {
        team_id: Some(team_of.id.clone()),
        escalation_policy_id: Some(night.id.clone()),
        ..service("payment")
    };
    let payment = world.create_service(draft).await;
    let incident = world.create_incident(&payment).await;
    assert_eq!(incident.team_id.as_ref(), Some(&team_of.id));
    let told = world.told().await;
    let (_, event) = &told[0];
    assert_eq!(event.team.as_ref().expect("a team").name, "PAYMENTS");
    assert_eq!(event.policy.as_ref().expect("a policy").name, "Night");

    let nobody = Some(uuid::Uuid::from_u128(3).to_string());
    let create = async |service: wire::Service| {
        let message = wire::CreateServiceRequest { service: Some(service) };
        refused(world.services().create_service(rpc::request(&owner, message)).await)
    };
    let error = create(wire::Service { team_id: nobody.clone(), ..service("a") }).await;
    assert_eq!(
        (error.fields[0].field.as_str(), error.fields[0].code),
        ("service.team_id", "unknown_reference")
    );
    let error = create(wire::Service { escalation_policy_id: nobody, ..service("a") }).await;
    assert_eq!(error.fields[0].field, "service.escalation_policy_id");

    let mut teams = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let delete = DeleteTeamRequest { id: team_of.id.clone() };
    ok(teams.delete_team(rpc::request(&owner, delete)).await);
    let error = create(wire::Service { team_id: Some(team_of.id.clone()), ..service("a") }).await;
    assert_eq!(error.fields[0].code, "archived");
    // What refers to it already goes on, and may say so again.
    let renamed = wire::Service { name: "Pay".to_owned(), ..payment };
    let renamed = world.update_service(renamed, &["name", "team_id"]).await;
    assert_eq!((renamed.name.as_str(), renamed.team_id), ("Pay", Some(team_of.id)));
}

#[tokio::test]
async fn assignees_must_be_able_to_respond() {
    let (world, owner) = everybody().await;
    let incident = world.create_incident(&world.payment().await).await;
    let assign = async |ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let message = wire::AssignIncidentRequest { id: incident.id.clone(), assignee_ids: ids };
        world.incidents().assign_incident(rpc::request(&owner, message)).await
    };
    let me = owner.principal.id.to_string();
    let stranger = uuid::Uuid::from_u128(3).to_string();
    let error = refused(assign(&[&me, &stranger]).await);
    assert_eq!(
        (error.fields[0].field.as_str(), error.fields[0].code),
        ("assignee_ids[1]", "unknown_reference")
    );

    let assigned = ok(assign(&[&me]).await);
    assert_eq!((&assigned.assignee_ids[..], assigned.version), (&[me.clone()][..], 2));
    assert_eq!(ok(assign(&[&me]).await), assigned);
    // The same person written twice is one.
    assert_eq!(ok(assign(&[&me, &me.to_uppercase()]).await), assigned);
    let mine = wire::ListIncidentsRequest { assignee_id: vec![me.clone()], ..Default::default() };
    let listed = ok(world.incidents().list_incidents(rpc::request(&owner, mine)).await);
    assert_eq!(listed.items, [assigned]);

    let path = "/pulseops.auth.v1.AccessService/CheckPermission";
    let down = platform::error::Error::unavailable("auth_down", "auth is away");
    world.deps.directory.faults().inject(path, 1, Fault::Fail(down));
    assert_eq!(refused(assign(&[&me]).await).kind, Kind::Unavailable);
    assert!(ok(assign(&[]).await).assignee_ids.is_empty());
}

#[tokio::test]
async fn a_repeated_call_answers_the_same_whatever_others_say_by_now() {
    let (world, owner) = everybody().await;
    let team_of = team(&world, "payments").await;
    let draft = wire::Service { team_id: Some(team_of.id.clone()), ..service("payment") };
    let create = async || {
        let message = wire::CreateServiceRequest { service: Some(draft.clone()) };
        let request = rpc::keyed(&owner, "create", message).expect("a key");
        ok(world.services().create_service(request).await)
    };
    let payment = create().await;
    let mut teams = TeamServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    ok(teams.delete_team(rpc::request(&owner, DeleteTeamRequest { id: team_of.id.clone() })).await);
    assert_eq!(create().await, payment);

    let incident = world.create_incident(&payment).await;
    let assign = async || {
        let assignee_ids = vec![owner.principal.id.to_string()];
        let message = wire::AssignIncidentRequest { id: incident.id.clone(), assignee_ids };
        let request = rpc::keyed(&owner, "assign", message).expect("a key");
        ok(world.incidents().assign_incident(request).await)
    };
    let assigned = assign().await;
    let down = platform::error::Error::unavailable("auth_down", "auth is away");
    let path = "/pulseops.auth.v1.AccessService/CheckPermission";
    world.deps.directory.faults().inject(path, 1, Fault::Fail(down));
    assert_eq!(assign().await, assigned);
}

#[tokio::test]
async fn without_auth_no_reference_is_written_and_the_rest_goes_on() {
    let world = World::new().await;
    let owned = wire::Service { team_id: Some(uuid::Uuid::from_u128(3).to_string()), ..service("payment") };
    let message = wire::CreateServiceRequest { service: Some(owned) };
    let error = refused(world.services().create_service(rpc::request(&world.owner(), message)).await);
    assert_eq!(error.kind, Kind::Unavailable);

    let incident = world.create_incident(&world.payment().await).await;
    let assign =
        |ids: Vec<String>| wire::AssignIncidentRequest { id: incident.id.clone(), assignee_ids: ids };
    let someone = assign(vec![world.owner().principal.id.to_string()]);
    let error = refused(world.incidents().assign_incident(rpc::request(&world.owner(), someone)).await);
    assert_eq!(error.kind, Kind::Unavailable);
    // Nobody needs no check, and an acknowledgement never asks anybody.
    ok(world.incidents().assign_incident(rpc::request(&world.owner(), assign(Vec::new()))).await);
    assert_eq!(world.resolve("1").await.version, 2);
}
