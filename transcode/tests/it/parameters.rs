//! Path variables and query parameters.

use serde_json::json;

use crate::support::Library;

const ID: &str = "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";

fn library() -> Library {
    Library::answering("ListBooksResponse", json!({}))
}

#[tokio::test]
async fn path_variables_bind_and_are_decoded() {
    let library = Library::answering("Copy", json!({}));
    let answer = library.get(&format!("/v1/books/{ID}/copies/a%20%2F%C3%A9")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(library.call().json(), json!({ "book_id": ID, "shelf_mark": "a /é" }));
}

#[tokio::test]
async fn a_path_that_is_not_utf8_names_nothing() {
    let library = library();
    assert_eq!(library.get("/v1/books/%ff").await.status, 404);
    assert!(library.calls().is_empty());
}

#[tokio::test]
async fn query_parameters_bind_by_kind_and_repeat() {
    let library = library();
    let path = "/v1/books?page_size=20&genre=fiction&genre=non_fiction&lent=false\
        &printed_after=2025-01-31T10:30:00%2B01:00&page_token=a%2Bb+c";
    assert_eq!(library.get(path).await.status, 200);
    let expected = json!({
        "page_size": 20,
        "page_token": "a+b c",
        "genre": ["BOOK_GENRE_FICTION", "BOOK_GENRE_NON_FICTION"],
        "printed_after": "2025-01-31T09:30:00Z",
        "lent": false,
    });
    assert_eq!(library.call().json(), expected);
}

#[tokio::test]
async fn every_bad_parameter_is_named() {
    let library = library();
    let path = "/v1/books?colour=red&page_size=many&genre=horror&lent=1&printed_after=monday\
        &sort=title&sort=-title&page_size=3&genre=";
    let answer = library.get(path).await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.faults(),
        [
            "colour unknown_parameter",
            "page_size invalid_type",
            "genre undefined_value",
            "lent invalid_type",
            "printed_after invalid_value",
            "sort repeated_parameter",
            "page_size repeated_parameter",
            "genre undefined_value",
        ]
    );
    assert!(library.calls().is_empty());
}

#[tokio::test]
async fn numbers_out_of_range_are_told_apart_from_other_types() {
    let answer = library().get("/v1/books?page_size=4294967296").await;
    assert_eq!(answer.faults(), ["page_size out_of_range"]);
}

#[tokio::test]
async fn the_body_leaves_no_parameters_but_its_neighbours() {
    let library = Library::answering("Book", json!({}));
    let path = format!("/v1/books/{ID}?dry_run=true");
    let answer = library.json(http::Method::PATCH, &path, json!({ "title": "T" })).await;
    assert_eq!(answer.status, 200);
    assert_eq!(library.call().json()["dry_run"], json!(true));
    for hidden in ["id", "book", "update_mask"] {
        let path = format!("/v1/books/{ID}?{hidden}=x");
        let answer = library.json(http::Method::PATCH, &path, json!({ "title": "T" })).await;
        assert_eq!(answer.faults(), [format!("{hidden} unknown_parameter")]);
    }
    let answer = library.json(http::Method::POST, "/v1/echo?a_bool=true", json!({})).await;
    assert_eq!(answer.faults(), ["a_bool unknown_parameter"]);
}

#[tokio::test]
async fn a_zero_that_is_given_is_not_an_absent_parameter() {
    let library = library();
    assert_eq!(library.get("/v1/books?page_size=0").await.faults(), ["page_size out_of_range"]);
    assert_eq!(library.get("/v1/books?page_size=1").await.status, 200);
    assert_eq!(library.get("/v1/books").await.status, 200);
}
