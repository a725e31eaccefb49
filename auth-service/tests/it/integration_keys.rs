//! Keys of services, with the real incident-service beside.

use std::time::Duration;

use http::StatusCode;
use platform::ctx::Ctx;
use platform::error::{Error, Kind};
use platform::rpc::{self, Fault};
use proto::auth::v1 as pb;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use proto::incident::v1::{CreateServiceRequest, DeleteServiceRequest, Service};
use tonic::{Response, Status};

use crate::world::{World, code, inner};

const AUTHENTICATE: &str = "/pulseops.auth.v1.AccessService/Authenticate";
const GET_SERVICE: &str = "/pulseops.incident.v1.ServiceService/GetService";
const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "not_found");

async fn service(world: &World, owner: &Ctx) -> String {
    let service = Service { slug: "payment".to_owned(), name: "Payment".to_owned(), ..Default::default() };
    let request = rpc::request(owner, CreateServiceRequest { service: Some(service) });
    let transport = world.deps.directory.transport("pulseops.incident.v1");
    inner(ServiceServiceClient::new(transport).create_service(request).await).id
}

async fn create(world: &World, cx: &Ctx, service: &str) -> Result<pb::CreateApiKeyResponse, Status> {
    let request =
        pb::CreateIntegrationKeyRequest { service_id: service.to_owned(), name: "prometheus".to_owned() };
    world.keys().create_integration_key(rpc::request(cx, request)).await.map(Response::into_inner)
}

async fn list(world: &World, cx: &Ctx, service: &str) -> Result<Vec<pb::ApiKey>, Status> {
    let request = pb::ListIntegrationKeysRequest { service_id: service.to_owned(), ..Default::default() };
    let answer = world.keys().list_integration_keys(rpc::request(cx, request)).await;
    answer.map(|answer| answer.into_inner().items)
}

