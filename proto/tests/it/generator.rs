//! What the generator refuses, so that a rule that would not hold cannot be written.

#[path = "../../build/validation/mod.rs"]
mod validation;

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use validation::Paths;

struct Source(String);

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "test.proto" {
            File::from_source(name, &self.0)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// Compiles `body` and generates from it; a compiler's error is one fault.
fn generate(body: &str) -> Result<String, Vec<String>> {
    let source = format!(
        "syntax = \"proto3\"; package t; \
         import \"buf/validate/validate.proto\"; \
         import \"google/api/field_behavior.proto\"; \
         import \"google/protobuf/field_mask.proto\"; \
         {body}"
    );
    let mut resolver = ChainFileResolver::new();
    resolver.add(Source(source));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/third_party").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_file("test.proto").map_err(|error| vec![error.to_string()])?;
    validation::generate(&compiler.descriptor_pool(), &Paths { messages: "crate", runtime: "proto" })
}

fn field(field: &str) -> Result<String, Vec<String>> {
    generate(&format!("enum E {{ E_UNSPECIFIED = 0; E_ONE = 1; }} message M {{ {field} }}"))
}

#[test]
fn unsuitable_rules_are_refused() {
    let table = [
        ("int32 f = 1 [(buf.validate.field).string.min_len = 1];", "rules `string` do not fit"),
        ("repeated string f = 1 [(buf.validate.field).string.min_len = 1];", "rules `string` do not fit"),
        ("string f = 1 [(buf.validate.field).repeated.min_items = 1];", "rules `repeated` do not fit"),
        ("sint32 f = 1 [(buf.validate.field).int32.gt = 1];", "rules `int32` do not fit"),
        ("string f = 1 [(buf.validate.field).string.pattern = \"(\"];", "rule `pattern`"),
        (
            "string f = 1 [(buf.validate.field).string = {min_len: 3, max_len: 2}];",
            "minimum 3 is above the maximum 2",
        ),
        ("int32 f = 1 [(buf.validate.field).int32 = {gt: 3, lt: 2}];", "lower bound is above"),
        ("E f = 1 [(buf.validate.field).enum = {in: [7]}];", "t.E has no value 7"),
        ("repeated double f = 1 [(buf.validate.field).repeated.unique = true];", "rule `unique`"),
        (
            "repeated string f = 1 [(buf.validate.field).repeated.items.int32.gt = 1];",
            "items: rules `int32` do not fit",
        ),
        ("map<int32, string> f = 1 [(buf.validate.field).map.keys.int32.gt = 1];", "string keys"),
        ("bool f = 1 [(google.api.field_behavior) = REQUIRED];", "make it optional"),
        ("oneof o { string f = 1 [(buf.validate.field).required = true]; }", "put the rule on the oneof"),
    ];
    for (source, expected) in table {
        let faults = field(source).expect_err(source);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("t.M.f: ") && faults[0].contains(expected), "{source}: {faults:?}");
    }
}

#[test]
fn rules_beyond_the_supported_set_do_not_compile() {
    for rule in ["cel = {expression: \"true\"}", "string.hostname = true", "timestamp.gt_now = true"] {
        let source = format!("string f = 1 [(buf.validate.field).{rule}];");
        assert!(field(&source).is_err(), "{rule}");
    }
}

#[test]
fn an_update_has_one_resource_and_requests_are_no_answers() {
    let service = "service S { rpc Update(U) returns (A); rpc Other(A) returns (U); }";
    let messages = "message A { string id = 1; } \
                    message U { A a = 1; A b = 2; google.protobuf.FieldMask update_mask = 3; }";
    let faults = generate(&format!("{service} {messages}")).expect_err("three faults");
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].starts_with("t.A: is both asked and answered"));
    assert!(faults[1].starts_with("t.U: is both asked and answered"));
    assert_eq!(faults[2], "t.U: update_mask needs exactly one resource beside it");
}

#[test]
fn a_pattern_is_compiled_once_however_often_it_is_used() {
    let text = field(
        "string a = 1 [(buf.validate.field).string.pattern = \"^x$\"]; \
         string b = 2 [(buf.validate.field).string.pattern = \"^x$\"];",
    );
    assert_eq!(text.expect("good rules").matches("LazyLock::new").count(), 1);
}
