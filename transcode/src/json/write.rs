//! Protobuf bytes to JSON, without a message between. Follows the merge rules of the encoding: the
//! last scalar wins, lists append, a single message that comes in pieces is joined, of a oneof the
//! last member stands.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::known;
use crate::plan::{FieldPlan, Kind, MessagePlan, Plans, Scalar, Shape, WellKnown};
use crate::wire::{Fields, Malformed, Raw, take_packed};

/// Messages may nest this deep, as prost limits them too.
const MAX_DEPTH: usize = 100;

/// Appends the message as a JSON object with every field of the plan.
pub(crate) fn write_message(
    plans: &Plans,
    plan: &MessagePlan,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    Writer { plans, out }.message(plan, bytes, MAX_DEPTH)
}

/// The text of one value for a CSV cell, an entity tag or a path: as in JSON, without quotes. Empty
/// when null.
pub(crate) fn field_text(
    plans: &Plans,
    field: &FieldPlan,
    raw: Option<Raw<'_>>,
) -> Result<String, Malformed> {
    let text = |raw| match raw {
        Raw::Bytes(bytes) => utf8(bytes).map(str::to_owned),
        _ => Err(Malformed),
    };
    match (field.kind, raw) {
        (_, None) if field.presence => Ok(String::new()),
        (Kind::Scalar(Scalar::String), None) => Ok(String::new()),
        (Kind::Scalar(Scalar::String), Some(raw)) => text(raw),
        (Kind::WellKnown(WellKnown::Timestamp), Some(Raw::Bytes(bytes))) => known::timestamp(bytes),
        (kind, raw) => {
            let mut out = Vec::new();
            Writer { plans, out: &mut out }.value(kind, raw, MAX_DEPTH)?;
            let json = String::from_utf8(out).map_err(|_| Malformed)?;
            let word = json.trim_matches('"');
            Ok(if word == "null" { String::new() } else { word.to_owned() })
        }
    }
}

