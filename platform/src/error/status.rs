//! Error <-> gRPC status: `ErrorInfo.reason` carries the code, `BadRequest` the fields as
//! `code: detail`, `RetryInfo` the time to wait.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::{Error, FieldError, Kind, code};

const DOMAIN: &str = "pulseops";
const ALREADY_EXISTS: &str = "already_exists";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match (error.kind, error.code) {
            (Kind::Conflict, ALREADY_EXISTS) => Code::AlreadyExists,
            (kind, _) => kind.row().0,
        };
        let mut details = ErrorDetails::with_error_info(error.code, DOMAIN, HashMap::new());
        if !error.fields.is_empty() {
            details.set_bad_request(error.fields.iter().map(violation).collect::<Vec<_>>());
        }
        if error.retry_after.is_some() {
            details.set_retry_info(error.retry_after);
        }
        let mut status = Self::with_error_details(code, error.detail, details);
        if let Some(source) = error.source {
            status.set_source(source);
        }
        status
    }
}

fn violation(fault: &FieldError) -> FieldViolation {
    FieldViolation::new(fault.field.clone(), format!("{}: {}", fault.code, fault.detail))
}

fn fault(violation: FieldViolation) -> FieldError {
    let (code, detail) = match violation.description.split_once(": ") {
        Some((code, detail)) => (code::intern(code, ""), detail),
        None => ("", ""),
    };
    if code.is_empty() {
        return FieldError::new(violation.field, Kind::Invalid.row().2, violation.description);
    }
    FieldError::new(violation.field, code, detail)
}

fn kind_of(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::Invalid,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Forbidden,
        Code::NotFound => Kind::NotFound,
        Code::Aborted | Code::AlreadyExists => Kind::Conflict,
        Code::FailedPrecondition => Kind::Precondition,
        Code::ResourceExhausted => Kind::TooMany,
        Code::Unavailable => Kind::Unavailable,
        // tonic says "cancelled" when a channel's own timeout runs out.
        Code::DeadlineExceeded | Code::Cancelled => Kind::Timeout,
        // tonic says "out of range" when an answer is larger than its client takes.
        Code::Ok
        | Code::Unknown
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Kind::Internal,
    }
}

/// Code of an error whose status carries no `ErrorInfo`.
fn default_code(code: Code, kind: Kind) -> &'static str {
    match code {
        Code::AlreadyExists => ALREADY_EXISTS,
        Code::Unimplemented => "unimplemented",
        _ => kind.row().2,
    }
}

impl From<Status> for Error {
    /// Lossless for statuses that an [`Error`] made, its source apart. A status without our
    /// `ErrorInfo` gets its kind's own code; its message is kept only where it speaks to callers.
    fn from(status: Status) -> Self {
        let kind = kind_of(status.code());
        let details = status.get_error_details();
        let fallback = default_code(status.code(), kind);
        let ours = details.error_info().filter(|info| info.domain == DOMAIN);
        let mut error = match ours {
            Some(info) => Self::new(kind, code::intern(&info.reason, fallback), status.message()),
            None if kind == Kind::Internal => Self { code: fallback, ..Self::internal(status.message()) },
            None => Self::new(kind, fallback, status.message()),
        };
        error.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        if let Some(bad) = details.bad_request() {
            error.fields = bad.field_violations.iter().cloned().map(fault).collect();
        }
        if error.source.is_none() {
            error.source = std::error::Error::source(&status)
                .map(|source| std::sync::Arc::from(Box::from(super::chain(source))));
        }
        error
    }
}
