//! One scalar, enum or time, from JSON and from text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Number;

use super::document::Node;
use crate::plan::{EnumPlan, Scalar};
use crate::wire::{Raw, put_field, put_value};

/// A value ready to be written.
pub(crate) enum Bound<'a> {
    Raw(Raw<'a>),
    Owned(Vec<u8>),
}

/// Why a value does not fit its field: (code, detail).
pub(super) type Wrong = (&'static str, Cow<'static, str>);

impl Bound<'_> {
    /// As the field of this number, or bare for a packed list.
    pub(crate) fn put(&self, out: &mut Vec<u8>, number: Option<u32>) {
        let raw = match self {
            Self::Raw(raw) => *raw,
            Self::Owned(bytes) => Raw::Bytes(bytes),
        };
        match number {
            Some(number) => put_field(out, number, raw),
            None => put_value(out, raw),
        }
    }
}

pub(super) fn wrong_type(scalar: Scalar) -> Wrong {
    let detail = match scalar {
        Scalar::Bool => "must be true or false",
        Scalar::String => "must be a string",
        Scalar::Bytes => "must be a base64 string",
        Scalar::Float | Scalar::Double => "must be a number",
        _ => "must be an integer",
    };
    ("invalid_type", detail.into())
}

pub(super) fn from_node<'n>(scalar: Scalar, node: &'n Node<'_>) -> Result<Bound<'n>, Wrong> {
    match (scalar, node) {
        (Scalar::Bool, Node::Bool(value)) => Ok(Bound::Raw(Raw::Varint(u64::from(*value)))),
        (Scalar::String, Node::String(text)) => from_string(text),
        (Scalar::Bytes, Node::String(text)) => base64(text),
        (Scalar::Bool | Scalar::String | Scalar::Bytes, _) => Err(wrong_type(scalar)),
        (_, Node::Number(number)) => from_number(scalar, number),
        _ => Err(wrong_type(scalar)),
    }
}

/// From a path variable or a query parameter.
pub(super) fn from_text(scalar: Scalar, text: &str) -> Result<Bound<'_>, Wrong> {
    match scalar {
        Scalar::String => from_string(text),
        Scalar::Bytes => base64(text),
        Scalar::Bool => match text {
            "true" => Ok(Bound::Raw(Raw::Varint(1))),
            "false" => Ok(Bound::Raw(Raw::Varint(0))),
            _ => Err(wrong_type(scalar)),
        },
        _ => {
            let number: Number = serde_json::from_str(text).map_err(|_| wrong_type(scalar))?;
            from_number(scalar, &number)
        }
    }
}

/// Text of any characters but U+0000, which databases cannot store as text.
pub(super) fn from_string(text: &str) -> Result<Bound<'_>, Wrong> {
    if text.contains('\0') {
        return Err(("invalid_text", "must not contain U+0000".into()));
    }
    Ok(Bound::Raw(Raw::Bytes(text.as_bytes())))
}

fn base64(text: &str) -> Result<Bound<'static>, Wrong> {
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map(Bound::Owned).map_err(|_| ("invalid_value", "must be base64".into()))
}

fn from_number(scalar: Scalar, number: &Number) -> Result<Bound<'static>, Wrong> {
    let raw = match scalar {
        Scalar::Double => number.as_f64().map(|n| Raw::Fixed64(n.to_bits())),
        Scalar::Float => {
            let narrow = number.as_f64().map(|n| n as f32).filter(|n| n.is_finite());
            narrow.map(|n| Raw::Fixed32(n.to_bits()))
        }
        _ => integer_raw(scalar, integer(number).ok_or_else(|| wrong_type(scalar))?),
    };
    raw.map(Bound::Raw).ok_or_else(|| ("out_of_range", range(scalar).into()))
}

/// `3`, and `3.0` too: JSON does not tell them apart.
fn integer(number: &Number) -> Option<i128> {
    if let Some(n) = number.as_i64() {
        return Some(i128::from(n));
    }
    if let Some(n) = number.as_u64() {
        return Some(i128::from(n));
    }
    number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i128)
}

/// `None` when the integer is out of the kind's range.
fn integer_raw(scalar: Scalar, n: i128) -> Option<Raw<'static>> {
    Some(match scalar {
        Scalar::Int32 => Raw::Varint(i64::from(i32::try_from(n).ok()?) as u64),
        Scalar::Int64 => Raw::Varint(i64::try_from(n).ok()? as u64),
        Scalar::Uint32 => Raw::Varint(u64::from(u32::try_from(n).ok()?)),
        Scalar::Uint64 => Raw::Varint(u64::try_from(n).ok()?),
        Scalar::Sint32 => Raw::Varint(u64::from(zigzag32(i32::try_from(n).ok()?))),
        Scalar::Sint64 => Raw::Varint(zigzag64(i64::try_from(n).ok()?)),
        Scalar::Fixed32 => Raw::Fixed32(u32::try_from(n).ok()?),
        Scalar::Sfixed32 => Raw::Fixed32(i32::try_from(n).ok()? as u32),
        Scalar::Fixed64 => Raw::Fixed64(u64::try_from(n).ok()?),
        Scalar::Sfixed64 => Raw::Fixed64(i64::try_from(n).ok()? as u64),
        Scalar::Bool | Scalar::Float | Scalar::Double | Scalar::String | Scalar::Bytes => {
            return None;
        }
    })
}

