use http::StatusCode;
use platform::ctx::Ctx;
use platform::rpc;
use prost_types::FieldMask;
use proto::auth::v1 as pb;
use tonic::{Response, Status};

use crate::world::{World, code, field, inner};

async fn create(world: &World, cx: &Ctx, slug: &str) -> Result<pb::Team, Status> {
    let team = pb::Team { slug: slug.to_owned(), name: slug.to_owned(), ..Default::default() };
    let request = rpc::request(cx, pb::CreateTeamRequest { team: Some(team) });
    world.teams().create_team(request).await.map(Response::into_inner)
}

async fn put(
    world: &World,
    cx: &Ctx,
    team: &str,
    user: &Ctx,
    role: pb::TeamRole,
) -> Result<pb::TeamMember, Status> {
    let request = pb::AddTeamMemberRequest {
        team_id: team.to_owned(),
        user_id: user.principal.id.to_string(),
        role: role.into(),
    };
    world.teams().add_team_member(rpc::request(cx, request)).await.map(Response::into_inner)
}

async fn members(world: &World, cx: &Ctx, team: &str) -> Result<Vec<(String, pb::TeamRole)>, Status> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListTeamMembersRequest { team_id: team.to_owned(), page_size: 1, page_token };
        let page = world.teams().list_team_members(rpc::request(cx, request)).await?.into_inner();
        found.extend(page.items.into_iter().map(|member| (member.user_id.clone(), member.role())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

async fn delete(world: &World, cx: &Ctx, id: &str) -> Result<(), Status> {
    let request = rpc::request(cx, pb::DeleteTeamRequest { id: id.to_owned() });
    world.teams().delete_team(request).await.map(Response::into_inner)
}

fn id(cx: &Ctx) -> String {
    cx.principal.id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_change_and_go() {
    use pb::TeamRole::{Manager, Member, Unspecified};
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let (ann, bob) = (world.member(owner.org, "admin").await, world.member(owner.org, "viewer").await);
    let team = create(&world, &owner, "payments").await.expect("made").id;
    put(&world, &owner, &team, &ann, Unspecified).await.expect("added");
    put(&world, &owner, &team, &bob, Manager).await.expect("added");
    put(&world, &owner, &team, &ann, Manager).await.expect("changed");
    put(&world, &owner, &team, &ann, Manager).await.expect("nothing changes");
    let both = [(id(&ann), Manager), (id(&bob), Manager)];
    assert_eq!(members(&world, &owner, &team).await.expect("listed"), both);
    put(&world, &owner, &team, &bob, Member).await.expect("changed");
    let remove = pb::RemoveTeamMemberRequest { team_id: team.clone(), user_id: id(&ann) };
    let remove = || rpc::request(&owner, remove.clone());
    inner(world.teams().remove_team_member(remove()).await);
    let again = world.teams().remove_team_member(remove()).await;
    assert_eq!(code(again), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(members(&world, &owner, &team).await.expect("listed"), [(id(&bob), Member)]);
    let expected = [
        "team.created",
        "team_member.added",
        "team_member.added",
        "team_member.changed",
        "team_member.changed",
        "team_member.removed",
    ];
    assert_eq!(world.actions(owner.org).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_users_of_the_organization() {
    let world = World::new().await;
    let (one, two) = (world.organization("one").await, world.organization("two").await);
    let team = create(&world, &one, "payments").await.expect("made").id;
    let stranger = put(&world, &one, &team, &two, pb::TeamRole::Member).await;
    assert_eq!(field(stranger), ("user_id".to_owned(), "unknown_reference"));
    let not_found = (StatusCode::NOT_FOUND, "not_found");
    assert_eq!(code(put(&world, &two, &team, &two, pb::TeamRole::Member).await), not_found);
    assert_eq!(code(members(&world, &two, &team).await), not_found);
    assert_eq!(code(delete(&world, &two, &team).await), not_found);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_team_keeps_its_members_and_takes_no_more() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let team = create(&world, &owner, "payments").await.expect("made").id;
    put(&world, &owner, &team, &owner, pb::TeamRole::Manager).await.expect("added");
    delete(&world, &owner, &team).await.expect("archived");
    delete(&world, &owner, &team).await.expect("nothing more happens");
    let late = put(&world, &owner, &team, &owner, pb::TeamRole::Member).await;
    assert_eq!(code(late), (StatusCode::CONFLICT, "archived"));
    assert_eq!(members(&world, &owner, &team).await.expect("listed").len(), 1);
    let list = async |archived| {
        let request = pb::ListTeamsRequest { archived, ..Default::default() };
        inner(world.teams().list_teams(rpc::request(&owner, request)).await).items.len()
    };
    assert_eq!((list(false).await, list(true).await), (0, 1));
    let taken = create(&world, &owner, "payments").await;
    assert_eq!(field(taken), ("team.slug".to_owned(), "already_exists"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_user_leaves_every_team() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let ann = world.member(owner.org, "responder").await;
    let team = create(&world, &owner, "payments").await.expect("made").id;
    put(&world, &owner, &team, &ann, pb::TeamRole::Member).await.expect("added");
    let request = rpc::request(&owner, pb::DeleteUserRequest { id: id(&ann) });
    inner(world.users().delete_user(request).await);
    assert_eq!(members(&world, &owner, &team).await.expect("listed"), []);
    let back = put(&world, &owner, &team, &ann, pb::TeamRole::Member).await;
    assert_eq!(field(back), ("user_id".to_owned(), "unknown_reference"));
    assert!(world.actions(owner.org).await.contains(&"team_member.removed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_changes_by_its_mask_and_version() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let team = create(&world, &owner, "payments").await.expect("made");
    let update = async |paths: &[&str], patch: pb::Team, if_match: &str| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = pb::UpdateTeamRequest {
            id: team.id.clone(),
            team: Some(patch),
            update_mask: Some(FieldMask { paths }),
        };
        let mut request = rpc::request(&owner, request);
        request.metadata_mut().insert("if-match", if_match.parse().expect("ASCII"));
        world.teams().update_team(request).await.map(Response::into_inner)
    };
    let labels = [("tier".to_owned(), "1".to_owned())].into();
    let patch = pb::Team { name: "Payments".to_owned(), labels, ..Default::default() };
    let named = update(&["name"], patch.clone(), "1").await.expect("changed");
    assert_eq!((named.name.as_str(), named.labels.len(), named.version), ("Payments", 0, 2));
    let labelled = update(&["labels"], patch.clone(), "2").await.expect("changed");
    assert_eq!(labelled.labels.len(), 1);
    let stale = update(&["name"], patch.clone(), "1").await;
    assert_eq!(code(stale), (StatusCode::PRECONDITION_FAILED, "version_mismatch"));
    let slug = pb::Team { slug: "other".to_owned(), ..Default::default() };
    assert_eq!(field(update(&["slug"], slug, "3").await), ("team.slug".to_owned(), "immutable"));
    let empty = update(&["name"], pb::Team::default(), "3").await;
    assert_eq!(field(empty), ("team.name".to_owned(), "required"));
}
