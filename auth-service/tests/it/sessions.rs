use std::time::Duration;

use auth_service::{Config, Registration};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use platform::error::Error;
use platform::rpc;
use proto::auth::v1 as pb;
use tonic::Response;

use crate::world::{PASSWORD, World, code, field, inner, org_of, user_of, with_bearer};

const DAY: Duration = Duration::from_secs(24 * 3600);
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registers_is_signed_in_as_owner() {
    let world = World::new().await;
    let session = world.register(" Ann@Example.com ".trim(), "Acme Inc.").await.expect("registered");
    assert_eq!((session.expires_in, user_of(&session).email.as_str()), (900, "ann@example.com"));
    assert_eq!(session.organization.as_ref().map(|org| org.slug.as_str()), Some("acme-inc"));
    let me = world.me(&session.access_token).await.expect("a good token");
    assert_eq!((me.kind.as_str(), &me.id), ("user", &user_of(&session).id));
    let owner: Vec<String> = world.deps.door.access.role("owner").iter().map(str::to_owned).collect();
    assert_eq!(me.permissions, owner);
    let org = org_of(&session);
    let id = user_of(&session).id.clone();
    assert_eq!(world.events(org).await, [("pulseops.auth.user.registered.v1".to_owned(), id.clone(), 1)]);
    let expected = ["organization.created", "user.registered", "session.created"];
    assert_eq!(world.actions(org).await, expected);
    assert!(world.audit(org).await.iter().all(|(_, actor)| *actor == format!("user:{id}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_registers_once_and_a_name_often() {
    let world = World::new().await;
    world.register("ann@example.com", "Acme").await.expect("registered");
    let again = world.register("ANN@example.COM", "Other").await;
    assert_eq!(code(again.clone()), (StatusCode::CONFLICT, "already_exists"));
    assert_eq!(field(again).0, "email");
    let second = world.register("bob@example.com", "ACME!").await.expect("registered");
    assert_eq!(second.organization.expect("set").slug, "acme-2");
    let sql = "SELECT count(*) FROM pulseops_auth.organizations";
    let organizations: i64 = world.db.admin().await.query_one(sql, &[]).await.expect("counted").get(0);
    assert_eq!(organizations, 2, "a refused registration leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_can_be_closed() {
    let config = Config { registration: Registration::Closed, ..Config::default() };
    let world = World::with(config).await;
    let refused = world.register("ann@example.com", "Acme").await;
    assert_eq!(code(refused), (StatusCode::FORBIDDEN, "registration_closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_passwords_are_refused() {
    let world = World::new().await;
    let register = async |password: &str| {
        let request = pb::RegisterRequest {
            email: "longenough@example.com".to_owned(),
            password: password.to_owned(),
            name: "Ann".to_owned(),
            organization: "Acme".to_owned(),
        };
        let request = rpc::request(&world.anonymous(), request);
        world.sessions().register(request).await.map(Response::into_inner)
    };
    assert_eq!(field(register("short").await), ("password".to_owned(), "too_short"));
    let email = register("LongEnough@example.com").await;
    assert_eq!(field(email), ("password".to_owned(), "password_is_email"));
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_tell_nothing_about_accounts() {
    let world = World::new().await;
    world.register("ann@example.com", "Acme").await.expect("registered");
    let session = world.login("Ann@example.com", PASSWORD).await.expect("signed in");
    world.me(&session.access_token).await.expect("a good token");
    let wrong = world.login("ann@example.com", "wrong password").await;
    let unknown = world.login("bob@example.com", PASSWORD).await;
    assert_eq!(code(wrong.clone()), (UNAUTHORIZED, "invalid_credentials"));
    let text = |result: Result<pb::Session, _>| Error::from(result.expect_err("refused")).detail;
    assert_eq!(text(wrong), text(unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_session() {
    let world = World::new().await;
    world.listen();
    let first = world.register("ann@example.com", "Acme").await.expect("registered");
    let second = world.refresh(&first.refresh_token).await.expect("rotated");
    assert_ne!(first.refresh_token, second.refresh_token);
    let third = world.refresh(&second.refresh_token).await.expect("rotated");
    world.me(&third.access_token).await.expect("a good token");
    let reused = world.refresh(&first.refresh_token).await;
    assert_eq!(code(reused), (UNAUTHORIZED, "refresh_token_reused"));
    let after = world.refresh(&third.refresh_token).await;
    assert_eq!(code(after), (UNAUTHORIZED, "session_ended"));
    let again = world.refresh(&first.refresh_token).await;
    assert_eq!(code(again), (UNAUTHORIZED, "refresh_token_reused"));
    assert_eq!(world.refused(&third.access_token).await, "revoked_token");
    let events = world.events(org_of(&first)).await;
    let revoked: Vec<_> = events.iter().filter(|event| event.0.contains("revoked")).collect();
    assert_eq!(revoked.len(), 1, "{events:?}");
    let fresh = world.login("ann@example.com", PASSWORD).await.expect("signed in again");
    world.me(&fresh.access_token).await.expect("another session");
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_expire_and_are_swept() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    world.db.advance(29 * DAY).await;
    let renewed = world.refresh(&session.refresh_token).await.expect("still good");
    world.db.advance(31 * DAY).await;
    let late = world.refresh(&renewed.refresh_token).await;
    assert_eq!(code(late), (UNAUTHORIZED, "expired_refresh_token"));
    auth_service::sweep::step(&world.db.db("auth")).await.expect("swept");
    let sql = "SELECT (SELECT count(*) FROM pulseops_auth.sessions) + \
        (SELECT count(*) FROM pulseops_auth.refresh_tokens)";
    let left: i64 = world.db.admin().await.query_one(sql, &[]).await.expect("counted").get(0);
    assert_eq!(left, 0);
    let gone = world.refresh(&renewed.refresh_token).await;
    assert_eq!(code(gone), (UNAUTHORIZED, "invalid_refresh_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_lasts_15_minutes() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    world.db.advance(Duration::from_secs(840)).await;
    world.me(&session.access_token).await.expect("still good");
    world.db.advance(Duration::from_secs(61)).await;
    assert_eq!(code(world.me(&session.access_token).await), (UNAUTHORIZED, "expired_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_the_session_everywhere() {
    let world = World::new().await;
    world.listen();
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let other = world.login("ann@example.com", PASSWORD).await.expect("signed in");
    let logout = with_bearer(&session.access_token, pb::LogoutRequest {});
    inner(world.sessions().logout(logout).await);
    assert_eq!(world.refused(&session.access_token).await, "revoked_token");
    let refreshed = world.refresh(&session.refresh_token).await;
    assert_eq!(code(refreshed), (UNAUTHORIZED, "session_ended"));
    world.me(&other.access_token).await.expect("the other session goes on");
    let actions = world.actions(org_of(&session)).await;
    assert_eq!(actions.last().map(String::as_str), Some("session.revoked"));
    let events = world.events(org_of(&session)).await;
    assert_eq!(events.last().map(|event| event.0.as_str()), Some("pulseops.auth.access.revoked.v1"));
}

/// RFC 8037 and RFC 7515 by hand: nothing of the code that signs is used.
#[tokio::test(flavor = "multi_thread")]
async fn the_published_key_verifies_a_token() {
    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let jwks = rpc::request(&world.anonymous(), pb::GetJwksRequest {});
    let jwks = inner(world.sessions().get_jwks(jwks).await);
    let parts: Vec<&str> = session.access_token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("not a JWT") };
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let json = |text: &str| -> serde_json::Value { serde_json::from_slice(&decode(text)).expect("JSON") };
    let kid = json(header)["kid"].as_str().expect("a key id").to_owned();
    assert_eq!(json(header)["alg"], "EdDSA");
    let [key] = &jwks.keys[..] else { panic!("one key") };
    assert_eq!((key.kid.as_str(), key.kty.as_str(), key.crv.as_str()), (&*kid, "OKP", "Ed25519"));
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, decode(&key.x));
    let signed = format!("{header}.{claims}");
    public.verify(signed.as_bytes(), &decode(signature)).expect("a good signature");
    assert!(public.verify(b"something else", &decode(signature)).is_err());
    let claims = json(claims);
    assert_eq!(claims["aud"], "pulseops");
    assert_eq!(claims["sub"], format!("user:{}", user_of(&session).id));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 900));
}
