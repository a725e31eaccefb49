//! What the gateway itself answers: problems, methods, deadlines, ids, and what describes it.

use std::time::Duration;

use api_gateway::Config;
use axum::body::Body;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use platform::rpc::Fault;
use serde_json::json;

use crate::world::{Answer, Caller, JSON, World};

/// How long the doors of the testing kit let a call take.
const DOORS: Duration = Duration::from_secs(10);
const LIST_SERVICES: &str = "/pulseops.incident.v1.ServiceService/ListServices";

async fn with_header(caller: &Caller, path: &str, header: (&str, &str)) -> Answer {
    let request = caller.request(Method::GET, path).header(header.0, header.1);
    caller.send(request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn what_only_http_knows_is_a_problem_too() {
    let world = World::new().await;
    let owner = world.user("owner");
    owner.get("/v1/nothing").await.problem(404, "not_found");
    owner.get("/v1/services/").await.problem(404, "not_found");
    for (method, path, allow) in [
        (Method::PUT, "/v1/services", "GET,HEAD,POST"),
        (Method::GET, "/v1/events", "POST"),
        (Method::HEAD, "/v1/events", "POST"),
        (Method::POST, "/docs", "GET,HEAD"),
        (Method::DELETE, "/openapi.json", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::from_bytes(b"BREW").expect("a method"), "/v1/services", "GET,HEAD,POST"),
    ] {
        let answer = owner.empty(method.clone(), path).await;
        if method == Method::HEAD {
            assert_eq!((answer.status, answer.text.as_str()), (405, ""));
        } else {
            answer.problem(405, "method_not_allowed");
        }
        let mut allowed: Vec<_> = answer.header("allow").expect("Allow").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
    let answer = with_header(&owner, "/v1/services", (ACCEPT.as_str(), "image/png")).await;
    answer.problem(406, "not_acceptable");
    owner.post("/v1/services", "text/plain", "{}").await.problem(415, "unsupported_media_type");
    let problem = owner.post("/v1/services", JSON, "{\n\"slug\": }").await.problem(400, "malformed_json");
    assert!(problem["detail"].as_str().expect("text").contains("at line 2 column 9"), "{problem}");
    let answer = owner.post_json("/v1/services", &json!({ "slug": "A b", "name": "x" })).await;
    answer.problem(422, "pattern");
    assert_eq!(answer.faults(), [("slug".to_owned(), "pattern".to_owned())]);
}

#[tokio::test]
async fn head_and_options_answer_without_a_body() {
    let world = World::new().await;
    let owner = world.user("owner");
    let head = owner.empty(Method::HEAD, "/v1/services").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), Some(JSON));
    let refused = world.nobody().empty(Method::HEAD, "/v1/services").await;
    assert_eq!((refused.status, refused.text.as_str()), (401, ""));

    // Which methods there are is no secret.
    let options = world.nobody().empty(Method::OPTIONS, "/v1/events").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("POST")));
    assert_eq!((options.text.as_str(), options.header("content-type")), ("", None));
    world.nobody().empty(Method::OPTIONS, "/v1/nothing").await.problem(404, "not_found");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let world = World::new().await;
    let owner = world.user("owner");
    let given = "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";
    let answer = with_header(&owner, "/v1/services", ("x-request-id", given)).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some(given)));
    let answer = with_header(&owner, "/v1/nothing", ("x-request-id", given)).await;
    assert_eq!(answer.problem(404, "not_found")["instance"], given);
    // One that is not ours to pass on is replaced.
    let answer = with_header(&owner, "/v1/services", ("x-request-id", "rm -rf")).await;
    assert!(answer.header("x-request-id").expect("an id").parse::<uuid::Uuid>().is_ok());
}

