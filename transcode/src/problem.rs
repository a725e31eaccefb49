//! Faults that the transcoder itself finds, and the host's way to render them.

use axum::body::Body;
use http::{HeaderMap, Method, Response, StatusCode, Uri};

use crate::operation::Operation;

/// One thing wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// Path in the body (`assignees[1]`, `impact.users`), or the name of a parameter or header.
    pub field: String,
    /// Stable snake-case word, for programs: `invalid_type`, `unknown_field`, `read_only`, …
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

impl FieldFault {
    /// What is wrong with `field`, for programs and for people.
    pub fn new(field: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { field: field.into(), code, detail: detail.into() }
    }
}

/// Faults of one request. A body can hold one for every few of its bytes, so only the first are
/// kept; the others are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    kept: Vec<FieldFault>,
    bytes: usize,
    more: usize,
}

impl Faults {
    /// How many are kept.
    pub const LIMIT: usize = 32;
    /// How many bytes of text are kept, the first fault apart.
    pub const BYTES: usize = 6 * 1024;

    /// Keeps or counts a fault.
    pub fn push(&mut self, fault: FieldFault) {
        self.add(|| fault);
    }

    /// As [`Faults::push`]; a fault that is only counted is never made.
    pub(crate) fn add(&mut self, fault: impl FnOnce() -> FieldFault) {
        if self.kept.len() == Self::LIMIT || self.bytes >= Self::BYTES {
            self.more += 1;
            return;
        }
        let fault = fault();
        self.bytes += fault.field.len() + fault.code.len() + fault.detail.len();
        if self.kept.is_empty() || self.bytes <= Self::BYTES {
            self.kept.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Those kept, in the order of the request.
    pub fn kept(&self) -> &[FieldFault] {
        &self.kept
    }

    /// How many more there are.
    pub fn more(&self) -> usize {
        self.more
    }

    /// # Errors
    /// [`Fault::Invalid`] when there are any.
    pub fn into_result(self) -> Result<(), Fault> {
        if self.kept.is_empty() { Ok(()) } else { Err(Fault::Invalid(self)) }
    }
}

impl From<FieldFault> for Faults {
    fn from(only: FieldFault) -> Self {
        let mut faults = Self::default();
        faults.push(only);
        faults
    }
}

/// Characters of a key that a path or a detail shows; keys come from the client.
const KEY_CHARS: usize = 64;

/// Adds `key` to `out`, cut to what is shown.
pub(crate) fn push_cut(out: &mut String, key: &str) {
    match key.char_indices().nth(KEY_CHARS) {
        Some((end, _)) => {
            out.push_str(&key[..end]);
            out.push('…');
        }
        None => out.push_str(key),
    }
}

/// Why a request did not reach its service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The body is not JSON (400). Line and column count from one; zero when unknown.
    MalformedJson { detail: String, line: usize, column: usize },
    /// The body nests deeper than the limit (400).
    TooDeep { limit: usize },
    /// The body ended before it was complete (400).
    IncompleteBody,
    /// The request is readable and wrong (422). Never empty.
    Invalid(Faults),
    /// If-Match carries only tags that no version can match (412).
    VersionMismatch { detail: String },
    /// The body is larger than the limit in bytes (413).
    TooLarge { limit: usize },
    /// The body is not `application/json` (415).
    UnsupportedMediaType,
    /// No media type that the client accepts is offered (406).
    NotAcceptable { offered: Vec<&'static str> },
    /// No operation stands at this path (404).
    NotFound,
    /// The path exists, the method does not (405). The router adds `Allow`.
    MethodNotAllowed,
}

impl Fault {
    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedJson { .. } | Self::TooDeep { .. } | Self::IncompleteBody => {
                StatusCode::BAD_REQUEST
            }
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::VersionMismatch { .. } => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// A stable snake-case word for the whole fault; the fields have their own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MalformedJson { .. } => "malformed_json",
            Self::TooDeep { .. } => "too_deep",
            Self::IncompleteBody => "incomplete_body",
            Self::Invalid(_) => "invalid",
            Self::VersionMismatch { .. } => "version_mismatch",
            Self::TooLarge { .. } => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::NotAcceptable { .. } => "not_acceptable",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
        }
    }

    /// One sentence for people.
    pub fn detail(&self) -> String {
        match self {
            Self::MalformedJson { detail, line: 0, .. } => detail.clone(),
            Self::MalformedJson { detail, line, column } => {
                format!("{detail} at line {line} column {column}")
            }
            Self::TooDeep { limit } => format!("the body nests deeper than {limit} levels"),
            Self::IncompleteBody => "the body ended before it was complete".into(),
            Self::Invalid(faults) => match (faults.kept(), faults.more()) {
                ([one], 0) => format!("{}: {}", one.field, one.detail),
                (many, 0) => format!("{} fields are invalid", many.len()),
                (first, more) => format!("{} fields are invalid, and {more} more", first.len()),
            },
            Self::VersionMismatch { detail } => detail.clone(),
            Self::TooLarge { limit } => format!("the body is larger than {limit} bytes"),
            Self::UnsupportedMediaType => "the body must be application/json".into(),
            Self::NotAcceptable { offered } => format!("offered here: {}", offered.join(", ")),
            Self::NotFound => "no operation at this path".into(),
            Self::MethodNotAllowed => "this path does not answer to this method".into(),
        }
    }

    /// The faults of the fields, as far as they are kept; empty unless [`Fault::Invalid`].
    pub fn fields(&self) -> &[FieldFault] {
        match self {
            Self::Invalid(faults) => faults.kept(),
            _ => &[],
        }
    }
}

/// What a rendering may need to know about the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub extensions: &'a http::Extensions,
    /// `None` where no operation was matched (404, 405).
    pub operation: Option<&'a Operation>,
}

impl RequestContext<'_> {
    /// A field path of the RPC's input as the REST client knows it: when the body is one named
    /// field (`service`), violations say `service.name` and the client wrote `name`.
    pub fn field<'f>(&self, path: &'f str) -> &'f str {
        let resource = self.operation.and_then(Operation::body_field);
        resource.and_then(|name| path.strip_prefix(name)?.strip_prefix('.')).unwrap_or(path)
    }
}

/// Renders errors: the host's one error document, whichever side found the fault.
pub trait Problems: Send + Sync + 'static {
    /// The answer for a status that a service gave. Field paths in its details are those of the
    /// RPC's input; see [`RequestContext::field`].
    fn status(&self, status: &tonic::Status, request: &RequestContext<'_>) -> Response<Body>;

    /// The answer for a fault found before a service was called.
    fn fault(&self, fault: &Fault, request: &RequestContext<'_>) -> Response<Body>;
}
