//! Well-known types: Struct, Value, ListValue, FieldMask and the wrappers, both ways.

use std::collections::HashSet;

use super::document::Node;
use super::read::Reader;
use super::scalar::{self, rfc3339};
use super::write::{put_number, put_scalar, put_string};
use crate::plan::{Scalar, WellKnown};
use crate::wire::{Fields, Malformed, Raw, put_field};

/// Objects and lists inside a Value may nest this deep in an answer.
const MAX_DEPTH: usize = 100;

impl Reader<'_> {
    /// The message's encoding, or a fault at the current path.
    pub(super) fn known(&mut self, known: WellKnown, node: &Node<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match (known, node) {
            (WellKnown::Value, node) => self.put_value(node, &mut out),
            (WellKnown::Struct, Node::Object(members)) => {
                self.nested(|reader| reader.put_struct(members, &mut out));
            }
            (WellKnown::ListValue, Node::Array(items)) => {
                self.nested(|reader| reader.put_list(items, &mut out));
            }
            (WellKnown::Timestamp, Node::String(text)) => match self.bound(scalar::from_time(text))? {
                scalar::Bound::Owned(bytes) => out = bytes,
                scalar::Bound::Raw(_) => return None,
            },
            (WellKnown::FieldMask, Node::String(text)) => {
                for path in text.split(',').filter(|path| !path.is_empty()) {
                    put_field(&mut out, 1, Raw::Bytes(path.as_bytes()));
                }
            }
            (WellKnown::Wrapper(inner), node) => {
                let bound = self.bound(scalar::from_node(inner, node))?;
                bound.put(&mut out, Some(1));
            }
            (WellKnown::Struct, _) => return self.wrong("invalid_type", "must be an object"),
            (WellKnown::ListValue, _) => return self.wrong("invalid_type", "must be an array"),
            (WellKnown::Timestamp | WellKnown::FieldMask, _) => {
                return self.wrong("invalid_type", "must be a string");
            }
        }
        Some(out)
    }

    fn put_struct(&mut self, members: &[(std::borrow::Cow<'_, str>, Node<'_>)], out: &mut Vec<u8>) {
        let mut seen = HashSet::with_capacity(members.len());
        for (key, node) in members {
            if !seen.insert(key.as_ref()) {
                self.under(key, |reader| reader.fault("duplicate_key", "is given twice"));
                continue;
            }
            let mut value = Vec::new();
            let mut entry = Vec::with_capacity(key.len() + 8);
            // The entry of the map is a message of its own.
            self.under(key, |reader| {
                if let Some(key) = reader.bound(scalar::from_string(key)) {
                    key.put(&mut entry, Some(1));
                }
                reader.nested(|reader| reader.put_value(node, &mut value));
            });
            put_field(&mut entry, 2, Raw::Bytes(&value));
            put_field(out, 1, Raw::Bytes(&entry));
        }
    }

    fn put_list(&mut self, items: &[Node<'_>], out: &mut Vec<u8>) {
        for (index, item) in items.iter().enumerate() {
            let mut value = Vec::new();
            self.at(index, |reader| reader.put_value(item, &mut value));
            put_field(out, 1, Raw::Bytes(&value));
        }
    }

    fn put_value(&mut self, node: &Node<'_>, out: &mut Vec<u8>) {
        self.nested(|reader| reader.put_kind(node, out));
    }

    fn put_kind(&mut self, node: &Node<'_>, out: &mut Vec<u8>) {
        match node {
            Node::Null => put_field(out, 1, Raw::Varint(0)),
            Node::Number(n) => {
                put_field(out, 2, Raw::Fixed64(n.as_f64().unwrap_or_default().to_bits()));
            }
            Node::String(text) => {
                if let Some(text) = self.bound(scalar::from_string(text)) {
                    text.put(out, Some(3));
                }
            }
            Node::Bool(value) => put_field(out, 4, Raw::Varint(u64::from(*value))),
            Node::Object(members) => {
                let mut inner = Vec::new();
                self.nested(|reader| reader.put_struct(members, &mut inner));
                put_field(out, 5, Raw::Bytes(&inner));
            }
            Node::Array(items) => {
                let mut inner = Vec::new();
                self.nested(|reader| reader.put_list(items, &mut inner));
                put_field(out, 6, Raw::Bytes(&inner));
            }
        }
    }
}

/// Writes a well-known message as JSON.
pub(super) fn write(known: WellKnown, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    match known {
        WellKnown::Timestamp => {
            put_string(out, &timestamp(bytes)?);
            Ok(())
        }
        WellKnown::Struct => write_struct(bytes, out, MAX_DEPTH),
        WellKnown::Value => write_value(bytes, out, MAX_DEPTH),
        WellKnown::ListValue => write_list(bytes, out, MAX_DEPTH),
        WellKnown::FieldMask => write_mask(bytes, out),
        WellKnown::Wrapper(scalar) => put_scalar(out, scalar, crate::wire::last(bytes, 1)?),
    }
}

/// RFC 3339 text of an encoded `google.protobuf.Timestamp`.
pub(super) fn timestamp(bytes: &[u8]) -> Result<String, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Raw::Varint(n)) => seconds = n as i64,
            (2, Raw::Varint(n)) => nanos = n as i32,
            _ => {}
        }
    }
    rfc3339(seconds, nanos).ok_or(Malformed)
}

fn write_struct(bytes: &[u8], out: &mut Vec<u8>, left: usize) -> Result<(), Malformed> {
    out.push(b'{');
    let mut first = true;
    for field in Fields(bytes) {
        let (1, Raw::Bytes(entry)) = field? else {
            continue;
        };
        let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
        for part in Fields(entry) {
            match part? {
                (1, Raw::Bytes(bytes)) => key = bytes,
                (2, Raw::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        put_scalar(out, Scalar::String, Some(Raw::Bytes(key)))?;
        out.push(b':');
        write_value(value, out, left)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_list(bytes: &[u8], out: &mut Vec<u8>, left: usize) -> Result<(), Malformed> {
    out.push(b'[');
    let mut first = true;
    for field in Fields(bytes) {
        let (1, Raw::Bytes(value)) = field? else {
            continue;
        };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_value(value, out, left)?;
    }
    out.push(b']');
    Ok(())
}

fn write_value(bytes: &[u8], out: &mut Vec<u8>, left: usize) -> Result<(), Malformed> {
    let left = left.checked_sub(1).ok_or(Malformed)?;
    let mut kind = None;
    for field in Fields(bytes) {
        kind = Some(field?).filter(|(number, _)| (1..=6).contains(number)).or(kind);
    }
    match kind {
        Some((2, Raw::Fixed64(bits))) => put_number(out, f64::from_bits(bits)),
        Some((3, raw @ Raw::Bytes(_))) => put_scalar(out, Scalar::String, Some(raw))?,
        Some((4, raw @ Raw::Varint(_))) => put_scalar(out, Scalar::Bool, Some(raw))?,
        Some((5, Raw::Bytes(inner))) => write_struct(inner, out, left)?,
        Some((6, Raw::Bytes(inner))) => write_list(inner, out, left)?,
        None | Some((1, _)) => out.extend_from_slice(b"null"),
        Some(_) => return Err(Malformed),
    }
    Ok(())
}

fn write_mask(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut paths = Vec::new();
    for field in Fields(bytes) {
        if let (1, Raw::Bytes(path)) = field? {
            paths.push(std::str::from_utf8(path).map_err(|_| Malformed)?);
        }
    }
    put_string(out, &paths.join(","));
    Ok(())
}
