//! Writes the impls of a message from the blocks of its fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use prost_reflect::{FieldDescriptor, MessageDescriptor, OneofDescriptor};

use super::field::{self, Context};
use super::rules::{self, FieldRules};
use super::survey::{MASK, find_active, find_updates, message_of, read_rules, real_oneof};
use super::{Paths, names};

/// Collects the text of the generated file.
pub struct Writer<'a> {
    paths: &'a Paths,
    inputs: BTreeSet<String>,
    /// Full names of inputs that are ours, and their types.
    input_types: Vec<(String, String)>,
    /// Input message -> the field that holds the resource it updates.
    updates: BTreeMap<String, FieldDescriptor>,
    resources: BTreeSet<String>,
    rules: BTreeMap<String, FieldRules>,
    active: BTreeSet<String>,
    patterns: Vec<String>,
    impls: String,
}

impl<'a> Writer<'a> {
    /// Reads the rules of `messages`; what is wrong with them goes to `faults`.
    pub fn new(
        paths: &'a Paths,
        messages: &[MessageDescriptor],
        inputs: BTreeSet<String>,
        faults: &mut Vec<String>,
    ) -> Self {
        let rules = read_rules(messages, faults);
        let updates = find_updates(messages, &inputs, faults);
        let resources = updates.values().filter_map(message_of).map(|m| m.full_name().to_owned());
        let resources: BTreeSet<_> = resources.collect();
        let active = find_active(messages, &rules, &updates);
        let (input_types, patterns, impls) = (Vec::new(), Vec::new(), String::new());
        Self { paths, inputs, input_types, updates, resources, rules, active, patterns, impls }
    }

    /// Writes `impl Validate` and, for the resource of an update, `impl Resource`.
    pub fn message(&mut self, message: &MessageDescriptor) {
        let type_path = names::message(self.paths.messages, message);
        let is_resource = self.resources.contains(message.full_name());
        let mut body = String::new();
        for field in message.fields().filter(|field| real_oneof(field).is_none()) {
            let Some(block) = self.field(message, &field) else {
                continue;
            };
            if is_resource {
                let _ = writeln!(body, "self.validate_field({:?}, path, out);", field.name());
            } else {
                body.push_str(&block);
            }
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            body.push_str(&self.oneof(&oneof));
        }
        let input = self.inputs.contains(message.full_name());
        if input {
            self.input_types.push((message.full_name().to_owned(), type_path.clone()));
        }
        let parameters = if body.is_empty() {
            "_: &Path<'_>, _: &mut Violations"
        } else {
            "path: &Path<'_>, out: &mut Violations"
        };
        let _ = write!(
            self.impls,
            "\nimpl Validate for {type_path} {{\nconst INPUT: bool = {input};\nfn validate_into(&self, {parameters}) {{\n{body}}}\n}}\n"
        );
        if is_resource {
            self.resource(message, &type_path);
        }
    }

    /// The whole file.
    pub fn finish(self) -> String {
        let mut text = format!(
            "use std::ops::Bound;\nuse std::sync::LazyLock;\nuse {}::validate::{{Behavior, Path, Resource, Validate, Violations, rules, update}};\n",
            self.paths.runtime
        );
        for (index, pattern) in self.patterns.iter().enumerate() {
            let _ = writeln!(
                text,
                "static PATTERN_{index}: LazyLock<rules::Regex> = LazyLock::new(|| rules::compiled({pattern:?}));"
            );
        }
        text.push_str(&self.impls);
        text.push_str(&self.validator());
        text
    }

    /// The function that finds an input's check by its name.
    fn validator(&self) -> String {
        let mut arms = String::new();
        for (name, type_path) in &self.input_types {
            let _ = writeln!(arms, "{name:?} => Some(rules::encoded::<{type_path}>),");
        }
        format!(
            "\npub fn validator(message: &str) -> Option<rules::Encoded> {{\nmatch message {{\n{arms}_ => None,\n}}\n}}\n"
        )
    }