async fn revoke(world: &World, cx: &Ctx, service: &str, id: &str) -> Result<(), Status> {
    let request = pb::RevokeIntegrationKeyRequest { service_id: service.to_owned(), id: id.to_owned() };
    world.keys().revoke_integration_key(rpc::request(cx, request)).await.map(Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_bound_to_its_service_and_only_sends_events() {
    let world = World::with_incidents().await;
    let owner = world.organization("acme").await;
    let payment = service(&world, &owner).await;
    assert_eq!(list(&world, &owner, &payment).await.expect("a service without keys"), []);
    let made = create(&world, &owner, &payment).await.expect("made");
    let key = made.api_key.expect("set");
    assert!(made.key.starts_with("pik_"));
    assert_eq!((key.kind(), key.service_id.as_ref()), (pb::ApiKeyKind::Integration, Some(&payment)));
    assert_eq!(list(&world, &owner, &payment).await.expect("listed"), [key]);
    let verified = world.deps.door.verifier.verify(&made.key).await.expect("a good key");
    let principal = &verified.principal;
    assert_eq!(principal.bound_service.map(|id| id.to_string()), Some(payment));
    assert_eq!(principal.permissions.iter().collect::<Vec<_>>(), ["events_write"]);
    assert_eq!(code(world.me(&made.key).await), (StatusCode::FORBIDDEN, "permission_denied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_needs_a_service_of_the_organization() {
    let world = World::with_incidents().await;
    let (one, two) = (world.organization("one").await, world.organization("two").await);
    let payment = service(&world, &one).await;
    assert_eq!(code(create(&world, &two, &payment).await), NOT_FOUND);
    assert_eq!(code(list(&world, &two, &payment).await), NOT_FOUND);
    let made = create(&world, &one, &payment).await.expect("made").api_key.expect("set");
    assert_eq!(code(list(&world, &two, &payment).await), NOT_FOUND);
    assert_eq!(code(revoke(&world, &two, &payment, &made.id).await), NOT_FOUND);
    let request = rpc::request(&one, DeleteServiceRequest { id: payment.clone() });
    let transport = world.deps.directory.transport("pulseops.incident.v1");
    inner(ServiceServiceClient::new(transport).delete_service(request).await);
    assert_eq!(code(create(&world, &one, &payment).await), (StatusCode::CONFLICT, "archived"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_under_its_service() {
    let world = World::with_incidents().await;
    world.listen();
    let owner = world.organization("acme").await;
    let payment = service(&world, &owner).await;
    let made = create(&world, &owner, &payment).await.expect("made");
    let id = made.api_key.expect("set").id;
    let verifier = &world.deps.door.verifier;
    verifier.verify(&made.key).await.expect("a good key");
    let request = rpc::request(&owner, pb::RevokeApiKeyRequest { id: id.clone() });
    assert_eq!(code(world.keys().revoke_api_key(request).await), NOT_FOUND);
    let elsewhere = world.db.source().id().to_string();
    assert_eq!(code(revoke(&world, &owner, &elsewhere, &id).await), NOT_FOUND);
    revoke(&world, &owner, &payment, &id).await.expect("revoked");
    let refused = platform::testing::eventually(crate::world::SOON, || async {
        verifier.verify(&made.key).await.err()
    });
    assert_eq!(refused.await.kind, Kind::Unauthenticated);
    assert_eq!(list(&world, &owner, &payment).await.expect("listed"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_15_minutes_of_silence() {
    let world = World::with_incidents().await;
    let owner = world.organization("acme").await;
    let payment = service(&world, &owner).await;
    let key = create(&world, &owner, &payment).await.expect("made").key;
    let verifier = &world.deps.door.verifier;
    verifier.verify(&key).await.expect("a good key");
    let down = Fault::Fail(Error::unavailable("down", "auth-service is down"));
    world.deps.directory.faults().inject(AUTHENTICATE, 100, down);
    world.db.advance(Duration::from_secs(10 * 60)).await;
    verifier.verify(&key).await.expect("the last good answer counts");
    world.db.advance(Duration::from_secs(6 * 60)).await;
    assert_eq!(verifier.verify(&key).await.expect_err("too long").kind, Kind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_incident_service_no_key_is_made_and_those_that_are_work() {
    let world = World::with_incidents().await;
    let owner = world.organization("acme").await;
    let payment = service(&world, &owner).await;
    let made = create(&world, &owner, &payment).await.expect("made");
    let keyless = world.db.source().id().to_string();
    let down = Fault::Fail(Error::unavailable("down", "incident-service is down"));
    world.deps.directory.faults().inject(GET_SERVICE, 2, down);
    assert_eq!(list(&world, &owner, &keyless).await.expect("nobody says that it does not exist"), []);
    let refused = create(&world, &owner, &payment).await;
    assert_eq!(code(refused), (StatusCode::SERVICE_UNAVAILABLE, "down"));
    let mut actions = world.actions(owner.org).await;
    actions.retain(|action| action.starts_with("api_key."));
    assert_eq!(actions, ["api_key.created"], "nothing is half made");
    assert_eq!(list(&world, &owner, &payment).await.expect("listed").len(), 1);
    world.deps.door.verifier.verify(&made.key).await.expect("a good key");
}

/// The service token of the asking process is refused, or auth-service has a bug: not a word about
/// the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_bad_only_when_auth_says_so() {
    let world = World::with_incidents().await;
    let owner = world.organization("acme").await;
    let payment = service(&world, &owner).await;
    let key = create(&world, &owner, &payment).await.expect("made").key;
    let own =
        pb::ApiKey { name: "k".to_owned(), scopes: vec!["users_read".to_owned()], ..Default::default() };
    let request = rpc::request(&owner, pb::CreateApiKeyRequest { api_key: Some(own) });
    let own = inner(world.keys().create_api_key(request).await).key;
    let verifier = &world.deps.door.verifier;
    verifier.verify(&key).await.expect("a good key");
    let faults = [
        Error::unauthenticated("invalid_token", "the token is not valid"),
        Error::unauthenticated("expired_token", "the token has expired"),
        Error::forbidden("internal_only", "only services may ask"),
        Error::internal("a bug"),
    ];
    for fault in faults {
        world.db.advance(Duration::from_secs(61)).await;
        world.deps.directory.faults().inject(AUTHENTICATE, 2, Fault::Fail(fault.clone()));
        verifier.verify(&key).await.unwrap_or_else(|error| panic!("{fault} became {error}"));
        assert_eq!(verifier.verify(&own).await.expect_err("not known").kind, Kind::Unavailable, "{fault}");
    }
    verifier.verify(&own).await.expect("a good key");
    let long = verifier.verify(&format!("pik_{}", "x".repeat(600))).await.expect_err("no key");
    assert_eq!((long.kind, long.code), (Kind::Unauthenticated, "invalid_key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_and_listed_with_what_the_contract_asks_for() {
    let world = World::with_incidents().await;
    let owner = world.organization("acme").await;
    let payment = service(&world, &owner).await;
    let reader = world.key(owner.org, &["api_keys_read"]);
    assert_eq!(list(&world, &reader, &payment).await.expect("a service without keys"), []);
    assert_eq!(code(list(&world, &reader, &reader.id().to_string()).await), NOT_FOUND);
    let weak = world.key(owner.org, &["api_keys_write", "services_read"]);
    let refused = create(&world, &weak, &payment).await;
    assert_eq!(code(refused), (StatusCode::FORBIDDEN, "scope_exceeds_creator"));
    let maker = world.key(owner.org, &["api_keys_write", "events_write"]);
    create(&world, &maker, &payment).await.expect("made");
}

/// Unlike a person's own key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_outlives_whoever_made_it() {
    let world = World::with_incidents().await;
    world.listen();
    let owner = world.organization("acme").await;
    let admin = world.member(owner.org, "admin").await;
    let payment = service(&world, &owner).await;
    let made = create(&world, &admin, &payment).await.expect("made");
    assert_eq!(made.api_key.expect("set").user_id, None);
    let request = pb::DeleteUserRequest { id: admin.principal.id.to_string() };
    inner(world.users().delete_user(rpc::request(&owner, request)).await);
    world.db.advance(Duration::from_secs(61)).await;
    world.deps.door.verifier.verify(&made.key).await.expect("a good key");
}
