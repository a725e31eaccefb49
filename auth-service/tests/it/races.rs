//! What happens at the same time, made so by holding a table until everybody waits.

use std::time::Duration;

use auth_service::Config;
use http::StatusCode;
use platform::ctx::Ctx;
use platform::deps::Deps;
use platform::rpc::{self, Transport};
use platform::source::Source;
use platform::testing::eventually;
use prost_types::FieldMask;
use proto::api::v1::Role;
use proto::auth::v1 as pb;
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use tokio_postgres::Client;
use tonic::{Response, Status};

use crate::world::{PASSWORD, SOON, World, code, inner, org_of, user_of};

/// Nobody writes `table` until it is let go.
async fn hold(world: &World, table: &str) -> Client {
    let client = world.db.admin().await;
    let sql = format!("BEGIN; LOCK TABLE pulseops_auth.{table} IN SHARE MODE");
    client.batch_execute(&sql).await.expect("held");
    client
}

async fn let_go(client: Client) {
    client.batch_execute("COMMIT").await.expect("let go");
}

/// Returns when `count` transactions wait for a lock.
async fn waiting(world: &World, count: i64) {
    let admin = world.db.admin().await;
    let sql = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually(SOON, || async {
        let row = admin.query_one(sql, &[]).await.expect("counted");
        (row.get::<_, i64>(0) == count).then_some(())
    })
    .await;
}

async fn set_role(world: &World, cx: &Ctx, id: &str, role: Role) -> Result<pb::User, Status> {
    let request = rpc::request(cx, role_change(id, role));
    world.users().update_user(request).await.map(Response::into_inner)
}

fn role_change(id: &str, role: Role) -> pb::UpdateUserRequest {
    pb::UpdateUserRequest {
        id: id.to_owned(),
        user: Some(pb::User { role: role.into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["role".to_owned()] }),
    }
}

