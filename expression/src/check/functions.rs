//! The functions that are there: of what, with what, giving what.

use super::comprehensions;
use crate::types::Ty;

/// How a function's cost grows with the text that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Not at all.
    Flat,
    /// As comparing does.
    Compares,
    /// As searching, counting or reading it does.
    Searches,
}

const OF_TEXT: [&str; 3] = ["contains", "startsWith", "endsWith"];

const OF_TIME: [&str; 10] = [
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

const OF_DURATION: [&str; 4] = ["getHours", "getMinutes", "getSeconds", "getMilliseconds"];

const CONVERSIONS: [(&str, Ty, &[Ty]); 6] = [
    ("int", Ty::Int, &[Ty::Int, Ty::Double, Ty::Text, Ty::Time]),
    ("double", Ty::Double, &[Ty::Int, Ty::Double, Ty::Text]),
    ("string", Ty::Text, &[Ty::Text, Ty::Bool, Ty::Int, Ty::Double, Ty::Time, Ty::Duration]),
    ("bool", Ty::Bool, &[Ty::Bool, Ty::Text]),
    ("timestamp", Ty::Time, &[Ty::Text, Ty::Int, Ty::Time]),
    ("duration", Ty::Duration, &[Ty::Text, Ty::Duration]),
];

/// Every name, as a message lists them; `has` and the comprehensions are the language's.
pub(super) fn names() -> Vec<&'static str> {
    let mut names = vec!["has"];
    names.extend(comprehensions::NAMES);
    names.extend(["size", "matches"]);
    names.extend(OF_TEXT);
    names.extend(CONVERSIONS.iter().map(|(name, ..)| *name));
    names.extend(OF_TIME);
    names
}

/// How `function` is written; `None` when there is no such function.
pub(super) fn usage(function: &str) -> Option<String> {
    let usage = match function {
        "size" => "size(value), of text, a list or a map".to_owned(),
        "has" => "has(variable.field)".to_owned(),
        "matches" => "text.matches(\"pattern\")".to_owned(),
        name if comprehensions::NAMES.contains(&name) => comprehensions::written(name),
        name if OF_TEXT.contains(&name) => format!("text.{name}(\"text\")"),
        name if OF_TIME.contains(&name) => format!("time.{name}(), or time.{name}(\"Europe/Berlin\")"),
        name => {
            let (_, _, takes) = CONVERSIONS.iter().find(|(conversion, ..)| *conversion == name)?;
            let takes: Vec<String> = takes.iter().map(Ty::name).collect();
            format!("{name}(value), of {}", takes.join(", "))
        }
    };
    Some(usage)
}

/// What `function` gives and how it works, called on `of`, as in `of.function(args)` when `member`
/// and `function(of, args)` otherwise.
pub(super) fn find(function: &str, member: bool, of: &Ty, args: &[Ty]) -> Option<(Ty, Work)> {
    match (of, args) {
        (Ty::Text, []) if function == "size" => Some((Ty::Int, Work::Searches)),
        (Ty::Map | Ty::List(_), []) if function == "size" => Some((Ty::Int, Work::Flat)),
        (Ty::Text, [Ty::Text]) if member && function == "contains" => Some((Ty::Bool, Work::Searches)),
        (Ty::Text, [Ty::Text]) if member && OF_TEXT.contains(&function) => Some((Ty::Bool, Work::Compares)),
        (Ty::Time, [] | [Ty::Text]) if member && OF_TIME.contains(&function) => {
            Some((Ty::Int, Work::Searches))
        }
        (Ty::Duration, []) if member && OF_DURATION.contains(&function) => Some((Ty::Int, Work::Flat)),
        (of, []) if !member => {
            let (_, gives, takes) = CONVERSIONS.iter().find(|(name, ..)| *name == function)?;
            takes.contains(of).then(|| (gives.clone(), Work::Searches))
        }
        _ => None,
    }
}
