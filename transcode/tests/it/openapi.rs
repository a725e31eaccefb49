//! The document as a whole, and that it speaks of what the router does.

use std::collections::BTreeSet;

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

#[test]
fn the_document_is_as_it_was() {
    insta::assert_json_snapshot!(document());
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
