//! Deterministic, plausible example values that follow the rules. A comment line `Example: …` on a
//! field or (as an object) on a message says better ones.

use std::collections::HashSet;

use prost_reflect::DynamicMessage;
use serde_json::{Map, Value, json};

use super::pattern;
use super::rules::{allowed_numbers, constrain, demands_value};
use crate::contract::Contract;
use crate::plan::{FieldPlan, Kind, MessageId, Scalar, Shape, WellKnown};

/// Which of a message's schemas is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What the server writes.
    Answer,
    /// What a client sends to create or replace.
    Input,
    /// What a client sends to change.
    Patch,
}

impl Mode {
    /// Whether the field takes part.
    pub(crate) fn has(self, field: &FieldPlan) -> bool {
        match self {
            Self::Answer => !field.behavior.input_only,
            Self::Input => !field.behavior.output_only,
            Self::Patch => !field.behavior.output_only && !field.behavior.immutable,
        }
    }
}

/// Messages nest this deep in an example; deeper ones are left out.
const DEPTH: usize = 4;

/// A PATCH example changes this many fields.
const PATCHED: usize = 2;

const UUID: &str = "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";
const TIME: &str = "2025-01-31T09:30:00.000Z";

pub(crate) struct Examples<'c> {
    contract: &'c Contract,
}

impl<'c> Examples<'c> {
    pub(crate) fn new(contract: &'c Contract) -> Self {
        Self { contract }
    }

    pub(crate) fn message(&self, id: MessageId, mode: Mode, hidden: &[&str]) -> Value {
        self.object(id, mode, hidden, DEPTH)
    }

    pub(crate) fn field(&self, field: &FieldPlan, mode: Mode) -> Value {
        self.value(field, mode, DEPTH)
    }

    fn object(&self, id: MessageId, mode: Mode, hidden: &[&str], left: usize) -> Value {
        let plan = self.contract.plans.message(id);
        let given = self.given(id);
        let mut members = Map::new();
        let mut oneofs = HashSet::new();
        let fields =
            plan.fields.iter().filter(|field| mode.has(field) && !hidden.contains(&field.name.as_str()));
        for field in fields {
            if mode == Mode::Patch && members.len() == PATCHED {
                break;
            }
            let said = given.as_ref().and_then(|given| given.get(&field.name));
            let is_beside = field.oneof.is_some_and(|oneof| match &given {
                // The example's author chose the member.
                Some(given) if names_oneof(given, &plan.fields, oneof) => said.is_none(),
                _ => !oneofs.insert(oneof),
            });
            let value = match said {
                Some(said) => said.clone(),
                None if is_beside => Value::Null,
                None => self.value(field, mode, left),
            };
            // Requests leave out what is not set; answers carry every field.
            if mode == Mode::Answer || !value.is_null() {
                members.insert(field.name.clone(), value);
            }
        }
        members.into()
    }

    /// The object that the message's comment gives.
    fn given(&self, id: MessageId) -> Option<Map<String, Value>> {
        let descriptor = &self.contract.plans.message(id).descriptor;
        let comment = self.contract.comments.get(&descriptor.parent_file(), descriptor.path())?;
        match serde_json::from_str(comment.example.as_deref()?) {
            Ok(Value::Object(members)) => Some(members),
            _ => None,
        }
    }

    fn value(&self, field: &FieldPlan, mode: Mode, left: usize) -> Value {
        let descriptor = &field.descriptor;
        let file = descriptor.parent_message().parent_file();
        let comment = self.contract.comments.get(&file, descriptor.path());
        if let Some(text) = comment.and_then(|comment| comment.example.as_deref()) {
            return serde_json::from_str(text).unwrap_or_else(|_| text.into());
        }
        let rules = self.contract.annotations.rules(descriptor);
        let is_needed = demands_value(field, rules.as_ref());
        if left == 0 && matches!(field.kind, Kind::Message(_)) && !is_needed {
            return match field.shape {
                Shape::Single => Value::Null,
                Shape::List => json!([]),
                Shape::Map(_) => json!({}),
            };
        }
        let left = left.saturating_sub(1);
        match field.shape {
            Shape::Single => self.one(field, rules.as_ref(), mode, left),
            Shape::List => {
                let mut schema = Map::from_iter([("items".to_owned(), json!({}))]);
                rules.iter().for_each(|rules| constrain(&mut schema, Shape::List, rules));
                let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).max(1);
                let items = schema.get("items").cloned().unwrap_or_default();
                (0..count).map(|n| nth(self.plain(field, &items, None, mode, left), n)).collect()
            }
            Shape::Map(key) => {
                let mut schema = Map::from_iter([("additionalProperties".to_owned(), json!({}))]);
                rules.iter().for_each(|rules| constrain(&mut schema, field.shape, rules));
                let values = schema.get("additionalProperties").cloned().unwrap_or_default();
                let keys = schema.get("propertyNames").cloned().unwrap_or_default();
                let key = match key {
                    Scalar::String => text_example("key", &keys),
                    Scalar::Bool => "true".to_owned(),
                    _ => "1".to_owned(),
                };
                let value = self.plain(field, &values, None, mode, left);
                Map::from_iter([(key, value)]).into()
            }
        }
    }

    fn one(&self, field: &FieldPlan, rules: Option<&DynamicMessage>, mode: Mode, left: usize) -> Value {
        let mut schema = Map::new();
        rules.iter().for_each(|rules| constrain(&mut schema, Shape::Single, rules));
        self.plain(field, &schema.into(), rules, mode, left)
    }

    /// One value under the keywords of `schema`.
    fn plain(
        &self,
        field: &FieldPlan,
        schema: &Value,
        rules: Option<&DynamicMessage>,
        mode: Mode,
        left: usize,
    ) -> Value {
        match field.kind {
            Kind::Message(id) => {
                let mode = if mode == Mode::Patch { Mode::Input } else { mode };
                self.object(id, mode, &[], left)
            }
            Kind::Enum(id) => {
                let plan = self.contract.plans.enumeration(id);
                let all: Vec<_> = plan.words.iter().map(|(number, _)| *number).collect();
                let left = rules.map_or(all.clone(), |rules| allowed_numbers(rules, &all));
                left.first().and_then(|number| plan.word(*number)).into()
            }
            Kind::Scalar(Scalar::Bool) if demands_value(field, rules) => true.into(),
            Kind::Scalar(scalar) | Kind::WellKnown(WellKnown::Wrapper(scalar)) => {
                scalar_example(&field.name, scalar, schema)
            }
            Kind::WellKnown(WellKnown::Timestamp) => TIME.into(),
            Kind::WellKnown(WellKnown::Struct) => json!({ "key": "value" }),
            Kind::WellKnown(WellKnown::Value) => "value".into(),
            Kind::WellKnown(WellKnown::ListValue) => json!(["value"]),
            Kind::WellKnown(WellKnown::FieldMask) => "name".into(),
        }
    }
}

