use http::StatusCode;
use platform::ctx::Ctx;
use platform::rpc;
use prost_types::FieldMask;
use proto::api::v1::Role;
use proto::auth::v1 as pb;
use tonic::{Response, Status};

use crate::world::{PASSWORD, World, code, field, inner, org_of, user_of};

const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const CONFLICT: StatusCode = StatusCode::CONFLICT;

fn person(email: &str, role: Role) -> pb::User {
    pb::User { email: email.to_owned(), name: "Bob".to_owned(), role: role.into(), ..pb::User::default() }
}

async fn create(world: &World, cx: &Ctx, user: pb::User) -> Result<pb::User, Status> {
    let request = rpc::request(cx, pb::CreateUserRequest { user: Some(user) });
    world.users().create_user(request).await.map(Response::into_inner)
}

async fn update(
    world: &World,
    cx: &Ctx,
    id: &str,
    paths: &[&str],
    user: pb::User,
) -> Result<pb::User, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request =
        pb::UpdateUserRequest { id: id.to_owned(), user: Some(user), update_mask: Some(FieldMask { paths }) };
    world.users().update_user(rpc::request(cx, request)).await.map(Response::into_inner)
}

async fn set_role(world: &World, cx: &Ctx, id: &str, role: Role) -> Result<pb::User, Status> {
    update(world, cx, id, &["role"], pb::User { role: role.into(), ..pb::User::default() }).await
}

async fn delete(world: &World, cx: &Ctx, id: &str) -> Result<(), Status> {
    let request = rpc::request(cx, pb::DeleteUserRequest { id: id.to_owned() });
    world.users().delete_user(request).await.map(Response::into_inner)
}

