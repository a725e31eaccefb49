//! What a contract tells about itself, what it refuses, what it finds fault with.

use http::Method;
use transcode::{Access, Body, Contract, Door};

use crate::support::{contract, contract_of};

#[test]
fn operations_are_the_table_of_contents() {
    let contract = contract();
    let table: Vec<String> = contract
        .operations()
        .iter()
        .map(|o| {
            let route = o.method().zip(o.path()).map(|(m, p)| format!("{m} {p}")).unwrap_or_default();
            format!("{} | {route} | {} | {}", o.name(), o.access().as_str(), o.status())
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    create_book | POST /v1/books | books_write | 201
    get_book | GET /v1/books/{id} | books_read | 200
    list_books | GET /v1/books | books_read | 200
    update_book | PATCH /v1/books/{id} | books_write | 200
    delete_book | DELETE /v1/books/{id} | books_write | 204
    lend_book | POST /v1/books/{book_id}/lend | books_write | 202
    create_copy | POST /v1/books/{book_id}/copies | books_write | 201
    get_copy | GET /v1/books/{book_id}/copies/{shelf_mark} | books_read | 200
    create_note | POST /v1/books/{book_id}/notes | books_write | 201
    get_cover | GET /v1/books/{id}/cover | public | 200
    watch_books | GET /v1/stream | books_read | 200
    import_books | PUT /v1/books | books_write | 204
    count_books |  | internal | 200
    issue_card | POST /v1/cards | public | 201
    echo_everything | POST /v1/echo | public | 200
    ");
}

#[test]
fn an_operation_tells_what_the_options_say() {
    let contract = contract();
    let of = |name: &str| contract.operation(name).expect("an operation");
    let update = of("update_book");
    assert_eq!(update.rpc_path(), "/library.v1.BookService/UpdateBook");
    assert_eq!(update.service(), "library.v1.BookService");
    assert_eq!(update.body(), &Body::Field("book".into()));
    assert_eq!(update.path_variables(), ["id"]);
    assert_eq!(update.comment(), Some("Changes a book: the keys present in the body."));
    assert!(update.etag() && !update.idempotent() && !update.csv() && update.is_routed());
    assert!(of("create_book").idempotent() && !of("issue_card").idempotent());
    assert!(of("list_books").csv());
    assert_eq!(of("watch_books").door(), Door::Hand);
    assert!(of("watch_books").is_documented() && !of("watch_books").is_routed());
    assert_eq!(of("count_books").access(), &Access::Internal);
    assert!(!of("count_books").is_documented());
}

#[test]
fn a_matched_route_leads_to_its_operation() {
    let contract = contract();
    let find = |method, path| contract.find(&method, path).map(|operation| operation.name());
    assert_eq!(find(Method::GET, "/v1/books/{whatever}"), Some("get_book"));
    assert_eq!(find(Method::HEAD, "/v1/books/{id}"), Some("get_book"));
    assert_eq!(find(Method::PUT, "/v1/books"), Some("import_books"));
    assert_eq!(find(Method::PUT, "/v1/books/{id}"), None);
}

#[test]
fn a_sound_contract_has_no_findings() {
    assert_eq!(contract().lint(), Vec::<String>::new());
}

/// The faults of a contract with this RPC and these messages.
fn refused(http: &str, op: &str, messages: &str) -> Vec<String> {
    let text = format!(
        "// S.\nservice S {{\n// R.\nrpc Do(In) returns (Out) {{ option (google.api.http) = {{{http}}}; \
         option (library.v1.op) = {{access: RIGHT_BOOKS_READ {op}}}; }} }} {messages}"
    );
    match contract_of(&text) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults().to_vec(),
    }
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let plain = "message In { string id = 1; } message Out { string id = 1; }";
    let cases = [
        ("get: \"/v1/{nope}\"", "", plain, "path variable `nope` is no field of the input"),
        ("get: \"/v1/{id.x}\"", "", plain, "a variable must be the name of a top-level field"),
        ("get: \"/v1/x:go\"", "", plain, "segments are literals or {variables}"),
        ("post: \"/v1/x\" body: \"nope\"", "", plain, "body `nope` is no field of the input"),
        ("post: \"/v1/x\" body: \"id\"", "", plain, "body `id` must be a message"),
        ("get: \"/v1/x\" body: \"*\"", "", plain, "GET takes no body"),
        ("patch: \"/v1/x\" body: \"*\"", "", plain, "PATCH needs `body` to name the resource"),
        ("get: \"/v1/x\"", "etag: true", plain, "etag needs a field `version` in the answer"),
        ("get: \"/v1/x\"", "csv: true", plain, "csv needs a repeated message in the answer"),
        (
            "get: \"/v1/x\" additional_bindings { get: \"/v1/y\" }",
            "",
            plain,
            "additional_bindings are not supported: one operation, one path",
        ),
        (
            "get: \"/v1/x\"",
            "",
            "message In { Out out = 1; } message Out { string id = 1; }",
            "`out` cannot be a query parameter",
        ),
        (
            "get: \"/v1/x\"",
            "",
            "message In { map<string, string> m = 1; } message Out {}",
            "`m` cannot be a query parameter",
        ),
        (
            "get: \"/v1/{ids}\"",
            "",
            "message In { repeated string ids = 1; } message Out {}",
            "path variable `ids` must be a scalar",
        ),
        (
            "patch: \"/v1/x\" body: \"out\"",
            "",
            "message In { Out out = 1; } message Out { string id = 1; }",
            "PATCH needs `google.protobuf.FieldMask update_mask`",
        ),
        (
            "get: \"/v1/x\"",
            "",
            "message In {} message Out { google.protobuf.Duration d = 1; }",
            "durations are int64 fields named `*_ms`",
        ),
        (
            "get: \"/v1/x\"",
            "",
            "message In {} message Out { google.protobuf.Any a = 1; }",
            "google.protobuf.Any has no place in a REST contract",
        ),
    ];
    for (http, op, messages, expected) in cases {
        let faults = refused(http, op, messages);
        assert!(faults.iter().any(|fault| fault.ends_with(expected)), "{expected}: {faults:?}");
    }
}

#[test]
fn streams_and_shared_routes_are_refused() {
    let error = contract_of(
        "service S {
           rpc A(M) returns (stream M) { option (google.api.http) = {get: \"/v1/a\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
         } message M {}",
    )
    .map(|_| ())
    .expect_err("a stream");
    assert_eq!(error.faults(), ["t.v1.S.A: streams need a door by hand"]);
    let error = contract_of(
        "service S {
           rpc A(M) returns (M) { option (google.api.http) = {get: \"/v1/{id}\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
           rpc B(N) returns (M) { option (google.api.http) = {get: \"/v1/{name}\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
         } message M { string id = 1; } message N { string name = 1; }",
    )
    .map(|_| ())
    .expect_err("one route for two");
    assert_eq!(error.faults(), ["t.v1.S.B: GET /v1/{name} is already the route of t.v1.S.A"]);
}

#[test]
fn a_missing_extension_is_refused() {
    let pool = prost_reflect::DescriptorPool::global();
    let error = Contract::new(pool, transcode::Options::new("no.such.op")).map(|_| ());
    assert_eq!(
        error.expect_err("no option").to_string(),
        "the contract cannot be served:\nthe pool has no extension `no.such.op`"
    );
}

#[test]
fn what_should_not_be_published_is_found() {
    let contract = contract_of(
        "service S {
           rpc NoAccess(M) returns (M) { option (google.api.http) = {get: \"/v1/no_access\"}; }
           // Has one.
           rpc NoPath(M) returns (M) { option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
           // Lists.
           rpc ListThings(M) returns (M) { option (google.api.http) = {get: \"/v1/things_all\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
           // Writes.
           rpc Write(W) returns (M) { option (google.api.http) = {post: \"/v1/{theId}\" body: \"*\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
           // Reads.
           rpc Read(W2) returns (M) { option (google.api.http) = {delete: \"/v1/{id}\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
           // Gets.
           rpc GetThing(W2) returns (Thing) { option (google.api.http) = {get: \"/v1/things/{id}\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
           // Deletes.
           rpc DeleteThing(W2) returns (google.protobuf.Empty) { option (google.api.http) = {delete: \"/v1/things/{id}\"}; option (library.v1.op) = {access: RIGHT_BOOKS_READ}; }
         }
         message M { string id = 1; }
         // Example: {\"colour\": 1}
         message W { string theId = 1; Colour colour = 2; string p = 3 [(buf.validate.field).string.pattern = \"(\"]; }
         message W2 { string id = 1; }
         message WInput { string id = 1; }
         message Thing { string id = 1; int64 version = 2; }
         enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; }",
    )
    .map_err(|error| error.to_string())
    .expect("can be served");
    let findings = contract.lint();
    let expected = [
        "t.v1.S.NoAccess: does not say who may call it (access)",
        "t.v1.S.NoAccess: has no comment",
        "t.v1.S.NoPath: has no google.api.http and is not internal",
        "t.v1.S.ListThings: a list takes int32 page_size and string page_token",
        "t.v1.S.ListThings: a list answers {repeated items, string next_page_token}",
        "t.v1.S.ListThings: path part `things_all` is not kebab-case",
        "t.v1.S.Read: path /v1/{id} is spelled /v1/{theId} elsewhere",
        "t.v1.S.DeleteThing: what it changes has a version: it needs etag, so that If-Match is heard",
        "t.v1.W.theId: is not snake_case",
        "t.v1.RED: must begin with COLOUR_",
    ];
    for expected in expected {
        assert!(findings.iter().any(|finding| finding == expected), "{expected}: {findings:#?}");
    }
    assert!(findings.iter().any(|f| f.starts_with("t.v1.W.p: pattern: regex parse error")));
    assert!(findings.iter().any(|f| f.starts_with("t.v1.S.Write: example {\"colour\":1")), "{findings:#?}");
}

#[test]
fn doors_by_hand_convert_messages_with_the_same_rules() {
    let contract = contract();
    let bytes = contract.read_json("library.v1.Note", br#"{"id":"n","text":"t"}"#);
    let bytes = bytes.expect("known").expect("fits");
    let json = contract.write_json("library.v1.Note", &bytes).expect("known");
    assert_eq!(json, br#"{"id":"n","text":"t"}"#);
    assert!(contract.read_json("library.v1.Nothing", b"{}").is_none());
    assert!(contract.write_json("library.v1.Note", &[255]).is_none());
    let fault = contract.read_json("library.v1.Note", b"{\"x\":1}").expect("known");
    assert_eq!(fault.expect_err("unknown field").fields()[0].code, "unknown_field");
}