fn names_oneof(given: &Map<String, Value>, fields: &[FieldPlan], oneof: usize) -> bool {
    fields.iter().any(|f| f.oneof == Some(oneof) && given.get(&f.name).is_some_and(|v| !v.is_null()))
}

/// Further items of a list differ, in case they must be unique.
fn nth(value: Value, n: u64) -> Value {
    match value {
        Value::String(text) if n > 0 => format!("{text}-{n}").into(),
        Value::Number(number) if n > 0 => json!(number.as_i64().unwrap_or_default() + n as i64),
        other => other,
    }
}

fn scalar_example(name: &str, scalar: Scalar, schema: &Value) -> Value {
    if let Some(value) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
        return value.clone();
    }
    match scalar {
        Scalar::String => text_example(name, schema).into(),
        Scalar::Bool => false.into(),
        Scalar::Bytes => "ZXhhbXBsZQ==".into(),
        Scalar::Float | Scalar::Double => json!(within(schema, 0.5, 0.01)),
        _ => json!(within(schema, whole_number(name), 1.0) as i64),
    }
}

fn whole_number(name: &str) -> f64 {
    match name {
        "page_size" => 50.0,
        name if name.ends_with("_ms") => 60_000.0,
        _ => 1.0,
    }
}

/// The wish, or the nearest value that the bounds allow.
fn within(schema: &Value, wish: f64, step: f64) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|n| n + step));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|n| n - step));
    let value = least.map_or(wish, |least| wish.max(least));
    most.map_or(value, |most| value.min(most))
}

/// Tries words that fit the field's name, then what the pattern itself gives.
fn text_example(name: &str, schema: &Value) -> String {
    let keyword = |key: &str| schema.get(key).and_then(Value::as_str);
    match keyword("format") {
        Some("email") => return "ann@example.com".into(),
        Some("uri") => return "https://example.com/hook".into(),
        Some("uuid") => return UUID.into(),
        _ => {}
    }
    let Some(pattern) = keyword("pattern") else {
        return fitted(word(name).into(), schema);
    };
    let matches = |text: &str| regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
    let words = [word(name), "example", "EXAMPLE", "12345"];
    let fitting = words.iter().map(|word| fitted((*word).into(), schema)).find(|w| matches(w));
    let made = || pattern::sample(pattern).map(|text| fitted(text, schema)).filter(|w| matches(w));
    fitting.or_else(made).unwrap_or_else(|| word(name).into())
}

fn word(name: &str) -> &'static str {
    match name {
        "email" => "ann@example.com",
        "name" | "title" => "Example",
        "time_zone" => "Europe/Berlin",
        "locale" => "en",
        "next_page_token" | "page_token" => "",
        "id" => UUID,
        name if name.ends_with("_id") || name.ends_with("_ids") => UUID,
        name if name == "url" || name.ends_with("_url") => "https://example.com/",
        _ => "example",
    }
}

fn fitted(mut text: String, schema: &Value) -> String {
    let length = |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n as usize);
    if let Some(most) = length("maxLength") {
        text = text.chars().take(most).collect();
    }
    let missing = length("minLength").unwrap_or(0).saturating_sub(text.chars().count());
    text.extend("-example".chars().cycle().take(missing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_their_rules() {
        assert_eq!(text_example("slug", &json!({ "pattern": "^[a-z-]{1,63}$" })), "example");
        assert_eq!(text_example("name", &json!({ "minLength": 12 })), "Example-exam");
        assert_eq!(text_example("name", &json!({ "maxLength": 3 })), "Exa");
        assert_eq!(text_example("color", &json!({ "pattern": "^#[0-9a-f]{6}$" })), "#aaaaaa");
        assert_eq!(text_example("owner_id", &json!({})), UUID);
    }

    #[test]
    fn numbers_stay_within_bounds() {
        let example = |schema| scalar_example("n", Scalar::Int32, &schema);
        assert_eq!(example(json!({ "minimum": 5 })), json!(5));
        assert_eq!(example(json!({ "exclusiveMaximum": 1 })), json!(0));
        assert_eq!(example(json!({ "enum": [7, 8] })), json!(7));
    }
}