async fn get(world: &World, cx: &Ctx, id: &str) -> Result<pb::User, Status> {
    let request = rpc::request(cx, pb::GetUserRequest { id: id.to_owned() });
    world.users().get_user(request).await.map(Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_read_changed_and_archived() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let bob = create(&world, &owner, person("Bob@example.com", Role::Responder)).await.expect("made");
    assert_eq!((bob.email.as_str(), bob.version), ("bob@example.com", 1));
    assert_eq!((bob.time_zone.as_deref(), bob.status()), (Some("UTC"), pb::UserStatus::Active));
    assert_eq!(get(&world, &owner, &bob.id).await.expect("there"), bob);
    let change = pb::User {
        name: "Robert".to_owned(),
        time_zone: Some("Europe/Berlin".to_owned()),
        locale: Some("de-DE".to_owned()),
        ..pb::User::default()
    };
    let paths = ["name", "time_zone", "locale"];
    let changed = update(&world, &owner, &bob.id, &paths, change).await.expect("changed");
    assert_eq!((changed.name.as_str(), changed.version), ("Robert", 2));
    delete(&world, &owner, &bob.id).await.expect("archived");
    delete(&world, &owner, &bob.id).await.expect("nothing more happens");
    let archived = get(&world, &owner, &bob.id).await.expect("kept");
    assert!(archived.archived_at.is_some());
    let late = set_role(&world, &owner, &bob.id, Role::Viewer).await;
    assert_eq!(code(late), (CONFLICT, "archived"));
    assert_eq!(world.actions(owner.org).await, ["user.created", "user.updated", "user.archived"]);
    let events: Vec<_> = world.events(owner.org).await.into_iter().map(|e| (e.0, e.2)).collect();
    let expected = [("user.created", 1), ("user.changed", 2), ("user.changed", 3), ("access.revoked", 0)];
    assert_eq!(events, expected.map(|(what, version)| (format!("pulseops.auth.{what}.v1"), version)));
    create(&world, &owner, person("bob@example.com", Role::Viewer)).await.expect("the address is free");
}

/// Who sends to people does not ask first.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_must_know_of_a_person_is_told() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let bob = create(&world, &owner, person("bob@example.com", Role::Viewer)).await.expect("made").id;
    let status = |status: pb::UserStatus| pb::User { status: status.into(), ..pb::User::default() };
    let name = pb::User { name: "Robert".to_owned(), ..pb::User::default() };
    let zone = pb::User { time_zone: Some("Europe/Berlin".to_owned()), ..pb::User::default() };
    update(&world, &owner, &bob, &["name"], name.clone()).await.expect("renamed");
    update(&world, &owner, &bob, &["name"], name).await.expect("changed in no word");
    update(&world, &owner, &bob, &["time_zone"], zone).await.expect("changed");
    set_role(&world, &owner, &bob, Role::Admin).await.expect("changed");
    update(&world, &owner, &bob, &["status"], status(pb::UserStatus::Disabled)).await.expect("disabled");
    update(&world, &owner, &bob, &["status"], status(pb::UserStatus::Active)).await.expect("enabled");
    delete(&world, &owner, &bob).await.expect("archived");
    let told = world.users_told(owner.org, 6).await;
    let told: Vec<_> = told.iter().map(|(ty, u)| (ty.as_str(), &*u.name, u.role(), u.inactive)).collect();
    let changed = "pulseops.auth.user.changed.v1";
    let expected = [
        ("pulseops.auth.user.created.v1", "Bob", Role::Viewer, false),
        (changed, "Robert", Role::Viewer, false),
        (changed, "Robert", Role::Admin, false),
        (changed, "Robert", Role::Admin, true),
        (changed, "Robert", Role::Admin, false),
        (changed, "Robert", Role::Admin, true),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_taken_in_the_whole_deployment() {
    let world = World::new().await;
    let (one, two) = (world.organization("one").await, world.organization("two").await);
    create(&world, &one, person("bob@example.com", Role::Viewer)).await.expect("made");
    let taken = create(&world, &two, person("BOB@example.com", Role::Viewer)).await;
    assert_eq!(code(taken.clone()), (CONFLICT, "already_exists"));
    assert_eq!(field(taken).0, "user.email");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_user_is_not_there() {
    let world = World::new().await;
    let (one, two) = (world.organization("one").await, world.organization("two").await);
    let bob = create(&world, &one, person("bob@example.com", Role::Viewer)).await.expect("made");
    let not_found = (StatusCode::NOT_FOUND, "not_found");
    assert_eq!(code(get(&world, &two, &bob.id).await), not_found);
    assert_eq!(code(set_role(&world, &two, &bob.id, Role::Admin).await), not_found);
    assert_eq!(code(delete(&world, &two, &bob.id).await), not_found);
    let listed = rpc::request(&two, pb::ListUsersRequest::default());
    assert_eq!(inner(world.users().list_users(listed).await).items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_make_owners_and_the_last_one_stays() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let admin = world.member(owner.org, "admin").await;
    let viewer = world.member(owner.org, "viewer").await;
    let id = |cx: &Ctx| cx.principal.id.to_string();
    let denied = create(&world, &viewer, person("x@example.com", Role::Viewer)).await;
    assert_eq!(code(denied), (FORBIDDEN, "permission_denied"));
    let new_owner = create(&world, &admin, person("x@example.com", Role::Owner)).await;
    assert_eq!(code(new_owner), (FORBIDDEN, "owner_required"));
    let demote = set_role(&world, &admin, &id(&owner), Role::Viewer).await;
    assert_eq!(code(demote), (FORBIDDEN, "owner_required"));
    let password = pb::User { password: Some(PASSWORD.to_owned()), ..pb::User::default() };
    let takeover = update(&world, &admin, &id(&owner), &["password"], password).await;
    assert_eq!(code(takeover), (FORBIDDEN, "owner_required"));
    assert_eq!(code(delete(&world, &admin, &id(&owner)).await), (FORBIDDEN, "owner_required"));
    let last = (CONFLICT, "last_owner");
    assert_eq!(code(set_role(&world, &owner, &id(&owner), Role::Admin).await), last);
    assert_eq!(code(delete(&world, &owner, &id(&owner)).await), last);
    let disabled = pb::User { status: pb::UserStatus::Disabled.into(), ..pb::User::default() };
    let disable = update(&world, &owner, &id(&owner), &["status"], disabled).await;
    assert_eq!(code(disable), last);
    set_role(&world, &admin, &id(&viewer), Role::Admin).await.expect("admins make admins");
    set_role(&world, &owner, &id(&viewer), Role::Owner).await.expect("owners make owners");
    set_role(&world, &owner, &id(&owner), Role::Admin).await.expect("another is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_hands_out_no_more_than_it_holds() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let key = world.key(owner.org, &["users_write"]);
    let made = create(&world, &key, person("x@example.com", Role::Viewer)).await;
    assert_eq!(code(made), (FORBIDDEN, "role_exceeds_caller"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_version_must_be_there() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let bob = create(&world, &owner, person("bob@example.com", Role::Viewer)).await.expect("made");
    let rename = async |expected: &str| {
        let user = pb::User { name: "Robert".to_owned(), ..pb::User::default() };
        let mask = FieldMask { paths: vec!["name".to_owned()] };
        let request = pb::UpdateUserRequest { id: bob.id.clone(), user: Some(user), update_mask: Some(mask) };
        let mut request = rpc::request(&owner, request);
        request.metadata_mut().insert("if-match", expected.parse().expect("ASCII"));
        world.users().update_user(request).await.map(Response::into_inner)
    };
    assert_eq!(rename("1").await.expect("changed").version, 2);
    assert_eq!(code(rename("1").await), (StatusCode::PRECONDITION_FAILED, "version_mismatch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn words_beyond_the_rules_are_checked() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let zone = pb::User { time_zone: Some("Mars/Base".to_owned()), ..person("x@example.com", Role::Viewer) };
    let refused = create(&world, &owner, zone).await;
    assert_eq!(field(refused), ("user.time_zone".to_owned(), "unknown_time_zone"));
    let bob = create(&world, &owner, person("bob@example.com", Role::Viewer)).await.expect("made");
    let cleared = update(&world, &owner, &bob.id, &["status"], pb::User::default()).await;
    assert_eq!(field(cleared), ("user.status".to_owned(), "required"));
    let email = pb::User { email: "new@example.com".to_owned(), ..pb::User::default() };
    let moved = update(&world, &owner, &bob.id, &["email"], email).await;
    assert_eq!(field(moved), ("user.email".to_owned(), "immutable"));
    let zone = update(&world, &owner, &bob.id, &["time_zone"], pb::User::default()).await;
    assert_eq!(zone.expect("null goes back to UTC").time_zone.as_deref(), Some("UTC"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_rights_end_tokens_and_sessions() {
    let world = World::new().await;
    world.listen();
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let owner = world.user(org_of(&session), user_of(&session).id.parse().expect("a UUID"), "owner");
    let user = pb::User { password: Some(PASSWORD.to_owned()), ..person("bob@example.com", Role::Responder) };
    let bob = create(&world, &owner, user).await.expect("made");
    assert_eq!(bob.password, None);
    let before = world.login("bob@example.com", PASSWORD).await.expect("signed in");
    set_role(&world, &owner, &bob.id, Role::Viewer).await.expect("changed");
    assert_eq!(world.refused(&before.access_token).await, "revoked_token");
    let after = world.refresh(&before.refresh_token).await.expect("the session goes on");
    assert_eq!(user_of(&after).role(), Role::Viewer);
    world.me(&after.access_token).await.expect("a good token");

    let disabled = pb::User { status: pb::UserStatus::Disabled.into(), ..pb::User::default() };
    update(&world, &owner, &bob.id, &["status"], disabled).await.expect("disabled");
    assert_eq!(world.refused(&after.access_token).await, "revoked_token");
    let refreshed = world.refresh(&after.refresh_token).await;
    assert_eq!(code(refreshed), (StatusCode::UNAUTHORIZED, "session_ended"));
    let login = world.login("bob@example.com", PASSWORD).await;
    assert_eq!(code(login), (FORBIDDEN, "user_disabled"));

    let mut enabled = pb::User { status: pb::UserStatus::Active.into(), ..pb::User::default() };
    enabled.password = Some("another long password".to_owned());
    let both = ["status", "password"];
    update(&world, &owner, &bob.id, &both, enabled).await.expect("enabled");
    let old = world.login("bob@example.com", PASSWORD).await;
    assert_eq!(code(old), (StatusCode::UNAUTHORIZED, "invalid_credentials"));
    world.login("bob@example.com", "another long password").await.expect("signed in");
    let taken = update(&world, &owner, &bob.id, &["password"], pb::User::default()).await;
    taken.expect("a user without a password");
    let none = world.login("bob@example.com", "another long password").await;
    assert_eq!(code(none), (StatusCode::UNAUTHORIZED, "invalid_credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_makes_one_user() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let create = async |password: &str| {
        let user =
            pb::User { password: Some(password.to_owned()), ..person("bob@example.com", Role::Viewer) };
        let request = pb::CreateUserRequest { user: Some(user) };
        let request = rpc::keyed(&owner, "once", request).expect("ASCII");
        world.users().create_user(request).await
    };
    let first = create(PASSWORD).await.expect("made");
    let second = create(PASSWORD).await.expect("replayed");
    assert_eq!(second.metadata().get(rpc::IDEMPOTENCY_REPLAYED).map(|v| v.as_bytes()), Some(&b"true"[..]));
    assert_eq!(first.into_inner(), second.into_inner());
    let other = create("another long password").await;
    assert_eq!(code(other), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_filtered_and_paged() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    for (name, role) in [("c", Role::Viewer), ("a", Role::Admin), ("b", Role::Viewer), ("b", Role::Responder)]
    {
        let email = format!("{name}{}@example.com", i32::from(role));
        let user = pb::User { name: name.to_owned(), ..person(&email, role) };
        create(&world, &owner, user).await.expect("made");
    }
    let list = async |request: pb::ListUsersRequest| {
        world.users().list_users(rpc::request(&owner, request)).await.map(Response::into_inner)
    };
    for (sort, expected) in
        [("name", ["a", "b", "b", "c", "owner"]), ("-name", ["owner", "c", "b", "b", "a"])]
    {
        let mut names = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListUsersRequest {
                page_size: 2,
                page_token,
                sort: sort.to_owned(),
                ..Default::default()
            };
            let page = list(request).await.expect("a page");
            names.extend(page.items.into_iter().map(|user| user.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(names, expected, "{sort}");
    }
    let role = vec![Role::Viewer.into(), Role::Admin.into()];
    let filtered = list(pb::ListUsersRequest { role, ..Default::default() }).await.expect("a page");
    let names: Vec<_> = filtered.items.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["c", "a", "b"], "the oldest first");
    let first = list(pb::ListUsersRequest { page_size: 1, ..Default::default() }).await.expect("a page");
    let other = list(pb::ListUsersRequest {
        page_token: first.next_page_token,
        sort: "name".to_owned(),
        ..Default::default()
    });
    assert_eq!(field(other.await), ("page_token".to_owned(), "page_token_mismatch"));
}
