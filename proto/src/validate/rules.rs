//! One function a rule. Generated code calls them with the value, the rule's arguments, the path
//! and the list of violations; they are public for it alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::ops::Bound;

use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value};
pub use regex::Regex;

use super::{Path, Validate, Violation, Violations, code};

/// A pattern of the contract.
pub fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the build script compiled every pattern of the contract")
}

/// [`encoded`] of one message.
pub type Encoded = fn(&[u8]) -> Result<Vec<Violation>, prost::DecodeError>;

/// Decodes and checks a message.
///
/// # Errors
/// The bytes are no such message.
pub fn encoded<M>(bytes: &[u8]) -> Result<Vec<Violation>, prost::DecodeError>
where
    M: prost::Message + Default + Validate,
{
    Ok(super::check(&M::decode(bytes)?).err().unwrap_or_default())
}

/// Holds for every string and every key.
pub fn text(value: &str, path: &Path<'_>, out: &mut Violations) {
    if value.contains('\0') {
        out.push(path, code::INVALID_TEXT, format_args!("must not contain U+0000"));
    }
}

/// [`text`] for all that an object holds.
pub fn structure(value: &Struct, path: &Path<'_>, out: &mut Violations) {
    for (key, value) in &value.fields {
        let path = path.key(key);
        text(key, &path.of_key(), out);
        self::value(value, &path, out);
    }
}

fn value(value: &Value, path: &Path<'_>, out: &mut Violations) {
    match &value.kind {
        Some(Kind::StringValue(value)) => text(value, path, out),
        Some(Kind::StructValue(value)) => structure(value, path, out),
        Some(Kind::ListValue(list)) => {
            for (index, item) in list.values.iter().enumerate() {
                self::value(item, &path.index(index), out);
            }
        }
        _ => {}
    }
}

/// Holds for every time: protobuf's own range.
pub fn timestamp(value: &Timestamp, path: &Path<'_>, out: &mut Violations) {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !SECONDS.contains(&value.seconds) || !(0..1_000_000_000).contains(&value.nanos) {
        out.push(path, code::OUT_OF_RANGE, format_args!("must be a time of the years 1 to 9999"));
    }
}

/// Bytes of a map's keys and values together.
pub fn total(value: &BTreeMap<String, String>, max: usize, path: &Path<'_>, out: &mut Violations) {
    if value.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > max {
        let detail = format_args!("keys and values must have at most {max} bytes together");
        out.push(path, code::TOO_LONG, detail);
    }
}

/// Characters of a string.
pub fn length(value: &str, min: Option<usize>, max: Option<usize>, path: &Path<'_>, out: &mut Violations) {
    let limits = Limits { min, max, unit: "characters", below: code::TOO_SHORT, above: code::TOO_LONG };
    // A string has at most as many characters as bytes: counting is left to those near a limit.
    if min.is_some() || max.is_some_and(|max| value.len() > max) {
        limits.hold(value.chars().count(), path, out);
    }
}

/// Bytes of a string's UTF-8 or of a bytes field.
pub fn bytes(
    value: impl AsRef<[u8]>,
    min: Option<usize>,
    max: Option<usize>,
    path: &Path<'_>,
    out: &mut Violations,
) {
    Limits { min, max, unit: "bytes", below: code::TOO_SHORT, above: code::TOO_LONG }.hold(
        value.as_ref().len(),
        path,
        out,
    );
}

/// Items of a list or pairs of a map; `unit` says which.
pub fn size(
    count: usize,
    min: Option<usize>,
    max: Option<usize>,
    unit: &str,
    path: &Path<'_>,
    out: &mut Violations,
) {
    Limits { min, max, unit, below: code::TOO_FEW, above: code::TOO_MANY }.hold(count, path, out);
}

struct Limits<'a> {
    min: Option<usize>,
    max: Option<usize>,
    unit: &'a str,
    below: &'static str,
    above: &'static str,
}

impl Limits<'_> {
    fn hold(&self, count: usize, path: &Path<'_>, out: &mut Violations) {
        let Self { min, max, unit, .. } = *self;
        let code = if min.is_some_and(|min| count < min) {
            self.below
        } else if max.is_some_and(|max| count > max) {
            self.above
        } else {
            return;
        };
        match (min, max) {
            (Some(min), Some(max)) if min == max => {
                out.push(path, code, format_args!("must have exactly {min} {unit}"));
            }
            (Some(min), _) if code == self.below => {
                out.push(path, code, format_args!("must have at least {min} {unit}"));
            }
            (_, max) => {
                out.push(path, code, format_args!("must have at most {} {unit}", max.unwrap_or_default()));
            }
        }
    }
}

pub fn pattern(value: &str, pattern: &Regex, path: &Path<'_>, out: &mut Violations) {
    if !pattern.is_match(value) {
        out.push(path, code::PATTERN, format_args!("must match {pattern}"));
    }
}

pub fn prefix(value: &str, prefix: &str, path: &Path<'_>, out: &mut Violations) {
    if !value.starts_with(prefix) {
        out.push(path, code::PATTERN, format_args!("must begin with {prefix:?}"));
    }
}

pub fn suffix(value: &str, suffix: &str, path: &Path<'_>, out: &mut Violations) {
    if !value.ends_with(suffix) {
        out.push(path, code::PATTERN, format_args!("must end with {suffix:?}"));
    }
}

