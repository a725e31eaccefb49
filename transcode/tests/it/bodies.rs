//! Bodies: what fits, what does not, and PATCH.

use axum::body::Body;
use http::Method;
use serde_json::json;
use transcode::Options;

use crate::support::{Library, request};

const BOOK: &str = "/v1/books/0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";

fn library() -> Library {
    Library::answering("Book", json!({}))
}

#[tokio::test]
async fn a_named_body_fills_its_field() {
    let library = library();
    let body = json!({
        "slug": "middlemarch",
        "title": "Middlemarch",
        "subtitle": null,
        "genre": "fiction",
        "authors": ["George Eliot"],
        "labels": { "shelf": "a" },
        "publisher": { "name": "Blackwood", "founded": 1804 },
        "printed_at": "1871-12-01T00:00:00.5Z",
        "extra": { "pages": 880, "parts": [1, "two", null, { "three": true }] },
        "price": 3,
        "loan_ms": 31536000000_i64,
    });
    assert_eq!(library.json(Method::POST, "/v1/books", body).await.status, 201);
    let expected = json!({ "book": {
        "slug": "middlemarch",
        "title": "Middlemarch",
        "genre": "BOOK_GENRE_FICTION",
        "authors": ["George Eliot"],
        "labels": { "shelf": "a" },
        "publisher": { "name": "Blackwood", "founded": 1804 },
        "printed_at": "1871-12-01T00:00:00.500Z",
        "extra": { "pages": 880.0, "parts": [1.0, "two", null, { "three": true }] },
        "price": 3.0,
        "loan_ms": 31536000000_i64,
    }});
    assert_eq!(library.call().json(), expected);
}

#[tokio::test]
async fn every_fault_of_a_body_is_told_with_its_path() {
    let library = library();
    let body = json!({
        "id": "mine",
        "slug": 7,
        "title": null,
        "genre": "horror",
        "authors": ["a", 2, null],
        "labels": { "shelf": 1 },
        "publisher": { "nmae": "x", "founded": 1.5, "url": [] },
        "printed_at": "yesterday",
        "extra": [],
        "loan_ms": "60000",
        "price": true,
        "colour": "red",
    });
    let answer = library.json(Method::POST, "/v1/books", body).await;
    assert_eq!(answer.status, 422);
    let mut faults = answer.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            "authors[1] invalid_type",
            "authors[2] invalid_type",
            "colour unknown_field",
            "extra invalid_type",
            "genre undefined_value",
            "id read_only",
            "labels.shelf invalid_type",
            "loan_ms invalid_type",
            "price invalid_type",
            "printed_at invalid_value",
            "publisher.founded invalid_type",
            "publisher.nmae unknown_field",
            "publisher.url invalid_type",
            "slug invalid_type",
        ]
    );
    assert!(library.calls().is_empty());
}

#[tokio::test]
async fn keys_given_twice_are_refused_wherever_they_stand() {
    let body = r#"{"title":"a","title":"b","labels":{"x":"1","x":"2"},"extra":{"y":1,"y":2}}"#;
    let answer = library().text(Method::POST, "/v1/books", &[], body).await;
    assert_eq!(answer.faults(), ["title duplicate_key", "labels.x duplicate_key", "extra.y duplicate_key"]);
}

#[tokio::test]
async fn a_whole_body_fills_the_input_beside_the_path() {
    let library = Library::answering("Loan", json!({}));
    let body = json!({ "reader_id": "r", "days": 3, "card": null });
    assert_eq!(library.json(Method::POST, "/v1/books/b/lend", body).await.status, 202);
    assert_eq!(library.call().json(), json!({ "book_id": "b", "reader_id": "r", "days": 3 }));
    let body = json!({ "book_id": "other", "days": 3 });
    let answer = library.json(Method::POST, "/v1/books/b/lend", body).await;
    assert_eq!(answer.faults(), ["book_id unknown_field"]);
}

