//! `buf.validate` rules as JSON Schema keywords.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value as ProtoValue};
use serde_json::{Map, Value, json};

use crate::annotations::{flag, integer, list, message, set, text};
use crate::plan::{FieldPlan, Shape};

/// Rules on a number, whatever its width.
const NUMBERS: [&str; 6] = ["int32", "int64", "uint32", "uint64", "float", "double"];

/// The rules that this crate can express, by the message they stand in.
const SUPPORTED: [(&str, &[&str]); 14] = [
    (
        "FieldRules",
        &[
            "required", "ignore", "int32", "int64", "uint32", "uint64", "float", "double", "bool", "string",
            "bytes", "enum", "repeated", "map",
        ],
    ),
    ("Int32Rules", NUMBER),
    ("Int64Rules", NUMBER),
    ("UInt32Rules", NUMBER),
    ("UInt64Rules", NUMBER),
    ("FloatRules", NUMBER),
    ("DoubleRules", NUMBER),
    ("BoolRules", &["const"]),
    (
        "StringRules",
        &[
            "const",
            "len",
            "min_len",
            "max_len",
            "min_bytes",
            "max_bytes",
            "pattern",
            "prefix",
            "suffix",
            "contains",
            "in",
            "not_in",
            "email",
            "uri",
            "uuid",
        ],
    ),
    ("BytesRules", &["len", "min_len", "max_len"]),
    ("EnumRules", &["defined_only", "in", "not_in"]),
    ("RepeatedRules", &["min_items", "max_items", "unique", "items"]),
    ("MapRules", &["min_pairs", "max_pairs", "keys", "values"]),
    ("OneofRules", &["required"]),
];

const NUMBER: &[&str] = &["const", "lt", "lte", "gt", "gte", "in", "not_in", "finite"];

/// Names of the rules that have no keyword here (CEL among them).
pub(crate) fn unsupported(rules: &DynamicMessage) -> Vec<String> {
    let descriptor = rules.descriptor();
    let known = SUPPORTED.iter().find(|(name, _)| *name == descriptor.name());
    let known = known.map_or(&[][..], |(_, fields)| fields);
    let mut names = Vec::new();
    for (field, value) in rules.fields() {
        if !known.contains(&field.name()) {
            names.push(format!("{}.{}", descriptor.name(), field.name()));
        } else if let Some(inner) = value.as_message() {
            names.extend(unsupported(inner));
        }
    }
    names
}

/// Adds the keywords of a whole field: of the list or map, and of what it holds.
pub(super) fn constrain(schema: &mut Map<String, Value>, shape: Shape, rules: &DynamicMessage) {
    match shape {
        Shape::Single => constrain_value(schema, rules),
        Shape::List => {
            let Some(list) = message(rules, "repeated") else {
                return;
            };
            copy(schema, &list, &[("min_items", "minItems"), ("max_items", "maxItems")]);
            if flag(&list, "unique") {
                schema.insert("uniqueItems".into(), true.into());
            }
            constrain_inner(schema, "items", message(&list, "items"));
        }
        Shape::Map(_) => {
            let Some(map) = message(rules, "map") else {
                return;
            };
            copy(schema, &map, &[("min_pairs", "minProperties"), ("max_pairs", "maxProperties")]);
            constrain_inner(schema, "additionalProperties", message(&map, "values"));
            if let Some(keys) = message(&map, "keys") {
                let mut names = Map::new();
                constrain_value(&mut names, &keys);
                schema.insert("propertyNames".into(), names.into());
            }
        }
    }
}

fn constrain_inner(schema: &mut Map<String, Value>, key: &str, rules: Option<DynamicMessage>) {
    if let (Some(Value::Object(inner)), Some(rules)) = (schema.get_mut(key), rules) {
        constrain_value(inner, &rules);
    }
}

/// Adds the keywords of one value.
fn constrain_value(schema: &mut Map<String, Value>, rules: &DynamicMessage) {
    if let Some(string) = message(rules, "string") {
        constrain_string(schema, &string);
    }
    for number in NUMBERS.iter().filter_map(|name| message(rules, name)) {
        copy(
            schema,
            &number,
            &[
                ("gte", "minimum"),
                ("lte", "maximum"),
                ("gt", "exclusiveMinimum"),
                ("lt", "exclusiveMaximum"),
                ("const", "const"),
            ],
        );
        choices(schema, &number);
    }
    if let Some(boolean) = message(rules, "bool") {
        copy(schema, &boolean, &[("const", "const")]);
    }
}

fn constrain_string(schema: &mut Map<String, Value>, rules: &DynamicMessage) {
    copy(
        schema,
        rules,
        &[
            ("len", "minLength"),
            ("len", "maxLength"),
            ("min_len", "minLength"),
            ("max_len", "maxLength"),
            ("pattern", "pattern"),
            ("const", "const"),
        ],
    );
    for format in ["email", "uri", "uuid"] {
        if flag(rules, format) {
            schema.insert("format".into(), format.into());
        }
    }
    choices(schema, rules);
    let affixes = [("prefix", "^", ""), ("suffix", "", "$"), ("contains", "", "")];
    for (rule, before, after) in affixes {
        let Some(part) = text(rules, rule) else {
            continue;
        };
        let pattern = format!("{before}{}{after}", regex_syntax::escape(&part));
        if schema.contains_key("pattern") {
            let all = schema.entry("allOf").or_insert_with(|| json!([]));
            if let Value::Array(all) = all {
                all.push(json!({ "pattern": pattern }));
            }
        } else {
            schema.insert("pattern".into(), pattern.into());
        }
    }
}

