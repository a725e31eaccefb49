//! From registration to an event under an integration key, all through REST, with the real auth-service.

use platform::error::Error;
use platform::rpc::Fault;
use serde_json::json;

use crate::world::World;

const AUTHENTICATE: &str = "/pulseops.auth.v1.AccessService/Authenticate";

#[tokio::test]
async fn a_new_organization_sends_its_first_event() {
    let world = World::with_auth().await;
    let register = json!({
        "email": "ada@example.com", "password": "correct horse battery", "name": "Ada", "organization": "Engines",
    });
    let session = world.nobody().post_json("/v1/auth/register", &register).await;
    assert_eq!(session.status, 201, "{}", session.text);
    let ada = world.bearer(session.text_at("/access_token"));
    let payment = ada.create_service("payment").await;
    let path = format!("/v1/services/{payment}/integration-keys");
    let made = ada.post_json(&path, &json!({ "name": "prometheus" })).await;
    assert_eq!(made.status, 201, "{}", made.text);

    let key = world.bearer(made.text_at("/key"));
    assert_eq!(key.events(&json!({ "id": "1", "name": "charge.failed" })).await.taken(), (1, vec![]));
    let stored = world.stored().await;
    let (envelope, event) = &stored[0];
    assert_eq!((&event.service, envelope.org.to_string()), (&payment, session.text_at("/organization/id")));

    // It sends events and does nothing else.
    key.get("/v1/services").await.problem(403, "permission_denied");
    key.post_json("/v1/services", &json!({})).await.problem(403, "permission_denied");
    let other = format!("{}x", made.text_at("/key"));
    world.bearer(other).events(&json!({ "name": "a" })).await.problem(401, "invalid_key");
}

#[tokio::test]
async fn what_is_open_to_all_asks_nobody_about_a_token() {
    let world = World::with_auth().await;
    let away = Error::unavailable("down", "auth-service is down");
    world.deps.directory.faults().inject(AUTHENTICATE, 1, Fault::Fail(away));
    let caller = world.bearer("pok_00000000_nothing");
    let login = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    caller.post_json("/v1/auth/login", &login).await.problem(401, "invalid_credentials");
    assert_eq!(world.deps.directory.faults().waiting(AUTHENTICATE), 1);
    caller.get("/v1/me").await.problem(503, "down");
}
