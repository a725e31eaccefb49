//! Between the REST JSON and the protobuf encoding.
//!
//! JSON: snake_case members, enum words in lower case, RFC 3339 times in UTC, 64-bit integers as
//! numbers, bytes as base64, every field present in answers (unset ones null).

mod document;
mod known;
mod read;
mod scalar;
mod write;

pub(crate) use document::{Node, parse};
pub(crate) use read::Reader;
pub(crate) use write::{field_text, write_message};
