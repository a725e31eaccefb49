//! The contract is additive only: `numbers.txt` holds the number and type of everything that was
//! ever in it, and every path of the REST face.

use std::collections::BTreeSet;
use std::process::Command;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MethodDescriptor};
use proto::descriptor_pool;

const NUMBERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/numbers.txt");

/// A line for each field, enum value, RPC and path of our packages.
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
            .flat_map(|rpc| {
                let (input, output) = (rpc.input(), rpc.output());
                let types =
                    format!("{}({}) returns ({})", rpc.full_name(), input.full_name(), output.full_name());
                std::iter::once(types).chain(path_line(&rpc)).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    });
    fields.chain(enums).chain(rpcs).collect()
}

/// `GET /v1/teams/{id} = pulseops.auth.v1.TeamService.GetTeam`.
fn path_line(rpc: &MethodDescriptor) -> Option<String> {
    let http = rpc.parent_pool().get_extension_by_name("google.api.http").expect("the contract uses it");
    let options = rpc.options();
    let rule = options.has_extension(&http).then(|| options.get_extension(&http))?;
    let rule = rule.as_message().expect("a message");
    let (method, path) = ["get", "post", "put", "patch", "delete"]
        .into_iter()
        .find_map(|method| Some((method, rule.get_field_by_name(method)?.as_str()?.to_owned())))
        .filter(|(_, path)| !path.is_empty())?;
    Some(format!("{} {path} = {}", method.to_ascii_uppercase(), rpc.full_name()))
}

/// What the last release promised, where git and a tag are there; else what is checked in.
fn promised() -> BTreeSet<String> {
    let git = |arguments: &[&str]| {
        let run = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        let output = run.ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let released = git(&["describe", "--tags", "--abbrev=0"])
        .and_then(|tag| git(&["show", &format!("{}:./numbers.txt", tag.trim())]));
    lines(&released.unwrap_or_else(checked_in))
}

fn checked_in() -> String {
    std::fs::read_to_string(NUMBERS).expect("numbers.txt is checked in")
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
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
    let (current, known) = (numbers(), lines(&checked_in()));
    // A line that was deleted along with its field is still in the release.
    let ever: BTreeSet<_> = known.union(&promised()).cloned().collect();
    let missing: Vec<_> = ever.difference(&current).collect();
    assert!(missing.is_empty(), "removed, renumbered or of another type: {missing:#?}");
    let added: Vec<_> = current.difference(&known).collect();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let update = std::env::var_os("UPDATE_NUMBERS").is_some();
    if update {
        let lines: Vec<_> = current.iter().map(String::as_str).collect();
        std::fs::write(NUMBERS, lines.join("\n") + "\n").expect("written");
    } else {
        assert!(added.is_empty(), "run `UPDATE_NUMBERS=1 cargo test -p proto numbers` for {added:#?}");
    }
}
