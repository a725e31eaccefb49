//! Rules of style and completeness: a contract that breaks them can be served but should not be
//! published. A test of the host asks for them.

use std::collections::HashMap;

use http::Method;
use prost_reflect::{DynamicMessage, EnumDescriptor, MessageDescriptor};

use crate::contract::Contract;
use crate::names::{enum_prefix, is_snake};
use crate::openapi::{Examples, Mode, schema_name_clashes, unsupported_rules};
use crate::operation::{Access, Binding, Operation};
use crate::plan::{FieldPlan, Kind, Scalar, Shape};
use crate::route::BodyPlan;

/// Packages that are written elsewhere, in styles of their own.
const STANDARDS: [&str; 2] = ["google.", "buf."];

impl Contract {
    /// What should be put right before the contract is published, one line each; empty when
    /// nothing.
    ///
    /// Beyond what [`Contract::new`] refuses: every RPC says who may call it and has a comment and,
    /// unless it is internal, a path; paths are spelled one way; lists page; what changes something
    /// with a version hears If-Match; names follow the style;
    /// validation rules are those that OpenAPI can express; examples fit their messages.
    pub fn lint(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut spellings = HashMap::new();
        let mut names = HashMap::new();
        for operation in self.operations() {
            let rpc = operation.descriptor().full_name();
            let mut found = Vec::new();
            self.lint_operation(operation, &mut found);
            if let Some(other) = names.insert(operation.name(), rpc) {
                found.push(format!("shares its operationId with {other}"));
            }
            if let Some(binding) = operation.http.as_ref().filter(|_| operation.is_documented()) {
                let path = binding.template.as_str();
                let other = *spellings.entry(binding.template.shape()).or_insert(path);
                if other != path {
                    found.push(format!("path {path} is spelled {other} elsewhere"));
                }
            }
            findings.extend(found.into_iter().map(|finding| format!("{rpc}: {finding}")));
        }
        let own = |package: &str| !STANDARDS.iter().any(|root| package.starts_with(root));
        for message in self.pool.all_messages().filter(|message| own(message.package_name())) {
            self.lint_message(&message, &mut findings);
        }
        for descriptor in self.pool.all_enums().filter(|e| own(e.package_name())) {
            lint_enum(&descriptor, &mut findings);
        }
        findings.extend(schema_name_clashes(&self.plans));
        self.lint_examples(&mut findings);
        findings
    }

    fn lint_operation(&self, operation: &Operation, found: &mut Vec<String>) {
        let facts = self.annotations.op(operation.descriptor());
        if facts.is_none_or(|facts| facts.access.is_none()) {
            found.push("does not say who may call it (access)".into());
        } else if operation.http.is_none() && *operation.access() != Access::Internal {
            found.push("has no google.api.http and is not internal".into());
        }
        if operation.comment().is_none() {
            found.push("has no comment".into());
        }
        let Some(binding) = operation.http.as_ref().filter(|_| operation.is_documented()) else {
            return;
        };
        if operation.descriptor().name().starts_with("List") {
            self.lint_list(operation, binding, found);
        }
        self.lint_paths(operation, binding, found);
        self.lint_version(operation, binding, found);
    }

    /// Who changes or deletes what has a version may say which one is meant.
    fn lint_version(&self, operation: &Operation, binding: &Binding, found: &mut Vec<String>) {
        if operation.etag() || !matches!(binding.method, Method::PATCH | Method::PUT | Method::DELETE) {
            return;
        }
        let at = |method| self.find(method, binding.template.as_str());
        let mut beside = [at(&Method::GET), at(&Method::PATCH)].into_iter().flatten();
        if beside.any(|beside| beside.output().get_field_by_name("version").is_some()) {
            found.push("what it changes has a version: it needs etag, so that If-Match is heard".into());
        }
    }