struct Writer<'a> {
    plans: &'a Plans,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn message(&mut self, plan: &MessagePlan, bytes: &[u8], left: usize) -> Result<(), Malformed> {
        let left = left.checked_sub(1).ok_or(Malformed)?;
        let found = collect(plan, bytes)?;
        self.out.push(b'{');
        let mut rest = found.as_slice();
        let mut first = true;
        for (index, field) in plan.fields.iter().enumerate() {
            let count = rest.iter().take_while(|(i, _)| *i == index).count();
            let (values, after) = rest.split_at(count);
            rest = after;
            if field.behavior.input_only {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&field.json_key);
            self.field(field, values, left)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn field(
        &mut self,
        field: &FieldPlan,
        values: &[(usize, Raw<'_>)],
        left: usize,
    ) -> Result<(), Malformed> {
        match field.shape {
            Shape::List => self.list(field, values, left),
            Shape::Map(key) => self.map(field, key, values, left),
            Shape::Single if values.is_empty() && field.presence => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
            Shape::Single if values.len() > 1 && is_message(field.kind) => {
                let mut joined = Vec::new();
                for (_, raw) in values {
                    let Raw::Bytes(piece) = raw else {
                        return Err(Malformed);
                    };
                    joined.extend_from_slice(piece);
                }
                self.value(field.kind, Some(Raw::Bytes(&joined)), left)
            }
            Shape::Single => self.value(field.kind, values.last().map(|(_, raw)| *raw), left),
        }
    }

    fn list(&mut self, field: &FieldPlan, values: &[(usize, Raw<'_>)], left: usize) -> Result<(), Malformed> {
        let packed = match field.kind {
            Kind::Scalar(Scalar::String | Scalar::Bytes) => None,
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Enum(_) => Some(Scalar::Int32),
            Kind::Message(_) | Kind::WellKnown(_) => None,
        };
        self.out.push(b'[');
        let mut first = true;
        for (_, raw) in values {
            match (packed, *raw) {
                (Some(scalar), Raw::Bytes(mut items)) => {
                    while !items.is_empty() {
                        let item = take_packed(scalar, &mut items)?;
                        self.separate(&mut first);
                        self.value(field.kind, Some(item), left)?;
                    }
                }
                (_, raw) => {
                    self.separate(&mut first);
                    self.value(field.kind, Some(raw), left)?;
                }
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(
        &mut self,
        field: &FieldPlan,
        key_kind: Scalar,
        values: &[(usize, Raw<'_>)],
        left: usize,
    ) -> Result<(), Malformed> {
        self.out.push(b'{');
        let mut first = true;
        for (_, raw) in values {
            let Raw::Bytes(entry) = *raw else {
                return Err(Malformed);
            };
            let (mut key, mut value) = (None, None);
            for part in Fields(entry) {
                match part? {
                    (1, raw) => key = Some(raw),
                    (2, raw) => value = Some(raw),
                    _ => {}
                }
            }
            self.separate(&mut first);
            self.map_key(key_kind, key)?;
            self.out.push(b':');
            self.value(field.kind, value, left)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn map_key(&mut self, kind: Scalar, key: Option<Raw<'_>>) -> Result<(), Malformed> {
        if kind == Scalar::String {
            return put_scalar(self.out, kind, key);
        }
        self.out.push(b'"');
        put_scalar(self.out, kind, key)?;
        self.out.push(b'"');
        Ok(())
    }

    /// One value; `None` is the kind's zero.
    fn value(&mut self, kind: Kind, raw: Option<Raw<'_>>, left: usize) -> Result<(), Malformed> {
        match kind {
            Kind::Scalar(scalar) => put_scalar(self.out, scalar, raw),
            Kind::Enum(id) => {
                let number = match raw {
                    None => 0,
                    Some(Raw::Varint(n)) => n as i32,
                    Some(_) => return Err(Malformed),
                };
                let plan = self.plans.enumeration(id);
                match plan.word(number) {
                    Some(word) => put_string(self.out, word),
                    None if number == 0 && plan.zero_is_null => self.out.extend_from_slice(b"null"),
                    // A value that this contract does not name yet: a newer service may send it.
                    None => put_json(self.out, &number),
                }
                Ok(())
            }
            Kind::Message(id) => {
                let bytes = message_bytes(raw)?;
                self.message(self.plans.message(id), bytes, left)
            }
            Kind::WellKnown(known) => known::write(known, message_bytes(raw)?, self.out),
        }
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
    }
}

/// The values of a message ordered by the plan's fields; of a oneof only the last member.
fn collect<'b>(plan: &MessagePlan, bytes: &'b [u8]) -> Result<Vec<(usize, Raw<'b>)>, Malformed> {
    let mut found: Vec<(usize, Raw<'b>)> = Vec::with_capacity(plan.fields.len());
    let mut sorted = true;
    for field in Fields(bytes) {
        let (number, raw) = field?;
        let Some(index) = plan.index_of_number(number) else {
            continue;
        };
        if let Some(oneof) = plan.fields[index].oneof {
            found.retain(|(i, _)| *i == index || plan.fields[*i].oneof != Some(oneof));
        }
        sorted &= found.last().is_none_or(|(last, _)| *last <= index);
        found.push((index, raw));
    }
    if !sorted {
        found.sort_by_key(|(index, _)| *index);
    }
    Ok(found)
}

fn is_message(kind: Kind) -> bool {
    matches!(kind, Kind::Message(_) | Kind::WellKnown(_))
}

fn message_bytes(raw: Option<Raw<'_>>) -> Result<&[u8], Malformed> {
    match raw {
        None => Ok(&[]),
        Some(Raw::Bytes(bytes)) => Ok(bytes),
        Some(_) => Err(Malformed),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Writes a scalar; `None` is its zero.
pub(super) fn put_scalar(out: &mut Vec<u8>, scalar: Scalar, raw: Option<Raw<'_>>) -> Result<(), Malformed> {
    match scalar {
        Scalar::String => put_string(out, utf8(message_bytes(raw)?)?),
        Scalar::Bytes => put_string(out, &BASE64_STANDARD.encode(message_bytes(raw)?)),
        Scalar::Fixed32 | Scalar::Sfixed32 | Scalar::Float => {
            let bits = match raw {
                None => 0,
                Some(Raw::Fixed32(bits)) => bits,
                Some(_) => return Err(Malformed),
            };
            match scalar {
                Scalar::Fixed32 => put_json(out, &bits),
                Scalar::Sfixed32 => put_json(out, &(bits as i32)),
                _ => put_json(out, &f32::from_bits(bits)),
            }
        }
        Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Double => {
            let bits = match raw {
                None => 0,
                Some(Raw::Fixed64(bits)) => bits,
                Some(_) => return Err(Malformed),
            };
            match scalar {
                Scalar::Fixed64 => put_json(out, &bits),
                Scalar::Sfixed64 => put_json(out, &(bits as i64)),
                _ => put_json(out, &f64::from_bits(bits)),
            }
        }
        _ => {
            let n = match raw {
                None => 0,
                Some(Raw::Varint(n)) => n,
                Some(_) => return Err(Malformed),
            };
            put_varint_json(out, scalar, n);
        }
    }
    Ok(())
}

fn put_varint_json(out: &mut Vec<u8>, scalar: Scalar, n: u64) {
    match scalar {
        Scalar::Bool => put_json(out, &(n != 0)),
        Scalar::Int32 => put_json(out, &(n as i32)),
        Scalar::Uint32 => put_json(out, &(n as u32)),
        Scalar::Uint64 => put_json(out, &n),
        Scalar::Sint32 => put_json(out, &(((n as u32) >> 1) as i32 ^ -((n & 1) as i32))),
        Scalar::Sint64 => put_json(out, &((n >> 1) as i64 ^ -((n & 1) as i64))),
        _ => put_json(out, &(n as i64)),
    }
}

pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_json(out, text);
}

/// A number of a Value: whole ones without a fraction.
pub(super) fn put_number(out: &mut Vec<u8>, n: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() < EXACT {
        put_json(out, &(n as i64));
    } else {
        put_json(out, &n);
    }
}

fn put_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // NaN and the infinities have no JSON form; serde_json writes null for them.
    serde_json::to_writer(out, value).expect("scalars serialize and memory takes them");
}
