//! Headers both ways, negotiation, unknown paths and methods.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response};
use serde_json::json;
use tower::ServiceExt as _;
use transcode::{Fault, Problems, RequestContext};

use crate::support::{Library, contract, message, request};

const BOOK: &str = "/v1/books/0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";

fn library() -> Library {
    Library::answering("Book", json!({ "version": "3" }))
}

#[tokio::test]
async fn if_match_travels_as_metadata() {
    let library = library();
    let patch = async |tag: &str| {
        let headers = [("if-match", tag)];
        library.json_with(Method::PATCH, BOOK, &headers, json!({ "title": "T" })).await
    };
    assert_eq!(patch("\"7\"").await.status, 200);
    assert_eq!(library.calls()[0].metadata("if-match"), Some("7"));
    assert_eq!(patch("*").await.status, 200);
    assert_eq!(library.calls()[1].metadata("if-match"), None);
    let weak = patch("W/\"7\"").await;
    assert_eq!((weak.status.as_u16(), &weak.json()["code"]), (412, &json!("version_mismatch")));
    for malformed in ["7", "\"7\", \"8\""] {
        let answer = patch(malformed).await;
        assert_eq!(answer.faults(), ["If-Match invalid_header"], "{malformed}");
    }
    assert_eq!(library.calls().len(), 2);
}

#[tokio::test]
async fn a_delete_may_say_which_version_it_means() {
    let library = Library::new(|call| match call.metadata("if-match") {
        Some("3") | None => Ok(tonic::Response::new(message("DeleteBookRequest", json!({})))),
        Some(_) => Err(tonic::Status::failed_precondition("another version")),
    });
    let delete = async |headers: &[(&str, &str)]| {
        let answer = library.send(request(Method::DELETE, BOOK, headers, Body::empty())).await;
        (answer.status.as_u16(), answer.header("etag").map(str::to_owned))
    };
    assert_eq!(delete(&[("if-match", "\"77\"")]).await, (412, None));
    assert_eq!(delete(&[("if-match", "\"3\"")]).await, (204, None));
    assert_eq!(delete(&[]).await, (204, None));
}

