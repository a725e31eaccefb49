//! Writes the block that checks one field. In a block `path` is the field's path and `value` what
//! it holds: copied when it is a number, bool or enum, `&str` or `&[u8]`, else a reference.

use std::collections::BTreeSet;
use std::fmt::Write;

use prost_reflect::{FieldDescriptor, Kind};

use super::calls::{Argument, Call};
use super::names;
use super::rules::{FieldRules, Ignore};

/// What blocks refer to beside the field itself.
pub struct Context<'a> {
    /// Full names of messages with something to check, themselves or below.
    pub active: &'a BTreeSet<String>,
    /// Texts of the patterns used so far; the index is part of the static's name.
    pub patterns: &'a mut Vec<String>,
}

/// The block for a field outside a oneof, or nothing when there is nothing to check.
pub fn block(field: &FieldDescriptor, rules: &FieldRules, context: &mut Context<'_>) -> Option<String> {
    if rules.ignore == Ignore::Always {
        return None;
    }
    let access = format!("self.{}", names::snake(field.name()));
    let body = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let value = entry.map_entry_value_field().kind();
            collection(rules, map_loop(rules, &value, context), &access, context)?
        }
        kind if field.is_list() => collection(rules, list_loop(rules, &kind, context), &access, context)?,
        kind if field.supports_presence() => optional(rules, &kind, &access, context)?,
        kind => {
            let checks = guarded(rules, &kind, false, context)?;
            format!("let value = {};\n{checks}", read(&kind, &access))
        }
    };
    Some(in_path(field, &body))
}

/// The body of a `match` arm whose pattern binds `value` to a reference to a oneof's member.
pub fn member(field: &FieldDescriptor, rules: &FieldRules, context: &mut Context<'_>) -> Option<String> {
    if rules.ignore == Ignore::Always {
        return None;
    }
    let checks = guarded(rules, &field.kind(), true, context)?;
    Some(in_path(field, &format!("let value = {};\n{checks}", reread(&field.kind()))))
}

fn in_path(field: &FieldDescriptor, body: &str) -> String {
    format!("{{\nlet path = &path.field({:?});\n{body}}}\n", field.name())
}

fn optional(rules: &FieldRules, kind: &Kind, access: &str, context: &mut Context<'_>) -> Option<String> {
    let checks = guarded(rules, kind, true, context);
    if checks.is_none() && !rules.required {
        return None;
    }
    let option = match kind {
        Kind::String | Kind::Bytes => format!("{access}.as_deref()"),
        Kind::Message(_) => format!("{access}.as_ref()"),
        _ => access.to_owned(),
    };
    let unset = if rules.required { "out.required(path)" } else { "{}" };
    Some(match checks {
        Some(checks) => {
            format!("match {option} {{\nSome(value) => {{\n{checks}}}\nNone => {unset},\n}}\n")
        }
        None => format!("if {access}.is_none() {{\n{unset};\n}}\n"),
    })
}

/// A list or map: sizes of the whole, then the loop over what it holds.
fn collection(
    rules: &FieldRules,
    each: Option<String>,
    access: &str,
    context: &mut Context<'_>,
) -> Option<String> {
    let mut checks = calls(&rules.calls, context);
    checks.push_str(&each.unwrap_or_default());
    let guarded = guard(rules, "value.is_empty()", checks)?;
    Some(format!("let value = &{access};\n{guarded}"))
}

fn list_loop(rules: &FieldRules, kind: &Kind, context: &mut Context<'_>) -> Option<String> {
    let plain = FieldRules::default();
    let checks = guarded(rules.items.as_deref().unwrap_or(&plain), kind, false, context)?;
    Some(format!(
        "for (index, value) in value.iter().enumerate() {{\nlet path = &path.index(index);\nlet value = {};\n{checks}}}\n",
        reread(kind)
    ))
}

