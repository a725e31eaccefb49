//! From a body to the JSON texts of its items.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use platform::error::Error;
use serde_json::value::RawValue;
use transcode::{Fault, FieldFault};

use crate::config::IntakeConfig;

/// The JSON text of each item, in order.
#[derive(Debug)]
pub struct Texts {
    /// A line of NDJSON that is not JSON: what is wrong with it.
    pub items: Vec<Result<Box<RawValue>, String>>,
    /// The body was one object.
    pub single: bool,
}

/// Why nothing of a request was taken.
#[derive(Debug)]
pub enum Unreadable {
    Error(Error),
    Fault(Fault),
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

enum Shape {
    Json,
    Lines,
}

/// Reads and splits the body.
pub async fn read(headers: &HeaderMap, body: Body, limits: &IntakeConfig) -> Result<Texts, Unreadable> {
    let shape = shape(headers)?;
    let bytes = collect(headers, body, limits).await?;
    let texts = match shape {
        Shape::Lines => lines(&bytes),
        Shape::Json => json(&bytes)?,
    };
    if texts.items.is_empty() {
        let empty = FieldFault { field: "events".into(), code: "too_few", detail: "holds no event".into() };
        return Err(Fault::Invalid(vec![empty]).into());
    }
    Ok(texts)
}

fn shape(headers: &HeaderMap) -> Result<Shape, Fault> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Shape::Json),
        "application/x-ndjson" => Ok(Shape::Lines),
        _ => Err(Fault::UnsupportedMediaType),
    }
}

async fn collect(headers: &HeaderMap, body: Body, limits: &IntakeConfig) -> Result<Bytes, Fault> {
    // The layer around the door has taken gzip off; what is still encoded is unknown.
    if headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(Fault::UnsupportedMediaType);
    }
    match Limited::new(body, limits.expanded_limit_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_too_large(error.as_ref()) => Err(Fault::TooLarge { limit: limits.body_limit_bytes }),
        Err(_) => Err(Fault::IncompleteBody),
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// One object or an array of them.
fn json(bytes: &[u8]) -> Result<Texts, Fault> {
    let single = !bytes.trim_ascii_start().starts_with(b"[");
    let items = if single {
        serde_json::from_slice::<Box<RawValue>>(bytes).map(|item| vec![item])
    } else {
        serde_json::from_slice::<Vec<Box<RawValue>>>(bytes)
    };
    let malformed = |error: serde_json::Error| Fault::MalformedJson {
        detail: "the body is not JSON".to_owned(),
        line: error.line(),
        column: error.column(),
    };
    let items = items.map_err(malformed)?.into_iter().map(Ok).collect();
    Ok(Texts { items, single })
}

/// One object a line; empty lines count for nothing. A bad line spoils no other.
fn lines(bytes: &[u8]) -> Texts {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let parse = |line| serde_json::from_slice(line).map_err(|error| format!("is not JSON: {error}"));
    Texts { items: lines.map(parse).collect(), single: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &Texts) -> Vec<&str> {
        items.items.iter().map(|item| item.as_ref().map_or("broken", |item| item.get())).collect()
    }

    #[test]
    fn an_object_or_an_array() {
        let one = json(br#" {"name":"a"} "#).unwrap();
        assert_eq!((texts(&one), one.single), (vec![r#"{"name":"a"}"#], true));
        let two = json(br#" [{"name":"a"}, 7]"#).unwrap();
        assert_eq!((texts(&two), two.single), (vec![r#"{"name":"a"}"#, "7"], false));
        let fault = json(b"[{]").unwrap_err();
        assert!(matches!(fault, Fault::MalformedJson { line: 1, .. }), "{fault:?}");
    }

    #[test]
    fn a_bad_line_spoils_no_other() {
        let items = lines(b"{\"name\":\"a\"}\r\n\n{oops\n{\"name\":\"b\"}");
        assert_eq!(texts(&items), [r#"{"name":"a"}"#, "broken", r#"{"name":"b"}"#]);
    }
}
