use std::time::Duration;

use chrono::TimeDelta;
use http::StatusCode;
use platform::ctx::Ctx;
use platform::rpc;
use proto::auth::v1 as pb;
use proto::time::to_timestamp;
use tonic::{Response, Status};

use crate::world::{World, code, field, inner};

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
    let revoked = ("pulseops.auth.access.revoked.v1".to_owned(), key.id.clone(), 2);
    assert_eq!(world.events(owner.org).await, [revoked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_no_more_than_its_creator() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let maker = world.key(owner.org, &["api_keys_write", "users_read"]);
    create(&world, &maker, named(&["users_read"])).await.expect("made");
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
