//! The protobuf encoding: tags, varints and lengths, and nothing of what they mean.

use crate::plan::Scalar;

/// The bytes are not a protobuf message (or not one that this contract describes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf message")]
pub(crate) struct Malformed;

/// A field's value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// Iterates over the fields of an encoded message: (number, value).
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Raw<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = take_field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn take_field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Raw<'a>), Malformed> {
    let key = take_varint(bytes)?;
    let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
    let raw = match key & 7 {
        0 => Raw::Varint(take_varint(bytes)?),
        1 => Raw::Fixed64(take_u64(bytes)?),
        2 => {
            let len = usize::try_from(take_varint(bytes)?).map_err(|_| Malformed)?;
            Raw::Bytes(take(bytes, len)?)
        }
        5 => Raw::Fixed32(take_u32(bytes)?),
        _ => return Err(Malformed),
    };
    Ok((number, raw))
}

/// The last value of a field: the one that counts for a single field.
pub(crate) fn last(message: &[u8], number: u32) -> Result<Option<Raw<'_>>, Malformed> {
    let mut found = None;
    for field in Fields(message) {
        let (n, raw) = field?;
        if n == number {
            found = Some(raw);
        }
    }
    Ok(found)
}

/// One value of a packed list.
pub(crate) fn take_packed<'a>(scalar: Scalar, bytes: &mut &'a [u8]) -> Result<Raw<'a>, Malformed> {
    Ok(match scalar {
        Scalar::Fixed32 | Scalar::Sfixed32 | Scalar::Float => Raw::Fixed32(take_u32(bytes)?),
        Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Double => Raw::Fixed64(take_u64(bytes)?),
        _ => Raw::Varint(take_varint(bytes)?),
    })
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = tail;
    Ok(head)
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, Malformed> {
    let (head, tail) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = tail;
    Ok(u32::from_le_bytes(*head))
}

fn take_u64(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let (head, tail) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = tail;
    Ok(u64::from_le_bytes(*head))
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a value without its tag, as packed lists want it.
pub(crate) fn put_value(out: &mut Vec<u8>, value: Raw<'_>) {
    match value {
        Raw::Varint(n) => put_varint(out, n),
        Raw::Fixed32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Raw::Fixed64(n) => out.extend_from_slice(&n.to_le_bytes()),
        Raw::Bytes(bytes) => {
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

/// Writes a whole field.
pub(crate) fn put_field(out: &mut Vec<u8>, number: u32, value: Raw<'_>) {
    let wire_type = match value {
        Raw::Varint(_) => 0,
        Raw::Fixed64(_) => 1,
        Raw::Bytes(_) => 2,
        Raw::Fixed32(_) => 5,
    };
    put_varint(out, u64::from(number) << 3 | wire_type);
    put_value(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_round_trip_and_truncation_is_an_error() {
        let mut bytes = Vec::new();
        let values = [Raw::Varint(u64::MAX), Raw::Fixed32(7), Raw::Fixed64(9), Raw::Bytes(b"text")];
        for (i, value) in values.iter().enumerate() {
            put_field(&mut bytes, i as u32 + 15, *value);
        }
        let read: Result<Vec<_>, _> = Fields(&bytes).collect();
        let expected: Vec<_> = values.iter().enumerate().map(|(i, v)| (i as u32 + 15, *v)).collect();
        assert_eq!(read, Ok(expected));
        for cut in 1..bytes.len() {
            assert!(Fields(&bytes[..cut]).count() >= 1, "ends at {cut}");
        }
        assert!(Fields(&bytes[..3]).any(|field| field.is_err()));
        assert_eq!(last(&bytes, 16), Ok(Some(Raw::Fixed32(7))));
    }
}
