//! From a request to the JSON texts of its items.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use platform::error::Error;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;
use transcode::{Fault, Faults, FieldFault};

use super::refusal::Refusal;

/// What is read in no time worth mentioning; more goes to a thread of its own.
pub const SMALL: usize = 64 << 10;

/// A body as it was sent.
pub struct Sent {
    bytes: Bytes,
    shape: Shape,
    gzip: bool,
}

#[derive(Clone, Copy)]
enum Shape {
    Json,
    Lines,
}

/// The JSON text of each item, in order.
#[derive(Debug)]
pub struct Texts<'a> {
    /// A line of NDJSON that is not JSON: what is wrong with it.
    pub items: Vec<Result<&'a str, String>>,
    /// The body was one object.
    pub single: bool,
}

/// Whether a body says that it is small.
pub fn is_small(body: &Body) -> bool {
    body.size_hint().upper().is_some_and(|most| most <= SMALL as u64)
}

/// Receives a body of at most `limit` bytes.
pub async fn receive(parts: &Parts, body: Body, limit: usize) -> Result<Sent, Refusal> {
    let shape = shape(&parts.headers)?;
    let gzip = gzip(&parts.headers)?;
    no_parameters(parts.uri.query())?;
    if body.size_hint().lower() > limit as u64 {
        return Err(Fault::TooLarge { limit }.into());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(Sent { bytes: collected.to_bytes(), shape, gzip }),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::TooLarge { limit }.into()),
        Err(_) => Err(Fault::IncompleteBody.into()),
    }
}

fn shape(headers: &HeaderMap) -> Result<Shape, Refusal> {
    let given = word(headers, CONTENT_TYPE);
    match given.split(';').next().unwrap_or_default().trim() {
        "application/json" => Ok(Shape::Json),
        "application/x-ndjson" => Ok(Shape::Lines),
        _ => Err(Refusal::MediaType),
    }
}

fn gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    match word(headers, CONTENT_ENCODING).as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        _ => Err(Refusal::Coding),
    }
}

fn word(headers: &HeaderMap, name: HeaderName) -> String {
    let given: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    given.join(",").to_ascii_lowercase()
}

fn no_parameters(query: Option<&str>) -> Result<(), Fault> {
    let mut faults = Faults::default();
    for (name, _) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let detail = "is not a parameter of this operation";
        faults.push(FieldFault::new(name, "unknown_parameter", detail));
    }
    faults.into_result()
}

impl Sent {
    /// Whether reading it keeps nobody waiting.
    pub fn is_small(&self) -> bool {
        !self.gzip && self.bytes.len() <= SMALL
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the compression off; at most `limit` bytes may come out.
    pub fn expand(self, limit: usize) -> Result<Self, Refusal> {
        if !self.gzip {
            return Ok(self);
        }
        let mut expanded = Vec::with_capacity(self.bytes.len().saturating_mul(4).min(limit));
        // A file of several members, as `cat a.gz b.gz` makes it, is one body.
        let decoder = MultiGzDecoder::new(&*self.bytes);
        let read = decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut expanded);
        match read {
            Ok(length) if length > limit => Err(Fault::TooLarge { limit }.into()),
            Ok(_) => Ok(Self { bytes: expanded.into(), gzip: false, ..self }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Fault::IncompleteBody.into()),
            Err(_) => Err(Refusal::Gzip),
        }
    }

    /// Splits it into at least one and at most `most` items.
    pub fn split(&self, most: usize) -> Result<Texts<'_>, Refusal> {
        let texts = match self.shape {
            Shape::Lines => lines(&self.bytes, most)?,
            Shape::Json => json(&self.bytes, most)?,
        };
        if texts.items.is_empty() {
            let empty = FieldFault::new("events", "too_few", "holds no event");
            return Err(Fault::Invalid(empty.into()).into());
        }
        Ok(texts)
    }
}

fn too_many(most: usize) -> Refusal {
    Error::invalid("too_many_events", format!("at most {most} events are taken at once")).into()
}

/// One object or an array of them.
fn json(bytes: &[u8], most: usize) -> Result<Texts<'_>, Refusal> {
    if !bytes.trim_ascii_start().starts_with(b"[") {
        let item: &RawValue = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        return Ok(Texts { items: vec![Ok(item.get())], single: true });
    }
    let over = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let items = Items { most, over: &over }.deserialize(&mut deserializer);
    let items = items.and_then(|items| deserializer.end().map(|()| items));
    match items {
        Ok(items) => Ok(Texts { items, single: false }),
        Err(_) if over.get() => Err(too_many(most)),
        Err(error) => Err(malformed(&error).into()),
    }
}

fn malformed(error: &serde_json::Error) -> Fault {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let detail = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned();
    Fault::MalformedJson { detail, line, column }
}

/// Reads an array until it is too long: a few bytes of gzip can hold millions of items.
struct Items<'c> {
    most: usize,
    over: &'c Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<Result<&'de str, String>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<Result<&'de str, String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element::<&RawValue>()? {
            if items.len() == self.most {
                self.over.set(true);
                return Err(serde::de::Error::custom("too many items"));
            }
            items.push(Ok(item.get()));
        }
        Ok(items)
    }
}

/// One object a line; empty lines count for nothing. A bad line spoils no other.
fn lines(bytes: &[u8], most: usize) -> Result<Texts<'_>, Refusal> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let parse = |line| match serde_json::from_slice::<&RawValue>(line) {
        Ok(item) => Ok(item.get()),
        Err(error) => Err(format!("is not JSON: {error}")),
    };
    let items: Vec<_> = lines.map(parse).take(most.saturating_add(1)).collect();
    if items.len() > most { Err(too_many(most)) } else { Ok(Texts { items, single: false }) }
}

#[cfg(test)]
mod tests;