    /// A list that is served by the transcoder pages in the one way that there is.
    fn lint_list(&self, operation: &Operation, binding: &Binding, found: &mut Vec<String>) {
        if binding.method != Method::GET || !operation.is_routed() {
            return;
        }
        let plan = |name: &str| self.plans.find(name).map(|id| self.plans.message(id));
        let (input, output) = (operation.input(), operation.output());
        let has = |message: &str, name: &str, kind: Kind| {
            let field = plan(message).and_then(|plan| plan.field(name));
            field.is_some_and(|field| field.shape == Shape::Single && field.kind == kind)
        };
        let (text, int) = (Kind::Scalar(Scalar::String), Kind::Scalar(Scalar::Int32));
        if !has(input.full_name(), "page_size", int) || !has(input.full_name(), "page_token", text) {
            found.push("a list takes int32 page_size and string page_token".into());
        }
        let first = plan(output.full_name()).and_then(|plan| plan.fields.first());
        let is_items = first.is_some_and(|f| f.name == "items" && f.shape == Shape::List);
        if !is_items || !has(output.full_name(), "next_page_token", text) {
            found.push("a list answers {repeated items, string next_page_token}".into());
        }
    }

    /// Doors by hand are not planned, so what their paths and bodies name is looked up here.
    fn lint_paths(&self, operation: &Operation, binding: &Binding, found: &mut Vec<String>) {
        let Some(id) = self.plans.find(operation.input().full_name()) else {
            return;
        };
        let plan = self.plans.message(id);
        for name in binding.template.variables() {
            let fits = |f: &FieldPlan| f.shape == Shape::Single && f.is_textual();
            if !plan.field(name).is_some_and(fits) {
                found.push(format!("path variable `{name}` is no scalar field of the input"));
            }
        }
        if let Some(name) = operation.body_field().filter(|name| plan.field(name).is_none()) {
            found.push(format!("body `{name}` is no field of the input"));
        }
        for part in binding.template.as_str().split('/').filter(|part| !part.starts_with('{')) {
            if part.contains('_') || part.chars().any(|c| c.is_ascii_uppercase()) {
                found.push(format!("path part `{part}` is not kebab-case"));
            }
        }
    }

    fn lint_message(&self, message: &MessageDescriptor, findings: &mut Vec<String>) {
        for field in message.fields().filter(|_| !message.is_map_entry()) {
            let name = field.full_name();
            if !is_snake(field.name()) {
                findings.push(format!("{name}: is not snake_case"));
            }
            if let Some(rules) = self.annotations.rules(&field) {
                let unsupported = unsupported_rules(&rules).into_iter();
                findings.extend(unsupported.map(|rule| format!("{name}: rule {rule} is not supported")));
                self.lint_patterns(name, &rules, findings);
            }
        }
    }

    /// Patterns must be ones that this crate's readers and the generated validation understand.
    fn lint_patterns(&self, field: &str, rules: &DynamicMessage, findings: &mut Vec<String>) {
        for (descriptor, value) in rules.fields() {
            if let Some(inner) = value.as_message() {
                self.lint_patterns(field, inner, findings);
            } else if descriptor.name() == "pattern" {
                let error = value.as_str().and_then(|pattern| regex::Regex::new(pattern).err());
                findings.extend(error.map(|error| format!("{field}: pattern: {error}")));
            }
        }
    }

    /// The example bodies of the document must be bodies that the operation reads.
    fn lint_examples(&self, findings: &mut Vec<String>) {
        let examples = Examples::new(self);
        for route in &self.routes {
            let (id, mode) = match route.body {
                BodyPlan::None => continue,
                BodyPlan::Whole => (route.input, Mode::Input),
                BodyPlan::Field { message, .. } => (message, Mode::Input),
                BodyPlan::Patch { message, .. } => (message, Mode::Patch),
            };
            let operation = self.operation_of(route);
            let hidden = match route.body {
                BodyPlan::Whole => operation.path_variables(),
                _ => Vec::new(),
            };
            let body = examples.message(id, mode, &hidden).to_string();
            let name = self.plans.message(id).descriptor.full_name();
            if let Some(Err(fault)) = self.read_json(name, body.as_bytes()) {
                let rpc = operation.descriptor().full_name();
                findings.push(format!("{rpc}: example {body}: {}", fault.detail()));
            }
        }
    }
}

fn lint_enum(descriptor: &EnumDescriptor, findings: &mut Vec<String>) {
    let prefix = enum_prefix(descriptor.name());
    for value in descriptor.values().filter(|value| !value.name().starts_with(&prefix)) {
        findings.push(format!("{}: must begin with {prefix}", value.full_name()));
    }
    if descriptor.values().all(|value| value.number() != 0) {
        findings.push(format!("{}: needs a zero value", descriptor.full_name()));
    }
}
