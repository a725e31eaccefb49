use std::time::Duration;

use chrono::TimeDelta;
use http::StatusCode;
use platform::ctx::Ctx;
use platform::rpc;
use platform::testing::eventually;
use prost_types::FieldMask;
use proto::api::v1::Role;
use proto::auth::v1 as pb;
use proto::time::to_timestamp;
use tonic::{Response, Status};

use crate::world::{PASSWORD, SOON, World, code, field, inner};

fn named(scopes: &[&str]) -> pb::ApiKey {
    pb::ApiKey {
        name: "deploys".to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..Default::default()
    }
}

async fn create(world: &World, cx: &Ctx, key: pb::ApiKey) -> Result<pb::CreateApiKeyResponse, Status> {
    let request = rpc::request(cx, pb::CreateApiKeyRequest { api_key: Some(key) });
    world.keys().create_api_key(request).await.map(Response::into_inner)
}

async fn get(world: &World, cx: &Ctx, id: &str) -> Result<pb::ApiKey, Status> {
    let request = rpc::request(cx, pb::GetApiKeyRequest { id: id.to_owned() });
    world.keys().get_api_key(request).await.map(Response::into_inner)
}

async fn revoke(world: &World, cx: &Ctx, id: &str) -> Result<(), Status> {
    let request = rpc::request(cx, pb::RevokeApiKeyRequest { id: id.to_owned() });
    world.keys().revoke_api_key(request).await.map(Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_until_it_is_revoked() {
    let world = World::new().await;
    world.listen();
    let owner = world.organization("acme").await;
    let made = create(&world, &owner, named(&["users_read", "events_write"])).await.expect("made");
    let key = made.api_key.expect("set");
    assert!(made.key.starts_with(&format!("{}_", key.prefix)) && key.prefix.starts_with("pok_"));
    assert_eq!((key.scopes.len(), key.last_used_at), (2, None));
    assert_eq!(key.created_by, format!("user:{}", owner.principal.id));
    let me = world.me(&made.key).await.expect("a good key");
    assert_eq!((me.kind.as_str(), &me.id, me.name.as_str()), ("api_key", &key.id, "deploys"));
    assert_eq!(me.permissions, ["events_write", "profile", "users_read"]);
    assert_eq!(me.organization.map(|org| org.slug), Some("acme".to_owned()));
    assert!(get(&world, &owner, &key.id).await.expect("there").last_used_at.is_some());
    revoke(&world, &owner, &key.id).await.expect("revoked");
    revoke(&world, &owner, &key.id).await.expect("nothing more happens");
    let refused = world.refused(&made.key).await;
    assert!(["revoked_token", "invalid_key"].contains(&refused), "{refused}");
    assert!(get(&world, &owner, &key.id).await.expect("kept").revoked_at.is_some());
    let list = async |revoked| {
        let request = pb::ListApiKeysRequest { revoked, ..Default::default() };
        inner(world.keys().list_api_keys(rpc::request(&owner, request)).await).items.len()
    };
    assert_eq!((list(false).await, list(true).await), (0, 1));
    assert_eq!(world.actions(owner.org).await, ["api_key.created", "api_key.revoked"]);
    let revoked = ("pulseops.auth.access.revoked.v1".to_owned(), key.id.clone(), 0);
    assert_eq!(world.events(owner.org).await, [revoked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_no_more_than_its_creator() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let scopes = ["api_keys_write", "users_read"];
    let first = create(&world, &owner, named(&scopes)).await.expect("made").api_key.expect("set");
    let maker = world.key_of(owner.org, first.id.parse().expect("a UUID"), &scopes);
    let second = create(&world, &maker, named(&["users_read"])).await.expect("made").api_key.expect("set");
    let user = Some(owner.principal.id.to_string());
    assert_eq!((&first.user_id, &second.user_id), (&user, &user), "a key's key is of the same user");
    assert_eq!(second.created_by, format!("api_key:{}", first.id));
    let more = create(&world, &maker, named(&["users_read", "teams_write"])).await;
    assert_eq!(code(more), (StatusCode::FORBIDDEN, "scope_exceeds_creator"));
    for unknown in ["everything", "public", "internal"] {
        let refused = create(&world, &owner, named(&[unknown])).await;
        assert_eq!(field(refused), ("api_key.scopes[0]".to_owned(), "unknown_scope"), "{unknown}");
    }
    let nothing = create(&world, &owner, named(&[])).await;
    assert_eq!(field(nothing), ("api_key.scopes".to_owned(), "required"));
    let viewer = world.member(owner.org, "viewer").await;
    let denied = create(&world, &viewer, named(&["users_read"])).await;
    assert_eq!(code(denied), (StatusCode::FORBIDDEN, "permission_denied"));
}

async fn change(world: &World, owner: &Ctx, id: &str, path: &str, user: pb::User) {
    let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
    let request = pb::UpdateUserRequest { id: id.to_owned(), user: Some(user), update_mask };
    inner(world.users().update_user(rpc::request(owner, request)).await);
}

/// A key that its user made while an admin does not outlive the admin's rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_follows_its_user() {
    let world = World::new().await;
    world.listen();
    let owner = world.organization("acme").await;
    let admin = world.member(owner.org, "admin").await;
    let id = admin.principal.id.to_string();
    let key = create(&world, &admin, named(&["users_read", "users_write"])).await.expect("made").key;
    let permissions = async || world.me(&key).await.map(|me| me.permissions);
    assert_eq!(permissions().await.expect("a good key"), ["profile", "users_read", "users_write"]);

    let role = pb::User { role: Role::Viewer.into(), ..Default::default() };
    change(&world, &owner, &id, "role", role).await;
    let left = ["profile", "users_read"];
    eventually(SOON, || async { permissions().await.is_ok_and(|held| held == left).then_some(()) }).await;

    let status = |status: pb::UserStatus| pb::User { status: status.into(), ..Default::default() };
    change(&world, &owner, &id, "status", status(pb::UserStatus::Disabled)).await;
    assert_eq!(world.refused(&key).await, "invalid_key");
    change(&world, &owner, &id, "status", status(pb::UserStatus::Active)).await;
    world.db.advance(Duration::from_secs(2)).await;
    assert_eq!(permissions().await.expect("good again"), left);

    let password = pb::User { password: Some(PASSWORD.to_owned()), ..Default::default() };
    change(&world, &owner, &id, "password", password).await;
    let request = rpc::request(&owner, pb::DeleteUserRequest { id: id.clone() });
    permissions().await.expect("a key does not hang on the password");
    inner(world.users().delete_user(request).await);
    assert_eq!(world.refused(&key).await, "invalid_key");
    let revoked = world.events(owner.org).await.into_iter().filter(|event| event.0.contains("revoked"));
    let (of_user, of_key): (Vec<_>, Vec<_>) = revoked.partition(|event| event.1 == id);
    assert_eq!((of_user.len(), of_key.len()), (4, 3), "the password ended the user's tokens alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_at_its_time() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let at = |seconds| Some(to_timestamp(world.db.source().now() + TimeDelta::seconds(seconds)));
    let past = pb::ApiKey { expires_at: at(-1), ..named(&["users_read"]) };
    let refused = create(&world, &owner, past).await;
    assert_eq!(field(refused), ("api_key.expires_at".to_owned(), "out_of_range"));
    let soon = pb::ApiKey { expires_at: at(20), ..named(&["users_read"]) };
    let made = create(&world, &owner, soon).await.expect("made");
    world.me(&made.key).await.expect("still good");
    world.db.advance(Duration::from_secs(21)).await;
    assert_eq!(code(world.me(&made.key).await), (StatusCode::UNAUTHORIZED, "invalid_key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_refused_and_use_is_noted_by_the_minute() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let unknown = world.me("pok_00000000_nothing").await;
    assert_eq!(code(unknown), (StatusCode::UNAUTHORIZED, "invalid_key"));
    let made = create(&world, &owner, named(&["users_read"])).await.expect("made");
    let id = made.api_key.expect("set").id;
    let exchange = async || {
        let request = pb::AuthenticateRequest { key: made.key.clone() };
        inner(world.access().authenticate(rpc::request(&world.service(owner.org), request)).await)
    };
    let used = async || get(&world, &owner, &id).await.expect("there").last_used_at;
    exchange().await;
    let first = used().await;
    world.db.advance(Duration::from_secs(30)).await;
    exchange().await;
    assert_eq!(used().await, first);
    world.db.advance(Duration::from_secs(31)).await;
    exchange().await;
    assert_ne!(used().await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_key_is_not_there() {
    let world = World::new().await;
    let (one, two) = (world.organization("one").await, world.organization("two").await);
    let made = create(&world, &one, named(&["users_read"])).await.expect("made");
    let id = made.api_key.expect("set").id;
    let not_found = (StatusCode::NOT_FOUND, "not_found");
    assert_eq!(code(get(&world, &two, &id).await), not_found);
    assert_eq!(code(revoke(&world, &two, &id).await), not_found);
    world.me(&made.key).await.expect("still good");
}
