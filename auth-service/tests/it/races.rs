//! What happens at the same time, made so by holding a table until everybody waits.

use std::time::Duration;

use http::StatusCode;
use platform::ctx::Ctx;
use platform::rpc;
use platform::testing::eventually;
use prost_types::FieldMask;
use proto::api::v1::Role;
use proto::auth::v1 as pb;
use tokio_postgres::Client;
use tonic::{Response, Status};

use crate::world::{SOON, World, code, inner, org_of, user_of};

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
    let request = pb::UpdateUserRequest {
        id: id.to_owned(),
        user: Some(pb::User { role: role.into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["role".to_owned()] }),
    };
    world.users().update_user(rpc::request(cx, request)).await.map(Response::into_inner)
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