#[tokio::test]
async fn a_slow_service_is_a_timeout() {
    let world = World::with(Config { request_timeout_ms: 100, ..Config::default() }).await;
    let owner = world.user("owner");
    let held = world.hold_services().await;
    owner.get("/v1/services").await.problem(504, "deadline_exceeded");
    // A client may wait for less, and not for more.
    let patient = with_header(&owner, "/v1/services", ("grpc-timeout", "99999999H"));
    let answer = tokio::time::timeout(DOORS / 2, patient).await.expect("long before the doors' own limit");
    answer.problem(504, "deadline_exceeded");
    held.release().await;
    let answer = with_header(&owner, "/v1/services", ("grpc-timeout", "0m")).await;
    answer.problem(504, "deadline_exceeded");
}

#[tokio::test]
async fn lists_are_csv_for_whoever_wants_it() {
    let world = World::new().await;
    world.service("payment").await;
    let owner = world.user("owner");
    for answer in [
        owner.get("/v1/services?format=csv").await,
        with_header(&owner, "/v1/services", (ACCEPT.as_str(), "text/csv")).await,
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.header("content-type").expect("a type").starts_with("text/csv"));
        let lines: Vec<_> = answer.text.split("\r\n").collect();
        assert!(lines[0].starts_with("id,slug,name") && lines[1].contains(",payment,payment"), "{lines:?}");
    }
}

#[tokio::test]
async fn a_long_csv_outlasts_the_deadline_of_one_call() {
    let world = World::new().await;
    world.service("a").await;
    world.service("b").await;
    let faults = world.deps.directory.faults();
    for delay in [Duration::ZERO, Duration::from_millis(2_500)] {
        faults.inject(LIST_SERVICES, 1, Fault::Delay(delay));
    }
    let path = "/v1/services?format=csv&page_size=1";
    let answer = with_header(&world.user("owner"), path, ("grpc-timeout", "2S")).await;
    assert_eq!((answer.status, answer.text.lines().count()), (200, 3), "{}", answer.text);
    assert_eq!(faults.waiting(LIST_SERVICES), 0);
}

#[tokio::test]
async fn parameters_are_those_of_the_contract() {
    let world = World::new().await;
    let owner = world.user("owner");
    owner.get("/v1/services?page_size=0").await.problem(422, "out_of_range");
    let answer = owner.get("/v1/services?page_size=1&colour=red").await;
    answer.problem(422, "unknown_parameter");
    assert_eq!(answer.faults(), [("colour".to_owned(), "unknown_parameter".to_owned())]);
    owner.get("/v1/services?page_size=201").await.problem(422, "out_of_range");
    let request = owner.request(Method::POST, "/v1/services").header(CONTENT_TYPE, JSON);
    let request =
        request.header("idempotency-key", "one").body(json!({ "slug": "a", "name": "A" }).to_string().into());
    let first = owner.send(request.expect("a request")).await;
    assert_eq!((first.status, first.header("etag")), (201, Some("\"1\"")));
    let path = format!("/v1/services/{}", first.text_at("/id"));
    assert_eq!(first.header("location"), Some(path.as_str()));
    assert_eq!(with_header(&owner, &path, ("if-none-match", "\"1\"")).await.status, 304);
    let delete = async |tag: &str| {
        let request = owner.request(Method::DELETE, &path).header("if-match", tag);
        owner.send(request.body(axum::body::Body::empty()).expect("a request")).await
    };
    delete("\"77\"").await.problem(412, "version_mismatch");
    assert_eq!(delete("\"1\"").await.status, 204);
}

#[tokio::test]
async fn it_describes_itself() {
    let world = World::new().await;
    let nobody = world.nobody();
    let answer = nobody.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(JSON)));
    let document = answer.json();
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    assert_eq!(document["paths"]["/v1/events"]["post"]["operationId"], "send_events");
    let page = nobody.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text.contains("/openapi.json") && !page.text.contains("https://"), "self-contained");

    assert_eq!(nobody.get("/healthz").await.status, 200);
    assert_eq!(nobody.get("/readyz").await.status, 503);
    world.deps.lifecycle.set_ready();
    assert_eq!(nobody.get("/readyz").await.text, "ready\n");
    world.deps.lifecycle.stop().await.expect("a clean end");
    assert_eq!((nobody.get("/readyz").await.status, nobody.get("/healthz").await.status), (503, 200));
}