fn zigzag32(n: i32) -> u32 {
    ((n << 1) ^ (n >> 31)) as u32
}

fn zigzag64(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn range(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => "must fit a signed 32-bit integer",
        Scalar::Uint32 | Scalar::Fixed32 => "must be between 0 and 4294967295",
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => "must fit a signed 64-bit integer",
        Scalar::Uint64 | Scalar::Fixed64 => "must be between 0 and 18446744073709551615",
        _ => "must fit a 32-bit floating point number",
    }
}

pub(super) fn from_word(plan: &EnumPlan, word: &str) -> Result<Bound<'static>, Wrong> {
    let number = plan.number(word).ok_or_else(|| {
        let words: Vec<_> = plan.words.iter().map(|(_, word)| word.as_str()).collect();
        ("undefined_value", format!("must be one of {}", words.join(", ")).into())
    })?;
    Ok(Bound::Raw(Raw::Varint(i64::from(number) as u64)))
}

/// A `google.protobuf.Timestamp` from RFC 3339 text of any offset.
pub(super) fn from_time(text: &str) -> Result<Bound<'static>, Wrong> {
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    // The years that the well-known type allows.
    let time = time.filter(|t| (MIN_SECONDS..=MAX_SECONDS).contains(&t.timestamp()));
    let time = time.ok_or_else(|| {
        ("invalid_value", Cow::from("must be an RFC 3339 time such as 2025-01-31T09:30:00Z"))
    })?;
    let mut bytes = Vec::new();
    put_field(&mut bytes, 1, Raw::Varint(time.timestamp() as u64));
    // A leap second counts as the last nanosecond of its minute.
    let nanos = time.timestamp_subsec_nanos().min(999_999_999);
    put_field(&mut bytes, 2, Raw::Varint(u64::from(nanos)));
    Ok(Bound::Owned(bytes))
}

const MIN_SECONDS: i64 = -62_135_596_800;
const MAX_SECONDS: i64 = 253_402_300_799;

/// RFC 3339 in UTC with milliseconds, or as many digits as the time has. `None` outside the years
/// 1 to 9999.
pub(crate) fn rfc3339(seconds: i64, nanos: i32) -> Option<String> {
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
        return None;
    }
    let time = DateTime::<Utc>::from_timestamp(seconds, u32::try_from(nanos).ok()?)?;
    let digits = match nanos {
        n if n % 1_000_000 == 0 => SecondsFormat::Millis,
        n if n % 1_000 == 0 => SecondsFormat::Micros,
        _ => SecondsFormat::Nanos,
    };
    Some(time.to_rfc3339_opts(digits, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_or_more() {
        let text = |nanos| rfc3339(1_738_315_800, nanos);
        assert_eq!(text(0).as_deref(), Some("2025-01-31T09:30:00.000Z"));
        assert_eq!(text(5_000_000).as_deref(), Some("2025-01-31T09:30:00.005Z"));
        assert_eq!(text(5_000).as_deref(), Some("2025-01-31T09:30:00.000005Z"));
        assert_eq!(text(5).as_deref(), Some("2025-01-31T09:30:00.000000005Z"));
        assert_eq!(text(-1), None);
        assert_eq!(rfc3339(i64::MAX, 0), None);
    }

    #[test]
    fn integers_fit_or_are_refused() {
        let fits = |scalar, text: &str| from_text(scalar, text).is_ok();
        assert!(fits(Scalar::Int32, "-2147483648") && !fits(Scalar::Int32, "2147483648"));
        assert!(fits(Scalar::Uint64, "18446744073709551615") && !fits(Scalar::Uint64, "-1"));
        assert!(fits(Scalar::Sint32, "-5") && !fits(Scalar::Fixed32, "4294967296"));
        assert!(fits(Scalar::Int64, "3.0") && !fits(Scalar::Int64, "3.5") && !fits(Scalar::Int64, "1e40"));
        assert!(!fits(Scalar::Float, "1e39") && fits(Scalar::Double, "1e39") && !fits(Scalar::Int32, ""));
        assert!(fits(Scalar::Bool, "true") && !fits(Scalar::Bool, "1"));
    }
}
