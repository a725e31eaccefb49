//! The one error: a closed set of kinds, one table kind <-> gRPC code <-> HTTP status, a stable
//! `code` for programs and a `detail` for people. [`Display`](std::fmt::Display) never shows the
//! source; the chain is logged once, at the door.

mod code;
mod database;
mod problem;
mod status;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use problem::{Problem, ProblemField};

/// The result of everything in a core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request says something that cannot be done; sending it again will not help.
    Invalid,
    /// No token, or not a good one.
    Unauthenticated,
    /// A good token without the permission.
    Forbidden,
    /// No such thing, or another tenant's.
    NotFound,
    /// The thing's state does not allow it.
    Conflict,
    /// The version that the caller expects is gone.
    Precondition,
    /// A limit is reached; later it may be better.
    TooMany,
    /// Something needed does not answer; later it may be better.
    Unavailable,
    /// The caller's time was over.
    Timeout,
    /// Our fault.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::Precondition,
        Self::TooMany,
        Self::Unavailable,
        Self::Timeout,
        Self::Internal,
    ];

    /// The table: gRPC code, HTTP status and its phrase, and the `code` of an error of this kind
    /// that came without one.
    pub const fn row(self) -> (tonic::Code, http::StatusCode, &'static str) {
        use http::StatusCode as Http;
        use tonic::Code as Grpc;
        match self {
            Self::Invalid => (Grpc::InvalidArgument, Http::UNPROCESSABLE_ENTITY, "invalid"),
            Self::Unauthenticated => (Grpc::Unauthenticated, Http::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden => (Grpc::PermissionDenied, Http::FORBIDDEN, "forbidden"),
            Self::NotFound => (Grpc::NotFound, Http::NOT_FOUND, "not_found"),
            Self::Conflict => (Grpc::Aborted, Http::CONFLICT, "conflict"),
            Self::Precondition => {
                (Grpc::FailedPrecondition, Http::PRECONDITION_FAILED, "precondition_failed")
            }
            Self::TooMany => (Grpc::ResourceExhausted, Http::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::Unavailable => (Grpc::Unavailable, Http::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Timeout => (Grpc::DeadlineExceeded, Http::GATEWAY_TIMEOUT, "timeout"),
            Self::Internal => (Grpc::Internal, Http::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// The HTTP status of this kind.
    pub const fn http(self) -> http::StatusCode {
        self.row().1
    }
}

/// One fault of one field of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `labels["team"]`, `items[3].name`.
    pub field: String,
    /// Stable name of the rule that was broken.
    pub code: &'static str,
    /// What is wrong, for people.
    pub detail: String,
}

impl FieldError {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { field: field.into(), code, detail: detail.into() }
    }
}

/// The one error.
#[derive(Clone)]
pub struct Error {
    /// What went wrong, as far as a caller can act on it.
    pub kind: Kind,
    /// Stable snake-case name that programs rely on.
    pub code: &'static str,
    /// What is wrong, for people; holds nothing that the caller may not know.
    pub detail: String,
    /// The faults field by field; empty when it is not about fields.
    pub fields: Vec<FieldError>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// What caused it; logged at the door, never shown to a caller.
    pub source: Option<Arc<dyn StdError + Send + Sync>>,
    pub(crate) constraint: Option<Box<str>>,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            detail: detail.into(),
            fields: Vec::new(),
            retry_after: None,
            source: None,
            constraint: None,
        }
    }

    /// 422 about the request as a whole.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, detail)
    }

    /// 422 about one field.
    pub fn field(field: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, code, detail)])
    }

    /// 422 about these fields: code `invalid`, or that of the only fault.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let (code, detail) = match &fields[..] {
            // A fault of the whole body has no path.
            [only] if only.field.is_empty() => (only.code, format!("the body {}", only.detail)),
            [only] => (only.code, format!("{} {}", only.field, only.detail)),
            many => ("invalid", format!("{} fields are invalid", many.len())),
        };
        Self { fields, ..Self::invalid(code, detail) }
    }

    /// 401.
    pub fn unauthenticated(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, code, detail)
    }

    /// 403.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, detail)
    }

    /// 404 for a `noun` ("incident"): missing and another tenant's look the same.
    pub fn not_found(noun: &str) -> Self {
        Self::new(Kind::NotFound, "not_found", format!("there is no such {noun}"))
    }

    /// 409.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, detail)
    }

    /// 412.
    pub fn precondition(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Precondition, code, detail)
    }

    /// 412 `version_mismatch`: the caller expects another version than the row has
    /// ([`Ctx::expect_version`](crate::ctx::Ctx::expect_version)).
    pub(crate) fn version_mismatch(current: i64) -> Self {
        Self::precondition("version_mismatch", format!("the current version is {current}"))
    }

    /// 429.
    pub fn too_many(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::TooMany, code, detail)
    }

    /// 503.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, code, detail)
    }

    /// 504.
    pub fn timeout(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Timeout, code, detail)
    }

    /// 500; `source` is for the log only.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "internal", "something went wrong on our side").with_source(source)
    }

    /// The same error under a more precise code.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The same error with its cause, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The same error with the time after which trying again may help.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Puts `prefix` before the path of every field fault: for parts of a message checked apart.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        for fault in &mut self.fields {
            fault.field = match fault.field.as_str() {
                "" => prefix.to_owned(),
                field if field.starts_with('[') => format!("{prefix}{field}"),
                field => format!("{prefix}.{field}"),
            };
        }
        self
    }

    /// Replaces the error when the database constraint `name` made it.
    #[must_use]
    pub fn on_constraint(self, name: &str, instead: impl FnOnce() -> Self) -> Self {
        match self.constraint.as_deref() {
            Some(constraint) if constraint == name => instead(),
            _ => self,
        }
    }

    /// Name of the database constraint that made this error.
    pub fn constraint(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Timeout | Kind::TooMany)
    }

    /// Whether the transaction lost against another one and may be run again at once.
    pub fn is_serialization_failure(&self) -> bool {
        matches!(self.code, "serialization_failure" | "deadlock")
    }

    /// Whether it says more about us than about the request: logged as an error at the door.
    pub fn is_fault(&self) -> bool {
        matches!(self.kind, Kind::Internal | Kind::Unavailable | Kind::Timeout)
    }

    /// This error and its causes, joined by ": ", for the log.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// `error` and its causes, joined by ": ". A cause that its parent has already printed is left out.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("detail", &self.detail)
            .field("fields", &self.fields)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests;