fn map_loop(rules: &FieldRules, kind: &Kind, context: &mut Context<'_>) -> Option<String> {
    let plain = FieldRules::default();
    let keys = rules.keys.as_deref().and_then(|keys| guarded(keys, &Kind::String, false, context));
    let values = guarded(rules.values.as_deref().unwrap_or(&plain), kind, false, context);
    if keys.is_none() && values.is_none() {
        return None;
    }
    let mut text = String::from("for (key, value) in value {\nlet path = &path.key(key);\n");
    if let Some(keys) = keys {
        let _ = write!(text, "{{\nlet path = &path.of_key();\nlet value = key.as_str();\n{keys}}}\n");
    }
    if let Some(values) = values {
        let _ = write!(text, "let value = {};\n{values}", reread(kind));
    }
    text.push_str("}\n");
    Some(text)
}

/// The checks of a single value, with the tests for `required` and `ignore` around them.
fn guarded(rules: &FieldRules, kind: &Kind, presence: bool, context: &mut Context<'_>) -> Option<String> {
    if rules.ignore == Ignore::Always {
        return None;
    }
    let mut checks = calls(&rules.calls, context);
    let Some(zero) = zero_test(kind) else {
        let Kind::Message(message) = kind else {
            return None;
        };
        if context.active.contains(message.full_name()) {
            checks.push_str("value.validate_into(path, out);\n");
        }
        return (!checks.is_empty()).then_some(checks);
    };
    if presence {
        // Being set is all that `required` asks of a field with presence.
        let unrequired = FieldRules { ignore: rules.ignore, ..FieldRules::default() };
        return guard(&unrequired, zero, checks);
    }
    guard(rules, zero, checks)
}

fn guard(rules: &FieldRules, zero: &str, checks: String) -> Option<String> {
    match (rules.required, checks.is_empty()) {
        (false, true) => None,
        (true, true) => Some(format!("if {zero} {{\nout.required(path);\n}}\n")),
        (true, false) => Some(format!("if {zero} {{\nout.required(path);\n}} else {{\n{checks}}}\n")),
        (false, false) if rules.ignore == Ignore::ZeroValue => Some(format!("if !({zero}) {{\n{checks}}}\n")),
        (false, false) => Some(checks),
    }
}

fn calls(calls: &[Call], context: &mut Context<'_>) -> String {
    let mut text = String::new();
    for call in calls {
        let value = if call.function == "size" { "value.len()" } else { "value" };
        let _ = write!(text, "rules::{}({value}, ", call.function);
        for argument in &call.arguments {
            match argument {
                Argument::Text(argument) => text.push_str(argument),
                Argument::Pattern(pattern) => text.push_str(&pattern_static(pattern, context)),
            }
            text.push_str(", ");
        }
        text.push_str("path, out);\n");
    }
    text
}

fn pattern_static(pattern: &str, context: &mut Context<'_>) -> String {
    let known = context.patterns.iter().position(|known| known == pattern);
    let index = known.unwrap_or_else(|| {
        context.patterns.push(pattern.to_owned());
        context.patterns.len() - 1
    });
    format!("&PATTERN_{index}")
}

/// The test whether `value` is zero; messages have none.
fn zero_test(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Message(_) => None,
        Kind::String | Kind::Bytes => Some("value.is_empty()"),
        Kind::Bool => Some("!value"),
        Kind::Float | Kind::Double => Some("value == 0.0"),
        _ => Some("value == 0"),
    }
}

fn read(kind: &Kind, access: &str) -> String {
    match kind {
        Kind::String => format!("{access}.as_str()"),
        Kind::Bytes => format!("&{access}[..]"),
        Kind::Message(_) => format!("&{access}"),
        _ => access.to_owned(),
    }
}

/// From `value: &T` to the form that blocks expect.
fn reread(kind: &Kind) -> &'static str {
    match kind {
        Kind::String => "value.as_str()",
        Kind::Bytes => "&value[..]",
        Kind::Message(_) => "value",
        _ => "*value",
    }
}
