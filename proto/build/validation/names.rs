//! Rust names as prost-build makes them (its `ident` module).

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{MessageDescriptor, OneofDescriptor};

/// The absolute path of a message's struct.
pub fn message(root: &str, message: &MessageDescriptor) -> String {
    format!("{}::{}", parent_module(root, message), upper_camel(message.name()))
}

/// The absolute path of a oneof's enum.
pub fn oneof(root: &str, oneof: &OneofDescriptor) -> String {
    let message = oneof.parent_message();
    let mut name = upper_camel(oneof.name());
    let taken = message
        .child_messages()
        .map(|child| child.name().to_owned())
        .chain(message.child_enums().map(|child| child.name().to_owned()))
        .any(|child| upper_camel(&child) == name);
    if taken {
        name.push_str("OneOf");
    }
    format!("{}::{}::{name}", parent_module(root, message), snake(message.name()))
}

fn parent_module(root: &str, message: &MessageDescriptor) -> String {
    match message.parent_message() {
        Some(parent) => format!("{}::{}", parent_module(root, &parent), snake(parent.name())),
        None => {
            let package = message.package_name().split('.').filter(|part| !part.is_empty());
            package.fold(root.to_owned(), |path, part| format!("{path}::{}", snake(part)))
        }
    }
}

pub fn upper_camel(name: &str) -> String {
    sanitize(name.to_upper_camel_case())
}

pub fn snake(name: &str) -> String {
    sanitize(name.to_snake_case())
}

fn sanitize(name: String) -> String {
    const RAW: &[&str] = &[
        "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl", "in", "let",
        "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "true",
        "type", "unsafe", "use", "where", "while", "dyn", "abstract", "become", "box", "do", "final",
        "macro", "override", "priv", "typeof", "unsized", "virtual", "yield", "async", "await", "try", "gen",
    ];
    match name.as_str() {
        "_" | "super" | "self" | "Self" | "extern" | "crate" => format!("{name}_"),
        word if RAW.contains(&word) => format!("r#{word}"),
        word if word.starts_with(char::is_numeric) => format!("_{word}"),
        _ => name,
    }
}