    fn field(&mut self, message: &MessageDescriptor, field: &FieldDescriptor) -> Option<String> {
        let rules = self.rules.get(field.full_name())?;
        if let Some(resource) = self.updates.get(message.full_name()) {
            if field.name() == MASK {
                return None;
            }
            if field == resource {
                return Some(format!(
                    "update::validate(self.{}.as_ref(), self.{MASK}.as_ref(), path, {:?}, {}, out);\n",
                    names::snake(field.name()),
                    field.name(),
                    rules.required
                ));
            }
        }
        field::block(field, rules, &mut Context { active: &self.active, patterns: &mut self.patterns })
    }

    fn oneof(&mut self, oneof: &OneofDescriptor) -> String {
        let mut arms = String::new();
        for field in oneof.fields() {
            if let Some(block) = self.member(&field) {
                let _ = write!(arms, "Some({}(value)) => {block}", self.variant(oneof, &field));
            }
        }
        if rules::oneof_required(oneof) {
            let members: Vec<_> = oneof.fields().map(|field| field.name().to_owned()).collect();
            let _ = writeln!(arms, "None => out.one_required(path, &{members:?}),");
        }
        if arms.is_empty() {
            return arms;
        }
        format!("match &self.{} {{\n{arms}_ => {{}}\n}}\n", names::snake(oneof.name()))
    }

    fn member(&mut self, field: &FieldDescriptor) -> Option<String> {
        let rules = self.rules.get(field.full_name())?;
        field::member(field, rules, &mut Context { active: &self.active, patterns: &mut self.patterns })
    }

    fn variant(&self, oneof: &OneofDescriptor, field: &FieldDescriptor) -> String {
        format!("{}::{}", names::oneof(self.paths.messages, oneof), names::upper_camel(field.name()))
    }

    fn resource(&mut self, message: &MessageDescriptor, type_path: &str) {
        let (mut fields, mut checks, mut copies) = (String::new(), String::new(), String::new());
        for field in message.fields() {
            let name = field.name();
            let _ = write!(fields, "({name:?}, Behavior::{:?}), ", rules::behavior(&field));
            let block = match real_oneof(&field) {
                None => self.field(message, &field),
                Some(oneof) => self.member(&field).map(|block| {
                    let access = names::snake(oneof.name());
                    let variant = self.variant(&oneof, &field);
                    format!("if let Some({variant}(value)) = &self.{access} {block}")
                }),
            };
            if let Some(block) = block {
                let _ = writeln!(checks, "{name:?} => {{\n{block}}}");
            }
            let _ = writeln!(copies, "{name:?} => {},", self.copy(&field));
        }
        let parameters = if checks.is_empty() { ("_", "_") } else { ("path", "out") };
        let _ = write!(
            self.impls,
            "\nimpl Resource for {type_path} {{\n\
             const FIELDS: &'static [(&'static str, Behavior)] = &[{fields}];\n\
             fn validate_field(&self, name: &str, {}: &Path<'_>, {}: &mut Violations) {{\nmatch name {{\n{checks}_ => {{}}\n}}\n}}\n\
             fn copy_field(&mut self, name: &str, from: &Self) {{\nmatch name {{\n{copies}_ => {{}}\n}}\n}}\n}}\n",
            parameters.0, parameters.1
        );
    }

    /// Copying an unset member of a oneof clears it, and leaves the other members alone.
    fn copy(&self, field: &FieldDescriptor) -> String {
        let Some(oneof) = real_oneof(field) else {
            let access = names::snake(field.name());
            return format!("self.{access}.clone_from(&from.{access})");
        };
        let access = names::snake(oneof.name());
        let variant = self.variant(&oneof, field);
        format!(
            "if matches!(from.{access}, Some({variant}(_))) {{\n\
             self.{access}.clone_from(&from.{access});\n\
             }} else if matches!(self.{access}, Some({variant}(_))) {{\nself.{access} = None;\n}}"
        )
    }
}
