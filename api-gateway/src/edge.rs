//! The first and last step of every request: its context in, its id, metrics and log line out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method};
use platform::ctx::Ctx;
use platform::deps::Deps;
use platform::error::Error;
use platform::rpc;
use platform::source::Source;
use platform::token::Verifier;
use tracing::Instrument;
use transcode::Contract;

use crate::config::Config;
use crate::problems;

/// Beyond the deadline of the call itself, for the answer to be written.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Edge {
    verifier: Verifier,
    source: Source,
    timeout: Duration,
    contract: Arc<Contract>,
}

impl Edge {
    pub fn new(deps: &Deps, config: &Config, contract: Arc<Contract>) -> Self {
        Self {
            verifier: deps.door.verifier.clone(),
            source: deps.source.clone(),
            timeout: Duration::from_millis(config.request_timeout_ms),
            contract,
        }
    }

    fn operation(&self, method: &Method, path: Option<&MatchedPath>) -> String {
        let known = path.and_then(|path| self.contract.find(method, path.as_str()));
        known.map_or_else(|| "none".to_owned(), |operation| operation.name().to_owned())
    }
}

/// The layer around every route.
pub async fn enter(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let operation = edge.operation(&method, request.extensions().get::<MatchedPath>());
    let verified = rpc::http_parts(request.headers(), &edge.verifier, &edge.source);
    let limit = edge.timeout + GRACE;
    let Ok(cx) = tokio::time::timeout(limit, verified).await else {
        return problems::of_error(&too_late(), "");
    };
    let cx = cx.with_timeout(edge.timeout);
    let span = tracing::info_span!(
        "http",
        operation,
        request.id = %cx.request_id,
        org.id = %cx.org,
        principal = %cx.principal.subject(),
        trace.id = cx.trace.trace_id_hex(),
    );
    request.extensions_mut().insert(cx.clone());
    let mut response = run(next, request, &cx, limit).instrument(span.clone()).await;
    if let Ok(id) = HeaderValue::try_from(cx.request_id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(rpc::REQUEST_ID), id);
    }
    span.in_scope(|| account(&method, &operation, &response, began));
    response
}

async fn run(next: Next, request: Request, cx: &Ctx, limit: Duration) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let instance = cx.request_id.to_string();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a request panicked");
            problems::of_error(&Error::internal("a request panicked"), &instance)
        }
        Err(_) => problems::of_error(&too_late(), &instance),
    }
}

fn too_late() -> Error {
    Error::timeout("deadline_exceeded", "the request took too long")
}

fn account(method: &Method, operation: &str, response: &Response, began: Instant) {
    let status = response.status();
    let labels =
        [("operation", operation.to_owned()), ("method", method.to_string()), ("status", status.to_string())];
    metrics::counter!("pulseops_http_requests_total", &labels).increment(1);
    metrics::histogram!("pulseops_http_duration_seconds", &labels[..1]).record(began.elapsed());
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(%method, status = status.as_u16(), duration_ms, "answered");
}
