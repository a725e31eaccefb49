//! `/v1` and `pulseops.*.v1` only grow: what a release said stays as it was.

use std::collections::BTreeSet;
use std::path::Path;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::contract::contract;

const FILE: &str = "tests/it/released.txt";
const HEAD: &str = "\
# What must stay as it is, one thing a line: numbers and types of fields, numbers of enum values, RPCs and
# their places in HTTP. A release adds what is new: UPDATE_RELEASED=1 cargo test -p pulseops --test it additive
";

#[test]
fn nothing_that_was_released_is_taken_back() {
    let now = said();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if updating() {
        let lines: Vec<_> = now.iter().map(String::as_str).collect();
        std::fs::write(&file, format!("{HEAD}{}\n", lines.join("\n"))).expect("the list");
    }
    let then = std::fs::read_to_string(&file).expect("the list");
    let gone: Vec<_> = then.lines().filter(|it| !it.starts_with('#') && !now.contains(*it)).collect();
    assert!(gone.is_empty(), "removed, renumbered or of another type:\n{}", gone.join("\n"));
    assert!(then.lines().count() > 500, "an empty list shows nothing");
}

/// Whether what is new is to be held on to as well.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, like UPDATE_SCHEMA")]
fn updating() -> bool {
    std::env::var("UPDATE_RELEASED").is_ok()
}

/// Everything that clients rely on.
fn said() -> BTreeSet<String> {
    let pool = proto::descriptor_pool();
    let ours = |name: &str| name.starts_with("pulseops.");
    let messages = pool.all_messages().filter(|it| ours(it.full_name())).flat_map(|it| fields(&it));
    let enums = pool.all_enums().filter(|it| ours(it.full_name())).flat_map(|it| values(&it));
    let methods =
        pool.services().flat_map(|service| service.methods().map(|it| method(&it)).collect::<Vec<_>>());
    let contract = contract();
    let places = contract.operations().iter().filter_map(|operation| {
        let (method, path) = (operation.method()?, operation.path()?);
        Some(format!("{method} {path} {} {}", operation.name(), operation.status()))
    });
    messages.chain(enums).chain(methods).chain(places).collect()
}

fn fields(message: &MessageDescriptor) -> Vec<String> {
    message
        .fields()
        .map(|field| format!("{} = {} {}", field.full_name(), field.number(), kind(&field)))
        .collect()
}

fn kind(field: &FieldDescriptor) -> String {
    let plain = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    format!("{:?} {plain}", field.cardinality()).to_lowercase()
}

fn values(of: &EnumDescriptor) -> Vec<String> {
    of.values().map(|value| format!("{} {} = {}", of.full_name(), value.name(), value.number())).collect()
}

fn method(method: &MethodDescriptor) -> String {
    format!("{} ({}) -> {}", method.full_name(), method.input().full_name(), method.output().full_name())
}
