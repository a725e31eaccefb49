//! Who is let in, before anything of a body is read.

use api_gateway::Config;
use axum::body::Body;
use futures::stream;
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::json;
use transcode::Operation;

use crate::world::{Caller, JSON, World, access};

/// A request whose body nobody may look at.
async fn untouched(caller: &Caller, method: Method, path: &str) -> crate::world::Answer {
    let body = stream::poll_fn(|_| -> std::task::Poll<Option<std::io::Result<bytes::Bytes>>> {
        panic!("the body was read")
    });
    let request = caller.request(method, path).header(CONTENT_TYPE, "text/plain");
    caller.send(request.body(Body::from_stream(body)).expect("a request")).await
}

#[tokio::test]
async fn nobody_and_viewers_send_no_events() {
    let world = World::new().await;
    let answer = untouched(&world.nobody(), Method::POST, "/v1/events").await;
    answer.problem(401, "missing_token");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    untouched(&world.bearer("rubbish"), Method::POST, "/v1/events").await.problem(401, "invalid_token");
    untouched(&world.user("viewer"), Method::POST, "/v1/events").await.problem(403, "permission_denied");
    assert_eq!(world.stored_ids().await, [] as [&str; 0]);
}

#[tokio::test]
async fn every_operation_refuses_before_it_reads() {
    let world = World::new().await;
    let contract = api_gateway::contract(&Config::default()).expect("a sound contract");
    let table = access();
    let (nobody, viewer) = (world.nobody(), world.user("viewer"));
    let can = table.role("viewer");
    let mut seen = 0;
    for operation in contract.operations().iter().filter(|operation| operation.is_documented()) {
        let (Some(method), transcode::Access::Permission(needed)) = (operation.method(), operation.access())
        else {
            continue;
        };
        let path = path_of(operation);
        let answer = untouched(&nobody, method.clone(), &path).await;
        assert_eq!(answer.status, 401, "{}", operation.name());
        if !can.contains(needed) {
            let answer = untouched(&viewer, method.clone(), &path).await;
            assert_eq!(answer.status, 403, "{}", operation.name());
        }
        seen += 1;
    }
    assert!(seen > 30, "{seen} operations");
}

fn path_of(operation: &Operation) -> String {
    let mut path = operation.path().expect("documented ones have a path").to_owned();
    for name in operation.path_variables() {
        path = path.replace(&format!("{{{name}}}"), "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8");
    }
    path
}

#[tokio::test]
async fn another_organization_is_another_world() {
    let world = World::new().await;
    let payment = world.service("payment").await;
    let stranger = world.stranger();
    let path = format!("/v1/services/{payment}");
    assert_eq!(world.user("viewer").get(&path).await.status, 200);
    stranger.get(&path).await.problem(404, "not_found");
    let request = stranger.request(Method::PATCH, &path).header(CONTENT_TYPE, JSON);
    let request = request.body(json!({ "name": "Mine" }).to_string().into()).expect("a request");
    stranger.send(request).await.problem(404, "not_found");
    assert_eq!(stranger.get("/v1/services").await.json()["items"], json!([]));
}