fn choices(schema: &mut Map<String, Value>, rules: &DynamicMessage) {
    let values = |name| list(rules, name).iter().filter_map(json_of).collect::<Vec<_>>();
    let (only, none) = (values("in"), values("not_in"));
    if !only.is_empty() {
        schema.insert("enum".into(), only.into());
    }
    if !none.is_empty() {
        schema.insert("not".into(), json!({ "enum": none }));
    }
}

fn copy(schema: &mut Map<String, Value>, rules: &DynamicMessage, pairs: &[(&str, &str)]) {
    for (rule, keyword) in pairs {
        if let Some(value) = set(rules, rule).as_ref().and_then(json_of) {
            schema.insert((*keyword).into(), value);
        }
    }
}

pub(super) fn json_of(value: &ProtoValue) -> Option<Value> {
    match value {
        ProtoValue::Bool(b) => Some(json!(b)),
        ProtoValue::F32(n) => Some(json!(n)),
        ProtoValue::F64(n) => Some(json!(n)),
        ProtoValue::String(s) => Some(json!(s)),
        other => integer(other).and_then(|n| match i64::try_from(n) {
            Ok(n) => Some(json!(n)),
            Err(_) => u64::try_from(n).ok().map(|n| json!(n)),
        }),
    }
}

/// Enum numbers that the rules leave over, of those given.
pub(super) fn allowed_numbers(rules: &DynamicMessage, all: &[i32]) -> Vec<i32> {
    let Some(rules) = message(rules, "enum") else {
        return all.to_vec();
    };
    let numbers = |name| list(&rules, name).iter().filter_map(integer).collect::<Vec<_>>();
    let (only, none) = (numbers("in"), numbers("not_in"));
    let keep = |n: &i32| {
        let n = i128::from(*n);
        (only.is_empty() || only.contains(&n)) && !none.contains(&n)
    };
    all.iter().copied().filter(keep).collect()
}

/// Whether a request without the field is refused: said so, or because the zero that an absent
/// field without presence stands for breaks a rule.
pub(super) fn demands_value(field: &FieldPlan, rules: Option<&DynamicMessage>) -> bool {
    let Some(rules) = rules else {
        return field.behavior.required;
    };
    if field.behavior.required || flag(rules, "required") {
        return true;
    }
    let ignored = set(rules, "ignore").as_ref().and_then(integer).is_some_and(|ignore| ignore != 0);
    !field.presence && !ignored && refuses_zero(rules)
}

fn refuses_zero(rules: &DynamicMessage) -> bool {
    let at_least =
        |m: &DynamicMessage, name: &str| set(m, name).as_ref().and_then(integer).is_some_and(|n| n > 0);
    let mut schema = Map::new();
    constrain_value(&mut schema, rules);
    if let Some(string) = message(rules, "string") {
        return at_least(&string, "min_bytes") || refuses_empty_text(&schema);
    }
    if let Some(bytes) = message(rules, "bytes") {
        return at_least(&bytes, "min_len") || at_least(&bytes, "len");
    }
    if message(rules, "enum").is_some() {
        return allowed_numbers(rules, &[0]).is_empty();
    }
    let sizes = [("repeated", "min_items"), ("map", "min_pairs")];
    if sizes.iter().any(|(kind, size)| message(rules, kind).is_some_and(|m| at_least(&m, size))) {
        return true;
    }
    refuses_number_zero(&schema)
}

fn refuses_empty_text(schema: &Map<String, Value>) -> bool {
    let is = |key: &str| schema.get(key);
    let pattern_refuses = |pattern: &Value| {
        let pattern = pattern.as_str().and_then(|pattern| regex::Regex::new(pattern).ok());
        pattern.is_some_and(|pattern| !pattern.is_match(""))
    };
    is("minLength").and_then(Value::as_u64).is_some_and(|n| n > 0)
        || is("format").is_some()
        || is("const").is_some_and(|value| value != "")
        || refuses_choice(schema, &json!(""))
        || is("pattern").is_some_and(pattern_refuses)
}

fn refuses_number_zero(schema: &Map<String, Value>) -> bool {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    number("minimum").is_some_and(|n| n > 0.0)
        || number("maximum").is_some_and(|n| n < 0.0)
        || number("exclusiveMinimum").is_some_and(|n| n >= 0.0)
        || number("exclusiveMaximum").is_some_and(|n| n <= 0.0)
        || number("const").is_some_and(|n| n != 0.0)
        || refuses_choice(schema, &json!(0))
}

fn refuses_choice(schema: &Map<String, Value>, zero: &Value) -> bool {
    let holds = |list: &Value| list.as_array().is_some_and(|list| list.contains(zero));
    schema.get("enum").is_some_and(|only| !holds(only))
        || schema.get("not").and_then(|not| not.get("enum")).is_some_and(holds)
}