#[tokio::test]
async fn idempotency_keys_travel_where_they_are_understood() {
    let library = library();
    let key = [("idempotency-key", "k-1")];
    assert_eq!(library.json_with(Method::POST, "/v1/books", &key, json!({})).await.status, 201);
    let body = json!({ "title": "T" });
    assert_eq!(library.json_with(Method::PATCH, BOOK, &key, body).await.status, 200);
    let body = json!({ "name": "Ann" });
    assert_eq!(library.json_with(Method::POST, "/v1/cards", &key, body).await.status, 201);
    let keys: Vec<_> =
        library.calls().iter().map(|c| c.metadata("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys, [Some("k-1".to_owned()), None, None]);
    let long = "k".repeat(256);
    for bad in ["", "a b", &long] {
        let key = [("idempotency-key", bad)];
        let answer = library.json_with(Method::POST, "/v1/books", &key, json!({})).await;
        assert_eq!(answer.faults(), ["Idempotency-Key invalid_header"]);
    }
}

#[tokio::test]
async fn a_replay_says_so() {
    let library = Library::new(|_| {
        let mut reply = tonic::Response::new(message("Book", json!({ "id": "b" })));
        reply.metadata_mut().insert("idempotency-replayed", "true".parse().expect("ascii"));
        Ok(reply)
    });
    let answer = library.json(Method::POST, "/v1/books", json!({})).await;
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(answer.header("location"), Some("/v1/books/b"));
}

#[tokio::test]
async fn context_travels_with_the_request() {
    #[derive(Clone, PartialEq, Debug)]
    struct Verified(u32);
    let library = library();
    let headers = [
        ("authorization", "Bearer t"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("x-request-id", "r-1"),
        ("grpc-timeout", "5S"),
        ("cookie", "no"),
    ];
    let mut get = request(Method::GET, BOOK, &headers, Body::empty());
    get.extensions_mut().insert(Verified(7));
    assert_eq!(library.send(get).await.status, 200);
    let call = library.call();
    assert_eq!(call.rpc, "/library.v1.BookService/GetBook");
    assert_eq!(call.extensions.get::<Verified>(), Some(&Verified(7)));
    for (name, value) in &headers[..5] {
        assert_eq!(call.metadata(name), Some(*value), "{name}");
    }
    assert_eq!(call.metadata("cookie"), None);
}

#[tokio::test]
async fn other_media_types_are_not_acceptable() {
    let library = library();
    for accept in ["*/*", "application/*", "text/html, application/json;q=0.1"] {
        assert_eq!(library.get_with(BOOK, &[("accept", accept)]).await.status, 200, "{accept}");
    }
    for accept in ["text/html", "text/csv", "application/json;q=0"] {
        let answer = library.get_with(BOOK, &[("accept", accept)]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (406, &json!("not_acceptable")));
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let library = library();
    let answer = library.get("/v1/nothing").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!("not_found")));
    let answer = library.send(request(Method::PUT, BOOK, &[], Body::empty())).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (405, &json!("method_not_allowed")));
    let mut allowed: Vec<_> = answer.header("allow").expect("Allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
}

#[tokio::test]
async fn doors_by_hand_and_internal_operations_have_no_route() {
    let library = library();
    assert_eq!(library.get("/v1/stream").await.status, 404);
    let answer = library.json(Method::PUT, "/v1/books", json!({})).await;
    assert_eq!(answer.status, 405);
    assert!(library.calls().is_empty());
}

#[tokio::test]
async fn a_door_by_hand_can_share_a_path() {
    let hand = axum::routing::put(|| async { "by hand" });
    let library = library();
    let router = library.router.clone().merge(axum::Router::new().route("/v1/books", hand));
    let put = request(Method::PUT, "/v1/books", &[], Body::empty());
    assert_eq!(router.clone().oneshot(put).await.expect("an answer").status(), 200);
    let get = request(Method::GET, "/v1/books", &[], Body::empty());
    assert_eq!(router.clone().oneshot(get).await.expect("an answer").status(), 200);
    let missing = request(Method::GET, "/v2", &[], Body::empty());
    assert_eq!(router.oneshot(missing).await.expect("an answer").status(), 404);
}

#[tokio::test]
async fn a_service_without_an_address_is_unavailable() {
    struct Codes;
    impl Problems for Codes {
        fn status(&self, status: &tonic::Status, _: &RequestContext<'_>) -> Response<Body> {
            Response::new(Body::from(format!("{:?}: {}", status.code(), status.message())))
        }
        fn fault(&self, fault: &Fault, _: &RequestContext<'_>) -> Response<Body> {
            Response::new(Body::from(fault.code()))
        }
    }
    let router = transcode::router(contract(), |_| None, Arc::new(Codes));
    let get = request(Method::GET, BOOK, &[], Body::empty());
    let response = router.oneshot(get).await.expect("an answer");
    let body = axum::body::to_bytes(response.into_body(), 1000).await.expect("a body");
    assert_eq!(body, "Unavailable: library.v1.BookService has no address here");
}

#[tokio::test]
async fn a_transport_that_fails_is_unavailable() {
    struct Codes;
    impl Problems for Codes {
        fn status(&self, status: &tonic::Status, _: &RequestContext<'_>) -> Response<Body> {
            Response::new(Body::from(format!("{:?}", status.code())))
        }
        fn fault(&self, fault: &Fault, _: &RequestContext<'_>) -> Response<Body> {
            Response::new(Body::from(fault.code()))
        }
    }
    let dead = transcode::Transport::new(tower::service_fn(|_: Request<tonic::body::Body>| async {
        Err(Box::<dyn std::error::Error + Send + Sync>::from("gone"))
    }));
    let router = transcode::router(contract(), move |_| Some(dead.clone()), Arc::new(Codes));
    let get = request(Method::GET, BOOK, &[], Body::empty());
    let response = router.oneshot(get).await.expect("an answer");
    let body = axum::body::to_bytes(response.into_body(), 1000).await.expect("a body");
    assert_eq!(body, "Unavailable");
}
