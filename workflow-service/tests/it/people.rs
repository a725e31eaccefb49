//! Users and teams as targets, with the real auth- and notification-service.

use platform::error::Error;
use platform::rpc;
use platform::testing::Receiver;
use proto::api::v1::Target;
use proto::auth::v1 as auth;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::incident::v1::{Service, timeline_entry::Data};
use proto::workflow::v1 as pb;

use crate::world::{World, until_pages};

fn policy(levels: &[&Target]) -> pb::CreateEscalationPolicyRequest {
    let level = |target: &&Target| pb::Level { targets: vec![(*target).clone()], timeout_ms: 1_000 };
    let policy = pb::EscalationPolicy {
        slug: "people".to_owned(),
        name: "People".to_owned(),
        levels: levels.iter().map(level).collect(),
        ..pb::EscalationPolicy::default()
    };
    pb::CreateEscalationPolicyRequest { escalation_policy: Some(policy) }
}

fn upper(target: &Target) -> Target {
    Target { id: target.id.to_uppercase(), ..target.clone() }
}

#[tokio::test]
async fn the_built_in_policy_tells_the_owner_team_and_then_the_owners_too() {
    let (world, endpoint) = (World::with_people().await, Receiver::start().await);
    let olga = world.owner().principal.id.to_string();
    world.contact(&olga, endpoint.url("olga")).await;
    let ann = world.person("Ann", endpoint.url("ann")).await;
    let team = world.team("Payments", &ann).await;
    let owned = Service { team_id: Some(team.id), ..Service::default() };
    let service = world.service_like("payment", owned).await;
    let incident = world.open(&service).await;
    let run = world.until(&incident, "built-in policy", pb::RunStatus::Succeeded).await;
    let told = until_pages(&endpoint, 3).await;
    let team_first = [(1, 1, "/ann"), (1, 2, "/ann"), (1, 2, "/olga")];
    assert_eq!(told, team_first.map(|(round, level, path)| (round, level, path.to_owned())));
    assert!(run.steps[0].detail.starts_with("level 1: told Ann"), "{}", run.steps[0].detail);
    let mut escalations = world.timeline(&incident).await.into_iter().filter_map(|entry| match entry.data {
        Some(Data::Escalation(it)) => Some(it.told),
        _ => None,
    });
    let told = escalations.next().expect("the second level");
    assert_eq!(told, ["team Payments", "organization owners"]);
}

#[tokio::test]
async fn users_and_teams_are_told_however_their_ids_were_written() {
    let (world, endpoint) = (World::with_people().await, Receiver::start().await);
    let ann = world.person("Ann", endpoint.url("ann")).await;
    let bob = world.person("Bob", endpoint.url("bob")).await;
    let team = world.team("Payments", &bob).await;
    let page = world.channel("page", endpoint.url("page")).await;
    let message = policy(&[&upper(&ann), &upper(&team), &upper(&page)]);
    let created = world.policies().create_escalation_policy(rpc::request(&world.owner(), message)).await;
    let policy = created.expect("all of them exist").into_inner();
    let ids: Vec<_> = policy.levels.iter().map(|level| level.targets[0].id.clone()).collect();
    assert_eq!(ids, [ann.id, team.id, page.id]);
    let service = world.service("payment", Some(&policy)).await;
    let incident = world.open(&service).await;
    world.until(&incident, "People", pb::RunStatus::Succeeded).await;
    let told = until_pages(&endpoint, 3).await;
    let in_turn = [(1, 1, "/ann"), (1, 2, "/bob"), (1, 3, "/page")];
    assert_eq!(told, in_turn.map(|(round, level, path)| (round, level, path.to_owned())));
    let names: Vec<_> = world
        .timeline(&incident)
        .await
        .into_iter()
        .filter_map(|entry| match entry.data {
            Some(Data::Escalation(it)) => Some(it.told.concat()),
            _ => None,
        })
        .collect();
    assert_eq!(names[0], "team Payments");
}

#[tokio::test]
async fn nobody_who_cannot_be_told_is_a_target() {
    let (world, endpoint) = (World::with_people().await, Receiver::start().await);
    let ann = world.person("Ann", endpoint.url("ann")).await;
    let mut users = UserServiceClient::new(world.deps.directory.transport("pulseops.auth.v1"));
    let disable = auth::UpdateUserRequest {
        id: ann.id.clone(),
        user: Some(auth::User { status: auth::UserStatus::Disabled.into(), ..auth::User::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["status".to_owned()] }),
    };
    users.update_user(rpc::request(&world.owner(), disable)).await.expect("disabled");
    for target in [&ann, &upper(&ann)] {
        let request = rpc::request(&world.owner(), policy(&[target]));
        let refused = world.policies().create_escalation_policy(request).await.expect_err("disabled");
        let faults = Error::from(refused).fields;
        let field = "escalation_policy.levels[0].targets[0].id";
        assert_eq!((faults[0].field.as_str(), faults[0].code), (field, "unknown_reference"));
    }
}
