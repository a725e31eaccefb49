//! The contract is additive only: `numbers.txt` holds the number and type of everything that was
//! ever in it.

use std::collections::BTreeSet;
use std::path::Path;

use prost_reflect::{Cardinality, FieldDescriptor, Kind};
use proto::descriptor_pool;

/// A line for each field, enum value and RPC of our packages.
fn numbers() -> BTreeSet<String> {
    let pool = descriptor_pool();
    let ours = |package: &str| package.starts_with("pulseops.");
    let messages = pool.all_messages().filter(|message| ours(message.package_name()));
    let fields = messages
        .filter(|message| !message.is_map_entry())
        .flat_map(|message| message.fields().map(|field| field_line(&field)).collect::<Vec<_>>());
    let enums = pool.all_enums().filter(|of| ours(of.package_name())).flat_map(|of| {
        let line = |name: &str, number: i32| format!("{}.{name} = {number}", of.full_name());
        of.values().map(|value| line(value.name(), value.number())).collect::<Vec<_>>()
    });
    let rpcs = pool.services().filter(|service| ours(service.package_name())).flat_map(|service| {
        let methods = service.methods();
        methods
            .map(|rpc| {
                let (input, output) = (rpc.input(), rpc.output());
                format!("{}({}) returns ({})", rpc.full_name(), input.full_name(), output.full_name())
            })
            .collect::<Vec<_>>()
    });
    fields.chain(enums).chain(rpcs).collect()
}

fn field_line(field: &FieldDescriptor) -> String {
    let presence = match field.cardinality() {
        Cardinality::Repeated if field.is_map() => "map ",
        Cardinality::Repeated => "repeated ",
        _ if field.supports_presence() && !matches!(field.kind(), Kind::Message(_)) => "optional ",
        _ => "",
    };
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            format!("{:?} to {:?}", entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind())
        }
        kind => format!("{kind:?}"),
    };
    format!("{} = {} {presence}{kind}", field.full_name(), field.number())
}

/// After an addition: `UPDATE_NUMBERS=1 cargo test -p proto numbers`. What is missing or has become
/// something else is a break, which no command lets pass.
#[test]
fn nothing_is_removed_or_renumbered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("numbers.txt");
    let text = std::fs::read_to_string(&path).expect("numbers.txt is checked in");
    let known: BTreeSet<_> = text.lines().map(str::to_owned).collect();
    let current = numbers();
    let missing: Vec<_> = known.difference(&current).collect();
    assert!(missing.is_empty(), "removed, renumbered or of another type: {missing:#?}");
    let added: Vec<_> = current.difference(&known).collect();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let update = std::env::var_os("UPDATE_NUMBERS").is_some();
    if update {
        let lines: Vec<_> = current.iter().map(String::as_str).collect();
        std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    } else {
        assert!(added.is_empty(), "run `UPDATE_NUMBERS=1 cargo test -p proto numbers` for {added:#?}");
    }
}