#[tokio::test]
async fn of_a_oneof_one_member_may_be_given() {
    let library = Library::answering("Loan", json!({}));
    let body = json!({ "card": "c", "reader_id": "r" });
    let answer = library.json(Method::POST, "/v1/books/b/lend", body).await;
    assert_eq!(answer.faults(), ["reader_id conflicting_fields"]);
}

#[tokio::test]
async fn a_whole_body_may_be_left_out() {
    let library = Library::answering("Loan", json!({}));
    let bare = request(Method::POST, "/v1/books/b/lend", &[], Body::empty());
    assert_eq!(library.send(bare).await.status, 202);
    let missing = request(Method::POST, "/v1/books", &[], Body::empty());
    let answer = library.send(missing).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("malformed_json")));
}

#[tokio::test]
async fn a_patch_masks_the_keys_that_are_present() {
    let library = library();
    let body = json!({
        "title": "T",
        "subtitle": null,
        "publisher": { "name": "P" },
        "labels": {},
        "printed_at": null,
    });
    assert_eq!(library.json(Method::PATCH, BOOK, body).await.status, 200);
    let call = library.call().json();
    assert_eq!(call["book"], json!({ "title": "T", "publisher": { "name": "P" } }));
    let mask = call["update_mask"].as_str().expect("a mask").to_owned();
    let mut keys: Vec<_> = mask.split(',').collect();
    keys.sort_unstable();
    assert_eq!(keys, ["labels", "printedAt", "publisher", "subtitle", "title"]);
}

#[tokio::test]
async fn a_patch_has_rules_of_its_own() {
    let library = library();
    let body = json!({ "slug": "new", "version": 3, "title": null, "authors": null, "genre": null });
    let answer = library.json(Method::PATCH, BOOK, body).await;
    let mut faults = answer.faults();
    faults.sort();
    assert_eq!(
        faults,
        ["authors required", "genre required", "slug immutable", "title required", "version read_only",]
    );
    let answer = library.json(Method::PATCH, BOOK, json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.faults()), (422, vec![" empty_update".to_owned()]));
    let bare = library.send(request(Method::PATCH, BOOK, &[], Body::empty())).await;
    assert_eq!(bare.faults(), [" empty_update"]);
    let answer = library.json(Method::PATCH, BOOK, json!([])).await;
    assert_eq!(answer.faults(), [" invalid_type"]);
}

#[tokio::test]
async fn malformed_json_is_400_and_says_where() {
    let library = library();
    let answer = library.text(Method::POST, "/v1/books", &[], "{\n  \"title\": oops }").await;
    assert_eq!(answer.status, 400);
    let problem = answer.json();
    assert_eq!(problem["code"], "malformed_json");
    assert_eq!(problem["detail"], "expected value at line 2 column 12");
}

#[tokio::test]
async fn depth_has_a_limit() {
    let library = library();
    let deep = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!("{{\"extra\":{{\"a\":{open}1{close}}}}}")
    };
    let answer = library.text(Method::POST, "/v1/books", &[], &deep("[", "]", 63)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("too_deep")));
    // What passes here must be readable by the service, too.
    for (open, close, most) in [("[", "]", 43), ("{\"b\":", "}", 29)] {
        for depth in [1, most - 1, most, most + 1, 60] {
            let answer = library.text(Method::POST, "/v1/books", &[], &deep(open, close, depth)).await;
            let expected = if depth <= most { 201 } else { 422 };
            assert_eq!(answer.status, expected, "{depth} of {open}: {}", answer.text);
        }
    }
    let answer = library.text(Method::POST, "/v1/books", &[], &deep("[", "]", 44)).await;
    assert!(answer.faults()[0].ends_with(" too_deep"), "{:?}", answer.faults());
}