fn one_refused<T: std::fmt::Debug>(
    one: Result<T, Status>,
    two: Result<T, Status>,
) -> (StatusCode, &'static str) {
    match (one, two) {
        (Ok(_), refused @ Err(_)) | (refused @ Err(_), Ok(_)) => code(refused),
        both => panic!("one of the two is refused: {both:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_cannot_demote_each_other() {
    let world = World::new().await;
    let one = world.organization("acme").await;
    let two = world.member(one.org, "owner").await;
    let (first, second) = (one.principal.id.to_string(), two.principal.id.to_string());
    let audit = hold(&world, "audit").await;
    let (a, b, ()) = tokio::join!(
        set_role(&world, &one, &second, Role::Viewer),
        set_role(&world, &two, &first, Role::Viewer),
        async {
            waiting(&world, 2).await;
            let_go(audit).await;
        },
    );
    assert_eq!(one_refused(a, b), (StatusCode::CONFLICT, "last_owner"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_refreshes_one_is_a_reuse() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let token = &session.refresh_token;
    let tokens = hold(&world, "refresh_tokens").await;
    let (a, b, ()) = tokio::join!(world.refresh(token), world.refresh(token), async {
        waiting(&world, 2).await;
        let_go(tokens).await;
    });
    assert_eq!(one_refused(a, b), (StatusCode::UNAUTHORIZED, "refresh_token_reused"));
}

/// The invariant of the crate: a token with the old role is never younger than the revocation.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_signed_while_the_role_changes_is_refused() {
    let world = World::new().await;
    world.listen();
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let other = world.member(org_of(&session), "owner").await;
    let id = &user_of(&session).id;
    let tokens = hold(&world, "refresh_tokens").await;
    let (refreshed, changed, ()) = tokio::join!(
        world.refresh(&session.refresh_token),
        async {
            waiting(&world, 1).await;
            set_role(&world, &other, id, Role::Viewer).await
        },
        async {
            waiting(&world, 2).await;
            let_go(tokens).await;
        },
    );
    changed.expect("changed");
    let refreshed = refreshed.expect("rotated before the change");
    assert_eq!(user_of(&refreshed).role(), Role::Owner);
    assert_eq!(world.refused(&refreshed.access_token).await, "revoked_token");
    let after = world.refresh(&refreshed.refresh_token).await.expect("the session goes on");
    assert_eq!(user_of(&after).role(), Role::Viewer);
}

/// The old password was right when the login asked; the session would outlive the revocation.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_does_not_survive_the_password_that_it_began_with() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let owner = world.member(org_of(&session), "owner").await;
    let audit = hold(&world, "audit").await;
    let change = pb::UpdateUserRequest {
        id: user_of(&session).id.clone(),
        user: Some(pb::User { password: Some("another long password".to_owned()), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["password".to_owned()] }),
    };
    let (changed, login, ()) = tokio::join!(
        async { world.users().update_user(rpc::request(&owner, change)).await },
        async {
            waiting(&world, 1).await;
            world.login("ann@example.com", PASSWORD).await
        },
        async {
            waiting(&world, 2).await;
            let_go(audit).await;
        },
    );
    inner(changed);
    assert_eq!(code(login), (StatusCode::UNAUTHORIZED, "invalid_credentials"));
    world.login("ann@example.com", "another long password").await.expect("signed in");
}

/// The way to a second process, whose clock is two seconds ahead.
async fn ahead(world: &World) -> (Deps, Transport) {
    let source = Source::system();
    source.advance(Duration::from_secs(2));
    let mut deps = crate::world::deps(&world.db);
    deps.door.source = source.clone();
    deps.source = source;
    let service = auth_service::build(&deps, &Config::default()).await.expect("built");
    deps.directory.add(&service);
    let transport = deps.directory.transport("pulseops.auth.v1");
    (deps, transport)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_revocations_are_of_one_clock() {
    let world = World::new().await;
    world.listen();
    world.register("ann@example.com", "Acme").await.expect("registered");
    let (_process, there) = ahead(&world).await;
    let login = pb::LoginRequest { email: "ann@example.com".to_owned(), password: PASSWORD.to_owned() };
    let login = rpc::request(&world.anonymous(), login);
    let session = inner(SessionServiceClient::new(there.clone()).login(login).await);
    let other = world.member(org_of(&session), "owner").await;
    let id = &user_of(&session).id;
    set_role(&world, &other, id, Role::Viewer).await.expect("changed here");
    assert_eq!(world.refused(&session.access_token).await, "revoked_token");

    let session = world.refresh(&session.refresh_token).await.expect("the session goes on");
    let change = rpc::request(&other, role_change(id, Role::Responder));
    inner(UserServiceClient::new(there).update_user(change).await);
    assert_eq!(world.refused(&session.access_token).await, "revoked_token");
    let session = world.refresh(&session.refresh_token).await.expect("the session goes on");
    world.me(&session.access_token).await.expect("signed after the revocation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_exchanged_while_its_key_is_revoked_is_refused() {
    let world = World::new().await;
    world.listen();
    let owner = world.organization("acme").await;
    let scopes = vec!["users_read".to_owned()];
    let new = pb::ApiKey { name: "k".to_owned(), scopes, ..Default::default() };
    let request = rpc::request(&owner, pb::CreateApiKeyRequest { api_key: Some(new) });
    let made = inner(world.keys().create_api_key(request).await);
    let id = made.api_key.expect("set").id;
    let keys = hold(&world, "api_keys").await;
    let authenticate = pb::AuthenticateRequest { key: made.key };
    let (exchanged, revoked, ()) = tokio::join!(
        async {
            let request = rpc::request(&world.service(owner.org), authenticate);
            world.access().authenticate(request).await
        },
        async {
            waiting(&world, 1).await;
            world.keys().revoke_api_key(rpc::request(&owner, pb::RevokeApiKeyRequest { id })).await
        },
        async {
            waiting(&world, 2).await;
            let_go(keys).await;
        },
    );
    inner(revoked);
    assert_eq!(world.refused(&inner(exchanged).token).await, "revoked_token");
}

/// What was revoked before a process started is refused by it too.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_later_hears_what_was_revoked() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    world.me(&session.access_token).await.expect("a good token");
    world.refresh(&session.refresh_token).await.expect("rotated");
    drop(world.refresh(&session.refresh_token).await);
    world.db.advance(Duration::from_secs(5)).await;
    world.listen();
    assert_eq!(world.refused(&session.access_token).await, "revoked_token");
}
