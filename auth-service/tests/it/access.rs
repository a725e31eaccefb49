use http::StatusCode;
use platform::ctx::Ctx;
use platform::error::Error;
use platform::rpc::{self, Fault};
use proto::api::v1::Role;
use proto::auth::v1 as pb;

use crate::world::{World, code, field, inner, org_of, user_of, with_bearer};

const AUTHENTICATE: &str = "/pulseops.auth.v1.AccessService/Authenticate";

#[tokio::test(flavor = "multi_thread")]
async fn only_services_ask() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let refused = world.access().list_owners(rpc::request(&owner, pb::ListOwnersRequest {})).await;
    assert_eq!(code(refused), (StatusCode::FORBIDDEN, "internal_only"));
    let request = pb::AuthenticateRequest { key: "pok_x".to_owned() };
    let refused = world.access().authenticate(rpc::request(&world.anonymous(), request)).await;
    assert_eq!(code(refused), (StatusCode::UNAUTHORIZED, "missing_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_follow_the_matrix_and_the_organization() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let viewer = world.member(owner.org, "viewer").await;
    let stranger = world.organization("other").await;
    let id = |cx: &Ctx| cx.principal.id.to_string();
    let check = async |permission: &str| {
        let request = pb::CheckPermissionRequest {
            user_ids: vec![id(&viewer), id(&stranger), id(&owner)],
            permission: permission.to_owned(),
        };
        let request = rpc::request(&world.service(owner.org), request);
        world.access().check_permission(request).await
    };
    let answer = inner(check("incidents_respond").await).checks;
    let found: Vec<_> = answer.iter().map(|check| (check.allowed, check.found, &*check.name)).collect();
    assert_eq!(found, [(false, true, "viewer"), (false, false, ""), (true, true, "owner")]);
    let read = inner(check("incidents_read").await).checks;
    assert!(read[0].allowed);
    assert_eq!(field(check("anything").await), ("permission".to_owned(), "unknown_permission"));
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_are_those_who_can_act() {
    let world = World::new().await;
    let owner = world.organization("acme").await;
    let second = world.member(owner.org, "owner").await;
    world.member(owner.org, "admin").await;
    let list = async || {
        let request = rpc::request(&world.service(owner.org), pb::ListOwnersRequest {});
        inner(world.access().list_owners(request).await).user_ids
    };
    let id = |cx: &Ctx| cx.principal.id.to_string();
    assert_eq!(list().await, [id(&owner), id(&second)]);
    let request = rpc::request(&owner, pb::DeleteUserRequest { id: id(&second) });
    inner(world.users().delete_user(request).await);
    assert_eq!(list().await, [id(&owner)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_confirmed_while_it_says_the_truth() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let org = org_of(&session);
    let verifier = &world.deps.door.verifier;
    let verified = verifier.verify(&session.access_token).await.expect("a good token");
    let principal = &verified.principal;
    let confirm = async |role: Role, session: uuid::Uuid| {
        let request = pb::ConfirmTokenRequest {
            user_id: principal.id.to_string(),
            session_id: session.to_string(),
            role: role.into(),
            issued_at: None,
        };
        let request = rpc::request(&world.service(org), request);
        inner(world.access().confirm_token(request).await).valid
    };
    let sid = principal.session.expect("a session");
    assert!(confirm(Role::Owner, sid).await);
    assert!(!confirm(Role::Viewer, sid).await);
    assert!(!confirm(Role::Owner, world.db.source().id()).await);
    let user = world.user(org, user_of(&session).id.parse().expect("a UUID"), "owner");
    let mut ended = (*user.principal).clone();
    ended.session = Some(sid);
    let cx = Ctx::new(world.deps.source.clone(), ended, org);
    inner(world.sessions().logout(rpc::request(&cx, pb::LogoutRequest {})).await);
    assert!(!confirm(Role::Owner, sid).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_to_all_asks_nobody_about_a_token() {
    let world = World::new().await;
    let down = Fault::Fail(Error::unavailable("down", "auth-service is down"));
    world.deps.directory.faults().inject(AUTHENTICATE, 1, down);
    let jwks = with_bearer("pok_00000000_nothing", pb::GetJwksRequest {});
    inner(world.sessions().get_jwks(jwks).await);
    assert_eq!(world.deps.directory.faults().waiting(AUTHENTICATE), 1);
    let refused = world.me("pok_00000000_nothing").await;
    assert_eq!(code(refused), (StatusCode::SERVICE_UNAVAILABLE, "down"));
}

/// Nobody tells the door that the session ended; it asks after 30 s of silence.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_silent_bus_a_session_still_ends() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    world.me(&session.access_token).await.expect("a good token");
    world.refresh(&session.refresh_token).await.expect("rotated");
    let reused = world.refresh(&session.refresh_token).await;
    assert_eq!(code(reused), (StatusCode::UNAUTHORIZED, "refresh_token_reused"));
    world.db.advance(std::time::Duration::from_secs(31)).await;
    let refused = world.me(&session.access_token).await;
    assert_eq!(code(refused), (StatusCode::UNAUTHORIZED, "revoked_token"));
}

/// Auth-service does not like the token of whoever asks: the user's is as good as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_our_own_token_signs_nobody_out() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    world.db.advance(std::time::Duration::from_secs(31)).await;
    let faults = world.deps.directory.faults();
    for fault in [Error::unauthenticated("expired_token", "expired"), Error::internal("a bug")] {
        faults.inject("/pulseops.auth.v1.AccessService/ConfirmToken", 1, Fault::Fail(fault));
        world.me(&session.access_token).await.expect("a good token");
        world.db.advance(std::time::Duration::from_secs(31)).await;
    }
}
