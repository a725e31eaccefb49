//! Answers: status, Location, ETag, bodies.

use axum::body::Body;
use http::Method;
use serde_json::json;
use tonic::{Code, Response};
use transcode::Options;

use crate::support::{Library, message, request};

const ID: &str = "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";

#[tokio::test]
async fn an_answer_carries_every_field() {
    let library = Library::answering(
        "Book",
        json!({
            "id": ID,
            "genre": "BOOK_GENRE_NON_FICTION",
            "donorEmail": "secret@example.com",
            "printedAt": "2025-01-31T09:30:00Z",
            "loanMs": "9007199254740993",
            "version": "3",
        }),
    );
    let answer = library.get(&format!("/v1/books/{ID}")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // Not compared as values: the order of members is the contract's.
    let expected = format!(
        "{{\"id\":\"{ID}\",\"slug\":\"\",\"title\":\"\",\"subtitle\":null,\"genre\":\"non_fiction\",\
         \"authors\":[],\"labels\":{{}},\"publisher\":null,\"printed_at\":\"2025-01-31T09:30:00.000Z\",\
         \"extra\":null,\"price\":0.0,\"loan_ms\":9007199254740993,\"lent\":false,\"version\":3}}"
    );
    assert_eq!(answer.text, expected);
}

#[tokio::test]
async fn unspecified_is_null_and_unknown_numbers_stay() {
    let answer = Library::answering("Book", json!({})).get(&format!("/v1/books/{ID}")).await;
    assert_eq!(answer.json()["genre"], json!(null));
    let library = Library::answering("Book", json!({ "genre": 9 }));
    assert_eq!(library.get(&format!("/v1/books/{ID}")).await.json()["genre"], json!(9));
}

#[tokio::test]
async fn create_answers_201_with_the_path_of_get() {
    let library = Library::answering("Book", json!({ "id": ID, "version": "1" }));
    let answer = library.json(Method::POST, "/v1/books", json!({})).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), Some(format!("/v1/books/{ID}").as_str()));
    assert_eq!(answer.header("etag"), Some("\"1\""));
}

#[tokio::test]
async fn location_takes_path_variables_and_escapes() {
    let library = Library::answering("Copy", json!({ "shelfMark": "a/ä 1" }));
    let answer = library.json(Method::POST, "/v1/books/b%201/copies", json!({})).await;
    assert_eq!(answer.header("location"), Some("/v1/books/b%201/copies/a%2F%C3%A4%201"));
}

#[tokio::test]
async fn without_a_get_there_is_no_location() {
    let library = Library::answering("CreateNoteResponse", json!({ "note": { "id": "n7" } }));
    let answer = library.json(Method::POST, "/v1/books/b/notes", json!({ "text": "t" })).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, None));
}

#[tokio::test]
async fn statuses_follow_the_contract() {
    let library = Library::answering("IssueCardResponse", json!({ "cardId": "c" }));
    let answer = library.json(Method::POST, "/v1/cards", json!({ "name": "Ann" })).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, None));
    let library = Library::new(|_| Ok(Response::new(message("WatchBooksRequest", json!({})))));
    let delete = request(Method::DELETE, "/v1/books/b", &[], Body::empty());
    let answer = library.send(delete).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert_eq!(answer.header("content-type"), None);
}

#[tokio::test]
async fn if_none_match_saves_the_body() {
    let library = Library::answering("Book", json!({ "version": "3" }));
    let path = format!("/v1/books/{ID}");
    for tag in ["\"3\"", "W/\"3\"", "\"2\", \"3\"", "*"] {
        let answer = library.get_with(&path, &[("if-none-match", tag)]).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (304, ""), "{tag}");
        assert_eq!(answer.header("etag"), Some("\"3\""));
    }
    let answer = library.get_with(&path, &[("if-none-match", "\"2\"")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, Some("\"3\"")));
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let library = Library::answering("Book", json!({ "version": "3" }));
    let path = format!("/v1/books/{ID}");
    let answer = library.send(request(Method::HEAD, &path, &[], Body::empty())).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("etag"), Some("\"3\""));
    let headers = [("if-none-match", "\"3\"")];
    let answer = library.send(request(Method::HEAD, &path, &headers, Body::empty())).await;
    assert_eq!(answer.status, 304);
}

#[tokio::test]
async fn a_body_with_a_media_type_of_its_own_passes_as_it_is() {
    let cover = Library::new(|_| {
        let mut cover = message("Copy", json!({}));
        cover.set_field_by_name("shelf_mark", prost_reflect::Value::String("image/png".into()));
        let pixels = prost_reflect::Value::Bytes(vec![1, 2, 3].into());
        cover.set_field_by_name("barcode", pixels);
        Ok(Response::new(cover))
    });
    // A Copy has the wire format of google.api.HttpBody.
    let answer = cover.get_with(&format!("/v1/books/{ID}/cover"), &[("accept", "image/*")]).await;
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.text.as_bytes(), [1, 2, 3]);
}

#[tokio::test]
async fn statuses_of_services_are_rendered_by_the_host() {
    let library = Library::failing(Code::NotFound, "no such book");
    let answer = library.get(&format!("/v1/books/{ID}")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json(),
        json!({ "code": "NotFound", "detail": "no such book", "operation": "get_book" })
    );
}

#[tokio::test]
async fn field_paths_lose_the_name_of_the_body() {
    let library = Library::failing(Code::InvalidArgument, "book.publisher.name");
    let answer = library.json(Method::POST, "/v1/books", json!({})).await;
    assert_eq!(answer.json()["detail"], "publisher.name");
    let answer = library.get(&format!("/v1/books/{ID}")).await;
    assert_eq!(answer.json()["detail"], "book.publisher.name");
    let library = Library::failing(Code::InvalidArgument, "bookshelf");
    let answer = library.json(Method::POST, "/v1/books", json!({})).await;
    assert_eq!(answer.json()["detail"], "bookshelf");
}

#[tokio::test]
async fn an_answer_off_the_contract_is_an_internal_error() {
    // A string where Book has its version.
    let library = Library::new(|_| {
        let mut wrong = message("Everything", json!({}));
        wrong.set_field_by_name("some_bytes", prost_reflect::Value::Bytes(vec![255].into()));
        Ok(Response::new(wrong))
    });
    let answer = library.get(&format!("/v1/books/{ID}")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &json!("Internal")));
}

#[tokio::test]
async fn large_answers_pass_up_to_the_limit() {
    let title = "t".repeat(5 << 20);
    let reply = message("Book", json!({ "title": title }));
    let library = Library::new(move |_| Ok(tonic::Response::new(reply.clone())));
    let path = "/v1/books/0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";
    assert_eq!(library.get(path).await.status, 200);
    let mut options = Options::new("library.v1.op");
    options.answer_limit = 1 << 20;
    let reply = message("Book", json!({ "title": title }));
    let library = Library::with_options(options, move |_| Ok(tonic::Response::new(reply.clone())));
    assert_eq!(library.get(path).await.json()["code"], json!("OutOfRange"));
}
