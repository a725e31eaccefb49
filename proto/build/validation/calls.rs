//! From the rules of one type to the calls of `proto::validate::rules` that check them.

use heck::ToShoutySnakeCase;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, Value};

use super::rules::number;

/// `rules::function(value, arguments.., path, out)`.
pub struct Call {
    pub function: &'static str,
    pub arguments: Vec<Argument>,
}

pub enum Argument {
    /// Rust source text.
    Text(String),
    /// A regular expression, which the writer turns into a static.
    Pattern(String),
}

impl Call {
    pub fn new(function: &'static str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self { function, arguments: arguments.into_iter().map(Argument::Text).collect() }
    }
}

/// The call that counts a list's items or a map's pairs.
pub fn size_call(unit: &str, min: Option<u64>, max: Option<u64>) -> Result<Option<Call>, String> {
    let Some((min, max)) = limits(min, max)? else {
        return Ok(None);
    };
    Ok(Some(Call::new("size", [min, max, format!("{unit:?}")])))
}

/// The calls for a single value; `rules` is the message of its type, such as `StringRules`.
pub fn scalar_calls(kind: &Kind, rules: &DynamicMessage) -> Result<Vec<Call>, String> {
    match kind {
        Kind::String => string_calls(rules),
        Kind::Bytes => {
            let exact = number(rules, "len");
            let min = exact.or(number(rules, "min_len"));
            let max = exact.or(number(rules, "max_len"));
            Ok(limits(min, max)?.map(|(min, max)| Call::new("bytes", [min, max])).into_iter().collect())
        }
        Kind::Enum(of) => enum_calls(of, rules),
        _ => number_calls(rules),
    }
}

fn string_calls(rules: &DynamicMessage) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let exact = number(rules, "len");
    let min = exact.or(number(rules, "min_len"));
    let max = exact.or(number(rules, "max_len"));
    if let Some((min, max)) = limits(min, max)? {
        calls.push(Call::new("length", [min, max]));
    }
    if let Some((min, max)) = limits(number(rules, "min_bytes"), number(rules, "max_bytes"))? {
        calls.push(Call::new("bytes", [min, max]));
    }
    for (field, value) in rules.fields() {
        let call = match (field.name(), value) {
            ("pattern", Value::String(pattern)) => pattern_call(pattern)?,
            ("const", value) => Call::new("equal", [literal(value)?]),
            ("prefix", value) => Call::new("prefix", [literal(value)?]),
            ("suffix", value) => Call::new("suffix", [literal(value)?]),
            ("contains", value) => Call::new("contains", [literal(value)?]),
            ("in", value) => Call::new("one_of", [slice(value)?]),
            ("not_in", value) => Call::new("none_of", [slice(value)?]),
            ("email", Value::Bool(true)) => Call::new("email", []),
            ("uri", Value::Bool(true)) => Call::new("uri", []),
            ("uuid", Value::Bool(true)) => Call::new("uuid", []),
            ("len" | "min_len" | "max_len" | "min_bytes" | "max_bytes", _) => continue,
            (_, Value::Bool(false)) => continue,
            (name, _) => return Err(unsupported(name)),
        };
        calls.push(call);
    }
    Ok(calls)
}

fn pattern_call(pattern: &str) -> Result<Call, String> {
    regex::Regex::new(pattern).map_err(|error| format!("rule `pattern`: {error}"))?;
    Ok(Call { function: "pattern", arguments: vec![Argument::Pattern(pattern.to_owned())] })
}

fn enum_calls(of: &EnumDescriptor, rules: &DynamicMessage) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    for (field, value) in rules.fields() {
        calls.push(match field.name() {
            "defined_only" if value.as_bool() == Some(true) => {
                let mut numbers: Vec<_> = of.values().map(|value| value.number()).collect();
                numbers.sort_unstable();
                numbers.dedup();
                Call::new("defined", [format!("&{numbers:?}")])
            }
            "defined_only" => continue,
            "in" => Call::new("enum_one_of", [named(of, value)?]),
            "not_in" => Call::new("enum_none_of", [named(of, value)?]),
            name => return Err(unsupported(name)),
        });
    }
    Ok(calls)
}

/// `&[(number, "name as JSON has it")]`.
fn named(of: &EnumDescriptor, value: &Value) -> Result<String, String> {
    let numbers = value.as_list().unwrap_or_default().iter().filter_map(Value::as_i32);
    let pairs: Result<Vec<_>, String> = numbers
        .map(|number| {
            let value = of.get_value(number).ok_or(format!("{} has no value {number}", of.full_name()))?;
            let prefix = of.name().to_shouty_snake_case() + "_";
            let name = value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_lowercase();
            Ok(format!("({number}, {name:?})"))
        })
        .collect();
    Ok(format!("&[{}]", pairs?.join(", ")))
}

fn number_calls(rules: &DynamicMessage) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let (mut low, mut high) = (None, None);
    for (field, value) in rules.fields() {
        match field.name() {
            "gt" => low = Some(("Excluded", value)),
            "gte" => low = Some(("Included", value)),
            "lt" => high = Some(("Excluded", value)),
            "lte" => high = Some(("Included", value)),
            "const" => calls.push(Call::new("equal", [literal(value)?])),
            "in" => calls.push(Call::new("one_of", [slice(value)?])),
            "not_in" => calls.push(Call::new("none_of", [slice(value)?])),
            "finite" if value.as_bool() == Some(true) => calls.push(Call::new("finite", [])),
            "finite" => {}
            name => return Err(unsupported(name)),
        }
    }
    if let (Some((_, low)), Some((_, high))) = (low, high)
        && as_f64(low) > as_f64(high)
    {
        return Err("the lower bound is above the upper one".into());
    }
    if low.is_some() || high.is_some() {
        let range = [bound(low)?, bound(high)?];
        calls.insert(0, Call::new("range", range));
    }
    Ok(calls)
}

fn bound(bound: Option<(&str, &Value)>) -> Result<String, String> {
    Ok(match bound {
        Some((kind, value)) => format!("Bound::{kind}({})", literal(value)?),
        None => "Bound::Unbounded".to_owned(),
    })
}

fn as_f64(value: &Value) -> f64 {
    match value {
        Value::I32(value) => f64::from(*value),
        Value::U32(value) => f64::from(*value),
        Value::F32(value) => f64::from(*value),
        Value::F64(value) => *value,
        Value::I64(value) => *value as f64,
        Value::U64(value) => *value as f64,
        _ => f64::NAN,
    }
}

/// Two `Option<usize>` literals, or `None` when neither bound is set.
fn limits(min: Option<u64>, max: Option<u64>) -> Result<Option<(String, String)>, String> {
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(format!("the minimum {min} is above the maximum {max}"));
    }
    Ok((min.is_some() || max.is_some()).then(|| (format!("{min:?}"), format!("{max:?}"))))
}

fn literal(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) if value.is_finite() => format!("{value:?}"),
        Value::F64(value) if value.is_finite() => format!("{value:?}"),
        Value::String(value) => format!("{value:?}"),
        other => return Err(format!("{other:?} cannot stand in a rule")),
    })
}

fn slice(value: &Value) -> Result<String, String> {
    let literals: Result<Vec<_>, _> = value.as_list().unwrap_or_default().iter().map(literal).collect();
    Ok(format!("&[{}]", literals?.join(", ")))
}

fn unsupported(name: &str) -> String {
    format!("rule `{name}` is not supported: see third_party/buf/validate/validate.proto")
}
