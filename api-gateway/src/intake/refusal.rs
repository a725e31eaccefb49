//! Why nothing of a request was taken.

use axum::body::Body;
use axum::response::Response;
use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, StatusCode};
use platform::error::Error;
use transcode::Fault;

use crate::problems;

#[derive(Debug)]
pub enum Refusal {
    Error(Error),
    Fault(Fault),
    /// The media type is none of ours.
    MediaType,
    /// The content coding is none of ours.
    Coding,
    /// The body is said to be gzip and is not.
    Gzip,
}

impl Refusal {
    pub fn into_response(self, instance: &str) -> Response<Body> {
        let of_status = |status, code, detail: &str| {
            problems::answer(&problems::of_status(status, code, detail.to_owned(), instance))
        };
        match self {
            Self::Error(error) => problems::of_error(&error, instance),
            Self::Fault(fault) => problems::of_fault(&fault, instance),
            Self::MediaType => {
                let detail = "the body must be application/json or application/x-ndjson";
                of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
            }
            Self::Coding => {
                let detail = "the body may be compressed with gzip and nothing else";
                let mut answer =
                    of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail);
                answer.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
                answer
            }
            Self::Gzip => of_status(StatusCode::BAD_REQUEST, "malformed_gzip", "the body is not gzip"),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
