//! The document as a whole, and that it speaks of what the router does.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};
use transcode::OpenApiInfo;

use crate::support::{Library, contract};

fn document() -> Value {
    contract().openapi(&OpenApiInfo {
        title: "Library".into(),
        version: "1.0.0".into(),
        description: "Books.".into(),
        servers: vec!["https://library.example.com".into()],
    })
}

/// One operation of each shape: a body that is a field, one that is the input, PATCH, DELETE, a list
/// with CSV, a stream by hand.
const OPERATIONS: [(&str, &str); 6] = [
    ("/v1/books", "post"),
    ("/v1/books", "get"),
    ("/v1/books/{id}", "patch"),
    ("/v1/books/{id}", "delete"),
    ("/v1/books/{book_id}/lend", "post"),
    ("/v1/stream", "get"),
];

#[test]
fn an_operation_of_each_shape() {
    let document = document();
    let shown: BTreeMap<_, _> = OPERATIONS
        .map(|(path, verb)| (format!("{verb} {path}"), without_examples(&document["paths"][path][verb])))
        .into();
    insta::assert_json_snapshot!(shown);
}

#[test]
fn a_schema_of_each_rule() {
    let schemas = &document()["components"]["schemas"];
    let shown = ["BookInput", "BookPatch", "PublisherInput", "LendBookRequest"];
    let shown: BTreeMap<_, _> = shown.map(|name| (name, schemas[name].clone())).into();
    insta::assert_json_snapshot!(shown);
}

/// Examples have a test of their own.
fn without_examples(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| *key != "example")
            .map(|(key, value)| (key.clone(), without_examples(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_examples).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    found.insert(reference.to_owned());
                }
                members.values().for_each(|value| walk(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut references = BTreeSet::new();
    walk(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference}");
    }
}

#[test]
fn internal_operations_are_not_shown_and_hand_ones_are() {
    let text = document().to_string();
    assert!(!text.contains("count_books") && !text.contains("CountBooks"));
    assert!(text.contains("watch_books") && text.contains("import_books"));
}

#[tokio::test]
async fn example_bodies_are_accepted() {
    let document = document();
    let contract = contract();
    for operation in contract.operations().iter().filter(|operation| operation.is_routed()) {
        let (path, method) = (operation.path().expect("routed"), operation.method().expect("routed"));
        let pointer = format!(
            "/paths/{}/{}/requestBody/content/application~1json/example",
            path.replace('/', "~1"),
            method.as_str().to_lowercase(),
        );
        let Some(example) = document.pointer(&pointer) else {
            continue;
        };
        let output = operation.output().name().to_owned();
        let library = Library::answering(&output, json!({}));
        let answer = library.json(method.clone(), path, example.clone()).await;
        assert!(answer.status.is_success(), "{}: {}", operation.name(), answer.text);
    }
    assert_eq!(
        document.pointer(
            "/paths/~1v1~1books~1{book_id}~1lend/post/requestBody/content/application~1json/example"
        ),
        Some(&json!({ "days": 14, "reader_id": "r-7" })),
    );
    assert!(contract.find(&Method::POST, "/v1/books/{x}/lend").is_some());
}
