//! The door, tried from outside (a bearer token) and from inside (the context itself).

pub(crate) mod fixture;

use std::time::Duration;

use chrono::TimeDelta;
use fixture::{ORG, PACKAGE, World, bearer, call};
use platform::ctx::{Cause, Ctx, Principal, PrincipalKind, Trace};
use platform::error::Error;
use platform::rpc::{self, Fault};
use platform::telemetry::{self, TelemetryConfig};
use platform::token::{Audience, Claims, Revocation, Revoked, Signer};
use tonic::{Code, Request, Status};

fn code(answer: Result<String, Status>) -> (Code, &'static str) {
    match answer {
        Ok(_) => (Code::Ok, ""),
        Err(status) => (status.code(), Error::from(status).code),
    }
}

async fn outside(world: &World, method: &str, token: &str) -> (Code, &'static str) {
    code(call(world.transport(), method, bearer(token)).await)
}

#[tokio::test]
async fn without_a_token_only_public_operations_are_open() {
    let world = World::new();
    let bare = || Request::new(String::new());
    let open = call(world.transport(), "Open", bare()).await.expect("public");
    assert!(open.starts_with("anonymous "));
    for method in ["Read", "Write", "Inside"] {
        let answer = code(call(world.transport(), method, bare()).await);
        assert_eq!(answer, (Code::Unauthenticated, "missing_token"), "{method}");
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_and_public_operations_do_not_mind() {
    let world = World::new();
    let good = world.token(&world.user("owner"));
    let stranger = Signer::from_seed(&[8; 32]).expect("a key");
    let claims = Claims::new(&world.user("owner"), ORG, Duration::from_secs(60), &world.source);
    let foreign = stranger.sign(&claims).expect("signed");
    let (head, rest) = good.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    let unsigned = format!("eyJhbGciOiJub25lIiwia2lkIjoieCJ9.{body}.");
    let long_lived = Claims { exp: claims.exp + 7200, ..claims.clone() };
    let cases = [
        ("garbage", "invalid_token"),
        (&*format!("{head}.{body}x.{signature}"), "invalid_token"),
        (&*unsigned, "invalid_token"),
        (&*foreign, "unknown_key"),
        (&*world.issuer.sign(&long_lived), "invalid_token"),
    ];
    for (token, expected) in cases {
        let answer = outside(&world, "Read", token).await;
        assert_eq!(answer, (Code::Unauthenticated, expected), "{token}");
        assert_eq!(outside(&world, "Open", token).await.0, Code::Ok);
    }
    assert_eq!(outside(&world, "Read", &good).await.0, Code::Ok);
    world.source.advance(Duration::from_secs(901));
    assert_eq!(outside(&world, "Read", &good).await.1, "expired_token");
}

#[tokio::test]
async fn a_token_opens_only_the_doors_of_its_audience() {
    let world = World::new();
    let service = Principal::service("workflow");
    let ours = Signer::internal(&world.secret).expect("a key");
    let claims = Claims::new(&service, ORG, Duration::from_secs(60), &world.source);
    let outward = Claims { aud: Audience::Public, ..claims.clone() };
    assert_eq!(outside(&world, "Inside", &ours.sign(&outward).expect("signed")).await.1, "wrong_audience");
    // What auth-service signs never stands for one of our services.
    let from_auth = world.issuer.sign(&claims);
    assert_eq!(outside(&world, "Inside", &from_auth).await.1, "wrong_audience");
    let dressed_up = world.issuer.sign(&outward);
    assert_eq!(outside(&world, "Inside", &dressed_up).await.1, "invalid_token");
    let user = Claims::new(&world.user("owner"), ORG, Duration::from_secs(60), &world.source);
    let user = Claims { aud: Audience::Internal, ..user };
    assert_eq!(outside(&world, "Read", &ours.sign(&user).expect("signed")).await.1, "invalid_token");
    assert_eq!(outside(&world, "Inside", &ours.sign(&claims).expect("signed")).await.0, Code::Ok);
}

#[tokio::test]
async fn roles_may_do_what_the_contract_gives_them() {
    let world = World::new();
    let viewer = world.token(&world.user("viewer"));
    let owner = world.token(&world.user("owner"));
    let nobody = world.token(&world.user("jester"));
    assert_eq!(outside(&world, "Read", &viewer).await.0, Code::Ok);
    assert_eq!(outside(&world, "Write", &owner).await.0, Code::Ok);
    let refused = (Code::PermissionDenied, "permission_denied");
    assert_eq!(outside(&world, "Write", &viewer).await, refused);
    assert_eq!(outside(&world, "Read", &nobody).await, refused);
}

#[tokio::test]
async fn internal_operations_are_for_services_only_and_services_read_besides() {
    let world = World::new();
    let owner = world.token(&world.user("owner"));
    let refused = (Code::PermissionDenied, "internal_only");
    assert_eq!(outside(&world, "Inside", &owner).await, refused);
    let trace = Trace::new(&world.source);
    let cause = Some(Cause { event: world.source.id(), depth: 2 });
    let cx = Ctx::service("workflow", ORG, world.source.clone(), trace, cause);
    let inside = call(world.transport(), "Inside", rpc::request(&cx, String::new())).await;
    let inside = inside.expect("a service");
    assert!(inside.starts_with("service:workflow ") && inside.contains("depth=2"));
    let read = call(world.transport(), "Read", rpc::request(&cx, String::new())).await;
    assert!(read.is_ok());
    let answer = code(call(world.transport(), "Write", rpc::request(&cx, String::new())).await);
    assert_eq!(answer, (Code::PermissionDenied, "permission_denied"));
}

#[tokio::test]
async fn what_the_contract_does_not_say_is_refused() {
    let world = World::new();
    let owner = world.token(&world.user("owner"));
    assert_eq!(outside(&world, "Silent", &owner).await, (Code::PermissionDenied, "refused"));
    assert_eq!(outside(&world, "Nothing", &owner).await.0, Code::Unimplemented);
}

#[tokio::test]
async fn revoked_tokens_are_refused_at_once_and_later_ones_are_not() {
    let world = World::new();
    let ada = world.user("owner");
    let other_session = Principal { session: Some(world.source.id()), ..ada.clone() };
    let (first, second) = (world.token(&ada), world.token(&other_session));
    assert_eq!(outside(&world, "Read", &first).await.0, Code::Ok);
    let session = ada.session.expect("a session");
    world.verifier.revoke(Revocation { what: Revoked::Session(session), at: world.source.now() });
    assert_eq!(outside(&world, "Read", &first).await, (Code::Unauthenticated, "revoked_token"));
    assert_eq!(outside(&world, "Read", &second).await.0, Code::Ok);
    world.verifier.revoke(Revocation { what: Revoked::User(ada.id), at: world.source.now() });
    assert_eq!(outside(&world, "Read", &second).await.1, "revoked_token");
    world.source.advance(Duration::from_millis(2));
    let later = world.token(&ada);
    let old_news = world.source.now() - TimeDelta::milliseconds(1);
    world.verifier.revoke(Revocation { what: Revoked::User(ada.id), at: old_news });
    assert_eq!(outside(&world, "Read", &later).await.0, Code::Ok);
}

#[tokio::test]
async fn deadlines_end_calls() {
    let world = World::new();
    let mut request = Request::new(String::new());
    request.set_timeout(Duration::from_millis(20));
    let answer = code(call(world.transport(), "Slow", request).await);
    assert_eq!(answer, (Code::DeadlineExceeded, "deadline_exceeded"));
    let cx = Ctx::anonymous(world.source.clone()).with_timeout(Duration::from_millis(20));
    let answer = code(call(world.transport(), "Slow", rpc::request(&cx, String::new())).await);
    assert_eq!(answer.0, Code::DeadlineExceeded);
    let strict = World::with_max_time(Duration::from_millis(20));
    let answer = code(call(strict.transport(), "Slow", Request::new(String::new())).await);
    assert_eq!(answer.0, Code::DeadlineExceeded);
}

#[tokio::test]
async fn panics_and_foreign_errors_stay_inside() {
    let world = World::new();
    for method in ["Panic", "Foreign"] {
        let status = call(world.transport(), method, Request::new(String::new())).await;
        let status = status.expect_err("an error");
        assert_eq!(status.code(), Code::Internal, "{method}");
        assert!(!status.message().contains("secret"), "{method}: {}", status.message());
    }
    assert!(call(world.transport(), "Open", Request::new(String::new())).await.is_ok());
    let ours = call(world.transport(), "Fail", Request::new(String::new())).await;
    let ours = Error::from(ours.expect_err("an error"));
    assert_eq!((ours.code, &*ours.fields[0].field), ("required", "name"));
}

#[tokio::test]
async fn keys_and_versions_belong_to_one_call() {
    let world = World::new();
    let cx = Ctx::new(world.source.clone(), world.user("owner"), ORG)
        .with_idempotency_key("from my own caller")
        .with_if_match(3);
    let plain = call(world.transport(), "Write", rpc::request(&cx, String::new())).await;
    assert!(plain.expect("allowed").contains("key=- version=-"));
    let keyed = || rpc::keyed(&cx, "k-1", String::new()).expect("visible");
    let answer = call(world.transport(), "Write", keyed()).await.expect("allowed");
    assert!(answer.contains("key=k-1"));
    assert!(answer.ends_with(&cx.request_id.to_string()));
    // An operation that answers a secret does not understand keys.
    let answer = call(world.transport(), "Secret", keyed()).await.expect("allowed");
    assert!(answer.contains("key=-"));
    let mut request = rpc::request(&cx, String::new());
    request.metadata_mut().insert("if-match", "7".parse().expect("visible"));
    assert!(call(world.transport(), "Write", request).await.expect("allowed").contains("version=7"));
    let mut request = rpc::request(&cx, String::new());
    request.metadata_mut().insert("if-match", "*".parse().expect("visible"));
    assert_eq!(code(call(world.transport(), "Write", request).await).1, "invalid_if_match");
    let too_long = rpc::keyed(&cx, &"k".repeat(256), String::new()).expect("visible");
    let answer = code(call(world.transport(), "Write", too_long).await);
    assert_eq!(answer, (Code::InvalidArgument, "invalid_idempotency_key"));
}

#[tokio::test]
async fn api_keys_act_with_their_scopes() {
    let world = World::new();
    let key = world.key(PrincipalKind::ApiKey, "pok_good", &["things_read", "not_a_permission"]);
    assert_eq!(outside(&world, "Read", "pok_good").await.0, Code::Ok);
    assert_eq!(outside(&world, "Write", "pok_good").await.1, "permission_denied");
    assert_eq!(outside(&world, "Read", "pok_bad").await.1, "invalid_key");
    world.verifier.revoke(Revocation { what: Revoked::Key(key.id), at: world.source.now() });
    assert_eq!(outside(&world, "Read", "pok_good").await.1, "revoked_token");
}

#[tokio::test]
async fn a_service_that_nobody_serves_is_unavailable() {
    let world = World::new();
    assert!(world.directory.knows("test.v1.Things") && !world.directory.knows("other.v1"));
    let mut client = tonic::client::Grpc::new(world.directory.transport("other.v1"));
    client.ready().await.expect("always ready");
    let path = "/other.v1.Other/Call".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<String, String>::default();
    let answer = client.unary(Request::new(String::new()), path, codec).await;
    assert_eq!(answer.map(|_| ()).expect_err("nobody").code(), Code::Unavailable);
}

#[tokio::test]
async fn tests_can_put_faults_into_calls() {
    let world = World::new();
    let path = "/test.v1.Things/Open";
    let open = || call(world.directory.transport(PACKAGE), "Open", Request::new(String::new()));
    world.directory.faults().inject(path, 1, Fault::Fail(Error::unavailable("gone", "gone")));
    world.directory.faults().inject(path, 1, Fault::LoseAnswer);
    world.directory.faults().inject(path, 1, Fault::Delay(Duration::from_millis(1)));
    assert_eq!(code(open().await), (Code::Unavailable, "gone"));
    assert_eq!(code(open().await).0, Code::Unavailable);
    assert_eq!(code(open().await).0, Code::Ok);
    assert_eq!(world.directory.faults().waiting(path), 0);
}

#[tokio::test]
async fn calls_are_counted_by_operation_and_outcome() {
    let quiet = TelemetryConfig { filter: "off".to_owned(), ..TelemetryConfig::default() };
    telemetry::init(&quiet).expect("installed");
    let world = World::new();
    assert_eq!(outside(&world, "Write", &world.token(&world.user("viewer"))).await.0, Code::PermissionDenied);
    let text = telemetry::render();
    let counted = text.lines().any(|line| {
        line.starts_with("pulseops_rpc_requests_total{")
            && line.contains("service=\"things\"")
            && line.contains("rpc=\"/test.v1.Things/Write\"")
            && line.contains("code=\"PermissionDenied\"")
    });
    assert!(counted, "{text}");
    assert!(text.contains("pulseops_rpc_duration_seconds_bucket"), "{text}");
}
