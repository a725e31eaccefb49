//! One error document, whoever found the fault.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use platform::ctx::Ctx;
use platform::error::{Error, FieldError, Kind, Problem};
use transcode::{Fault, Problems, RequestContext};

/// What a client is told to wait when whoever was asked does not say, and it will pass.
const RETRY: Duration = Duration::from_secs(1);

/// Renders what services answer and what the transcoder finds.
pub struct Rendering;

impl Problems for Rendering {
    fn status(&self, status: &tonic::Status, request: &RequestContext<'_>) -> Response<Body> {
        let mut error = Error::from(status.clone());
        for fault in &mut error.fields {
            fault.field = request.field(&fault.field).to_owned();
        }
        // The codec says `invalid` however many faults there are; one fault speaks for itself.
        if error.code == proto::codec::INVALID && !error.fields.is_empty() {
            error = Error::fields(error.fields);
        }
        of_error(&error, &instance(request.extensions))
    }

    fn fault(&self, fault: &Fault, request: &RequestContext<'_>) -> Response<Body> {
        of_fault(fault, &instance(request.extensions))
    }
}

/// The problem of one of our errors. The edge finds the error in the extensions and logs it.
pub fn of_error(error: &Error, instance: &str) -> Response<Body> {
    let mut response = answer(&error.problem(instance));
    let passes = matches!(error.kind, Kind::TooMany | Kind::Unavailable);
    if let Some(after) = error.retry_after.or(passes.then_some(RETRY)) {
        let seconds = after.as_secs_f64().ceil().max(1.0);
        if let Ok(value) = HeaderValue::try_from(format!("{seconds:.0}")) {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
    }
    if error.kind == Kind::Unauthenticated {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response.extensions_mut().insert(Arc::new(error.clone()));
    response
}

/// The problem of a fault that only HTTP knows.
pub fn of_fault(fault: &Fault, instance: &str) -> Response<Body> {
    if let Fault::Invalid(faults) = fault {
        let fields = faults.kept().iter().map(|it| FieldError::new(&it.field, it.code, &it.detail));
        let mut error = Error::fields(fields.collect());
        if faults.more() > 0 {
            (error.code, error.detail) = (fault.code(), fault.detail());
        }
        return of_error(&error, instance);
    }
    answer(&of_status(fault.status(), fault.code(), fault.detail(), instance))
}

/// What routes made by hand say to other methods. The router adds which there are.
pub async fn method_not_allowed(request: Request) -> Response<Body> {
    of_fault(&Fault::MethodNotAllowed, &instance(request.extensions()))
}

/// A problem with this status.
pub fn of_status(status: StatusCode, code: &'static str, detail: String, instance: &str) -> Problem {
    Problem {
        type_: "about:blank",
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail,
        code,
        instance: instance.to_owned(),
        errors: Vec::new(),
    }
}

/// The answer with this problem.
pub fn answer(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(problem)).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What names the request in a problem: its id.
pub fn instance(extensions: &http::Extensions) -> String {
    extensions.get::<Ctx>().map(|cx| cx.request_id.to_string()).unwrap_or_default()
}