pub fn contains(value: &str, part: &str, path: &Path<'_>, out: &mut Violations) {
    if !value.contains(part) {
        out.push(path, code::PATTERN, format_args!("must contain {part:?}"));
    }
}

/// The addresses that mail really reaches: one `@`, an unquoted local part, a host name with a dot
/// or `localhost`; at most 254 bytes (RFC 5321 section 4.5.3.1.3 less the brackets).
pub fn email(value: &str, path: &Path<'_>, out: &mut Violations) {
    if !is_email(value) {
        out.push(path, code::EMAIL, format_args!("must be an email address"));
    }
}

fn is_email(value: &str) -> bool {
    let Some((local, host)) = value.split_once('@') else {
        return false;
    };
    let local_ok = (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
    let host_ok = (host == "localhost" || host.contains('.')) && host.split('.').all(is_label);
    value.len() <= 254 && local_ok && host_ok
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

/// An absolute URI; one that has a host names it.
pub fn uri(value: &str, path: &Path<'_>, out: &mut Violations) {
    // The parser follows browsers and repairs white space and control characters; RFC 3986 does not.
    let clean = !value.chars().any(|c| c.is_whitespace() || c.is_control());
    if !clean || url::Url::parse(value).is_err() {
        out.push(path, code::URI, format_args!("must be an absolute URI"));
    }
}

/// Any version, written with hyphens.
pub fn uuid(value: &str, path: &Path<'_>, out: &mut Violations) {
    if value.len() != uuid::fmt::Hyphenated::LENGTH || uuid::Uuid::try_parse(value).is_err() {
        out.push(path, code::UUID, format_args!("must be a UUID"));
    }
}

/// Bounds of a number. NaN is outside all bounds.
pub fn range<T: PartialOrd + Display>(
    value: T,
    low: Bound<T>,
    high: Bound<T>,
    path: &Path<'_>,
    out: &mut Violations,
) {
    use Bound::{Excluded, Included, Unbounded};
    use std::ops::RangeBounds;
    if (low.as_ref(), high.as_ref()).contains(&&value) {
        return;
    }
    let mut say = |detail: std::fmt::Arguments<'_>| out.push(path, code::OUT_OF_RANGE, detail);
    match (low, high) {
        (Included(low), Included(high)) => say(format_args!("must be from {low} to {high}")),
        (Included(low), Excluded(high)) => say(format_args!("must be at least {low} and below {high}")),
        (Excluded(low), Included(high)) => say(format_args!("must be above {low} and at most {high}")),
        (Excluded(low), Excluded(high)) => say(format_args!("must be above {low} and below {high}")),
        (Included(low), Unbounded) => say(format_args!("must be at least {low}")),
        (Excluded(low), Unbounded) => say(format_args!("must be above {low}")),
        (Unbounded, Included(high)) => say(format_args!("must be at most {high}")),
        (Unbounded, Excluded(high)) => say(format_args!("must be below {high}")),
        (Unbounded, Unbounded) => {}
    }
}

pub fn finite(value: impl Into<f64>, path: &Path<'_>, out: &mut Violations) {
    if !value.into().is_finite() {
        out.push(path, code::OUT_OF_RANGE, format_args!("must be finite"));
    }
}

pub fn equal<T: PartialEq + Debug>(value: T, expected: T, path: &Path<'_>, out: &mut Violations) {
    if value != expected {
        out.push(path, code::NOT_IN, format_args!("must be {expected:?}"));
    }
}

pub fn one_of<T: PartialEq + Display>(value: T, allowed: &[T], path: &Path<'_>, out: &mut Violations) {
    if !allowed.contains(&value) {
        out.push(path, code::NOT_IN, format_args!("must be one of {}", listed(allowed)));
    }
}

pub fn none_of<T: PartialEq + Display>(value: T, excluded: &[T], path: &Path<'_>, out: &mut Violations) {
    if excluded.contains(&value) {
        out.push(path, code::EXCLUDED, format_args!("must not be any of {}", listed(excluded)));
    }
}

pub fn defined(value: i32, known: &[i32], path: &Path<'_>, out: &mut Violations) {
    if known.binary_search(&value).is_err() {
        out.push(path, code::UNDEFINED_VALUE, format_args!("{value} is not a value of this enum"));
    }
}

pub fn enum_one_of(value: i32, allowed: &[(i32, &str)], path: &Path<'_>, out: &mut Violations) {
    if !allowed.iter().any(|(number, _)| *number == value) {
        let names: Vec<_> = allowed.iter().map(|(_, name)| *name).collect();
        out.push(path, code::NOT_IN, format_args!("must be one of {}", names.join(", ")));
    }
}

pub fn enum_none_of(value: i32, excluded: &[(i32, &str)], path: &Path<'_>, out: &mut Violations) {
    if let Some((_, name)) = excluded.iter().find(|(number, _)| *number == value) {
        out.push(path, code::EXCLUDED, format_args!("must not be {name}"));
    }
}

/// Reported once, at the first item that repeats an earlier one.
pub fn unique<T: Eq + Hash>(values: &[T], path: &Path<'_>, out: &mut Violations) {
    let mut seen = HashMap::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        if let Some(first) = seen.insert(value, index) {
            let path = path.index(index);
            out.push(&path, code::NOT_UNIQUE, format_args!("repeats item {first}"));
            return;
        }
    }
}

fn listed<T: Display>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
