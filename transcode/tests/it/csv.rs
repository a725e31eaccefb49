//! Lists as text/csv.

use serde_json::{Value, json};
use tonic::{Response, Status};

use crate::support::{Library, message};

/// Two pages, told apart by the token.
fn pages() -> Library {
    Library::new(|call| {
        let token = call.json()["page_token"].as_str().unwrap_or_default().to_owned();
        let page = match token.as_str() {
            "" => json!({
                "items": [
                    {
                        "id": "1", "slug": "a", "title": "=SUM(A1)", "subtitle": "one, \"two\"",
                        "genre": "BOOK_GENRE_FICTION", "authors": ["x"], "price": -2.5,
                        "printedAt": "2025-01-31T09:30:00Z", "donorEmail": "d@example.com",
                        "version": "3"
                    },
                    { "id": "2", "title": "line\nbreak", "lent": true },
                ],
                "nextPageToken": "second",
            }),
            "second" => json!({ "items": [{ "id": "3", "title": "-x" }] }),
            other => return Err(Status::invalid_argument(format!("no page {other}"))),
        };
        Ok(Response::new(message("ListBooksResponse", page)))
    })
}

const EXPECTED: &str = "id,slug,title,subtitle,genre,printed_at,price,loan_ms,lent,version\r\n\
    1,a,'=SUM(A1),\"one, \"\"two\"\"\",fiction,2025-01-31T09:30:00.000Z,-2.5,0,false,3\r\n\
    2,,\"line\nbreak\",,,,0.0,0,true,0\r\n\
    3,,'-x,,,,0.0,0,false,0\r\n";

#[tokio::test]
async fn all_pages_are_rows() {
    let library = pages();
    let answer = library.get_with("/v1/books?genre=fiction", &[("accept", "text/csv")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text, EXPECTED);
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"books.csv\""));
    let content_type = answer.header("content-type").expect("a type");
    assert!(content_type.starts_with("text/csv"), "{content_type}");
    let inputs: Vec<Value> = library.calls().iter().map(|call| call.json()).collect();
    let genre = json!(["BOOK_GENRE_FICTION"]);
    assert_eq!(
        inputs,
        [
            json!({ "page_size": 100, "genre": genre }),
            json!({ "page_size": 100, "genre": genre, "page_token": "second" }),
        ]
    );
}

#[tokio::test]
async fn the_format_parameter_does_the_same() {
    let library = pages();
    assert_eq!(library.get("/v1/books?format=csv&page_size=2").await.text, EXPECTED);
    assert_eq!(library.calls()[0].json()["page_size"], json!(2));
    let answer = library.get_with("/v1/books?format=json", &[("accept", "text/csv")]).await;
    assert_eq!(answer.json()["next_page_token"], json!("second"));
    let answer = library.get("/v1/books?format=xml").await;
    assert_eq!(answer.faults(), ["format undefined_value"]);
}

#[tokio::test]
async fn a_refusal_of_the_first_page_is_a_problem() {
    let answer = pages().get("/v1/books?format=csv&page_token=bad").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("InvalidArgument")));
}

#[tokio::test]
async fn a_token_that_repeats_ends_the_walk() {
    let library = Library::answering(
        "ListBooksResponse",
        json!({ "items": [{ "id": "1" }], "nextPageToken": "again" }),
    );
    let answer = library.get("/v1/books?format=csv").await;
    assert_eq!(answer.text.lines().count(), 3);
    assert_eq!(library.calls().len(), 2);
}

#[tokio::test]
async fn a_later_failure_cuts_the_answer_off() {
    use axum::body::Body;
    use tower::ServiceExt as _;
    let library = Library::new(|call| match call.json()["page_token"].as_str() {
        None => {
            let page = json!({ "items": [{ "id": "1" }], "nextPageToken": "x" });
            Ok(Response::new(message("ListBooksResponse", page)))
        }
        Some(_) => Err(Status::unavailable("gone")),
    });
    let get = crate::support::request(http::Method::GET, "/v1/books?format=csv", &[], Body::empty());
    let response = library.router.clone().oneshot(get).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
}
