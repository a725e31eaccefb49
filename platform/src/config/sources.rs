//! What a file and the environment change, held against the defaults.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, Origin};

/// Prefix of variables that are keys.
const PREFIX: &str = "PULSEOPS__";
/// Variables that other tools know by another name; the name with prefix wins.
const ALIASES: [(&str, &str); 2] = [("DATABASE_URL", "database.url"), ("RUST_LOG", "telemetry.filter")];

/// One key that is not as the defaults say.
#[derive(Clone, Debug)]
pub(super) struct Change {
    path: Vec<String>,
    value: Value,
    origin: Origin,
}

impl Change {
    pub(super) fn error(&self, message: String) -> ConfigError {
        ConfigError { key: self.path.join("."), origin: self.origin.clone(), message }
    }

    pub(super) fn apply(&self, into: &mut Table) {
        let Some((last, parents)) = self.path.split_last() else {
            return;
        };
        let mut table = into;
        for name in parents {
            let next = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            // Only known keys become changes, so a parent is a table.
            let Value::Table(next) = next else { return };
            table = next;
        }
        table.insert(last.clone(), self.value.clone());
    }
}

/// What the defaults say about a key.
enum Known<'a> {
    /// It has this default.
    Value(&'a Value),
    /// It stands in a table that takes any key.
    Free,
    No,
}

fn look_up<'a>(base: &'a Table, path: &[String]) -> Known<'a> {
    let mut table = base;
    for (at, name) in path.iter().enumerate() {
        match table.get(name) {
            Some(Value::Table(next)) if at + 1 < path.len() => table = next,
            Some(value) if at + 1 == path.len() => return Known::Value(value),
            None if table.is_empty() && at > 0 => return Known::Free,
            _ => return Known::No,
        }
    }
    Known::No
}

pub(super) fn read_file(base: &Table, path: &Path, changes: &mut Vec<Change>, errors: &mut Vec<ConfigError>) {
    let origin = Origin::File(path.to_owned());
    let mut whole =
        |message| errors.push(ConfigError { key: String::new(), origin: origin.clone(), message });
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return whole(format!("cannot be read: {error}")),
    };
    match toml::from_str(&text) {
        Ok(table) => walk(base, &table, &mut Vec::new(), &origin, changes, errors),
        Err(error) => whole(format!("is not TOML: {error}")),
    }
}

/// Finds the leaves of `table` that differ from the defaults in place, kind or name.
fn walk(
    base: &Table,
    table: &Table,
    path: &mut Vec<String>,
    origin: &Origin,
    changes: &mut Vec<Change>,
    errors: &mut Vec<ConfigError>,
) {
    for (name, value) in table {
        path.push(name.clone());
        let change =
            |value: &Value| Change { path: path.clone(), value: value.clone(), origin: origin.clone() };
        match (look_up(base, path), value) {
            (Known::Value(Value::Table(_)), Value::Table(inner)) => {
                walk(base, inner, path, origin, changes, errors);
            }
            (Known::Value(Value::Float(_)), Value::Integer(number)) => {
                #[expect(clippy::cast_precision_loss, reason = "nobody configures 2^53")]
                changes.push(change(&Value::Float(*number as f64)));
            }
            (Known::Value(default), value) if !default.same_type(value) => {
                let message = format!("must be {}, is {}", kind(default), kind(value));
                errors.push(change(value).error(message));
            }
            (Known::Value(_) | Known::Free, value) => changes.push(change(value)),
            (Known::No, value) => errors.push(change(value).error("is no known key".to_owned())),
        }
        path.pop();
    }
}

pub(super) fn read_environment(
    base: &Table,
    variables: &BTreeMap<String, String>,
    changes: &mut Vec<Change>,
    errors: &mut Vec<ConfigError>,
) {
    let aliased = ALIASES.iter().filter_map(|(name, key)| {
        let value = variables.get(*name).filter(|value| !value.is_empty())?;
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        // A program without that section has no use for the alias.
        matches!(look_up(base, &path), Known::Value(_)).then_some((*name, path, value))
    });
    let prefixed = variables.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
        Some((name.as_str(), key.split("__").map(str::to_owned).collect(), value))
    });
    for (name, path, text) in aliased.chain(prefixed) {
        let parsed = match look_up(base, &path) {
            Known::Value(default) => parse(default, text),
            Known::Free => Ok(Value::String(text.clone())),
            Known::No => Err("is no known key".to_owned()),
        };
        let origin = Origin::Variable(name.to_owned());
        match parsed {
            Ok(value) => changes.push(Change { path, value, origin }),
            Err(message) => errors.push(ConfigError { key: path.join("."), origin, message }),
        }
    }
}

/// Reads a variable's text as the kind of value that the default is.
fn parse(default: &Value, text: &str) -> Result<Value, String> {
    let wrong = || format!("must be {}, is {text:?}", kind(default));
    match default {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| wrong()),
        Value::Float(_) => text.trim().parse().map(Value::Float).map_err(|_| wrong()),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| wrong()),
        Value::Array(_) if text.trim_start().starts_with('[') => {
            let table: Table = toml::from_str(&format!("list = {text}")).map_err(|_| wrong())?;
            table.get("list").cloned().ok_or_else(wrong)
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Value::Datetime(_) | Value::Table(_) => Err("cannot be set by one variable".to_owned()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