#[tokio::test]
async fn size_has_a_limit() {
    let mut options = Options::new("library.v1.op");
    options.body_limit = 20;
    let library = Library::with_options(options, |_| Err(tonic::Status::internal("not reached")));
    let long = json!({ "title": "x".repeat(20) });
    let answer = library.json(Method::POST, "/v1/books", long).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (413, &json!("too_large")));
    let chunks = (0..5).map(|_| Ok::<_, std::io::Error>("{\"title\":"));
    let streamed = Body::from_stream(futures::stream::iter(chunks));
    let headers = [("content-type", "application/json")];
    let answer = library.send(request(Method::POST, "/v1/books", &headers, streamed)).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    let chunks = [Ok("{"), Err(std::io::Error::other("gone"))];
    let broken = Body::from_stream(futures::stream::iter(chunks));
    let headers = [("content-type", "application/json")];
    let answer = library().send(request(Method::POST, "/v1/books", &headers, broken)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("incomplete_body")));
}

#[tokio::test]
async fn only_json_is_read() {
    let library = library();
    for content_type in ["text/plain", "application/merge-patch+json", "application/xml"] {
        let headers = [("content-type", content_type)];
        let body = Body::from("{}");
        let answer = library.send(request(Method::POST, "/v1/books", &headers, body)).await;
        assert_eq!(answer.status, 415, "{content_type}");
    }
    let untyped = request(Method::POST, "/v1/books", &[], Body::from("{}"));
    assert_eq!(library.send(untyped).await.status, 415);
    let headers = [("content-type", "application/json; charset=utf-8")];
    let typed = request(Method::POST, "/v1/books", &headers, Body::from("{}"));
    assert_eq!(library.send(typed).await.status, 201);
}

#[tokio::test]
async fn many_faults_cost_little_and_are_counted() {
    let library = library();
    let key = "k".repeat(512 << 10);
    let members = vec!["\"a\":1"; 87_000].join(",");
    let body = format!("{{\"extra\":{{\"{key}\":{{{members}}}}}}}");
    // With a path as long as the key for each fault this is tens of gigabytes, and no test ends with that.
    let answer = library.text(Method::POST, "/v1/books", &[], &body).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.len() < 16 << 10, "{} bytes", answer.text.len());
    let faults = answer.faults();
    assert_eq!(faults.len(), 32);
    assert_eq!(faults[0], format!("extra.{}….a duplicate_key", "k".repeat(64)));
    assert_eq!(answer.json()["detail"], json!("32 fields are invalid, and 86967 more"));
}

#[tokio::test]
async fn unknown_keys_are_not_all_told() {
    let library = library();
    let body: Vec<_> = (0..60_000).map(|n| format!("\"k{n}\":0")).collect();
    let answer = library.text(Method::POST, "/v1/books", &[], &format!("{{{}}}", body.join(","))).await;
    assert_eq!((answer.status.as_u16(), answer.faults().len()), (422, 32));
    let path = format!("/v1/books?{}=1", "x".repeat(5000));
    assert_eq!(library.get(&path).await.faults(), [format!("{}… unknown_parameter", "x".repeat(64))]);
}

#[tokio::test]
async fn u0000_is_refused_wherever_text_may_stand() {
    let library = library();
    let body = json!({
        "slug": "a\0",
        "authors": ["a", "\0"],
        "labels": { "k\0": "v", "l": "v\0" },
        "extra": { "k\0": 1, "l": ["\0"] },
    });
    let answer = library.json(Method::POST, "/v1/books", body).await;
    let mut faults = answer.faults();
    faults.sort();
    let at = ["authors[1]", "extra.k\0", "extra.l[0]", "labels.k\0", "labels.l", "slug"];
    assert_eq!(faults, at.map(|field| format!("{field} invalid_text")));
    assert_eq!(library.get("/v1/books?page_token=%00").await.faults(), ["page_token invalid_text"]);
    assert_eq!(library.get("/v1/books/%00").await.faults(), ["id invalid_text"]);
}
