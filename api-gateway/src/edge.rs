//! The first and last step of every request: its context in, its id, metrics and log line out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use platform::access::AccessTable;
use platform::ctx::Ctx;
use platform::deps::Deps;
use platform::error::Error;
use platform::rpc;
use platform::source::Source;
use platform::token::Verifier;
use tracing::Instrument;
use transcode::{Access, Contract, Operation};

use crate::config::Config;
use crate::problems;

/// Beyond the deadline of the call itself, for the answer to be written.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Edge {
    access: Arc<AccessTable>,
    verifier: Verifier,
    source: Source,
    timeout: Duration,
    contract: Arc<Contract>,
}

/// The layer around every route.
pub async fn enter(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let operation = edge.operation(&request);
    let name = operation.map_or("none", Operation::name);
    if operation.is_some_and(|operation| *operation.access() == Access::Public) {
        // Whoever it stands for, it opens nothing more; verifying might have to wait for auth-service.
        request.headers_mut().remove(AUTHORIZATION);
    }
    let cx = edge.context(request.headers(), began + edge.timeout).await;
    let span = tracing::info_span!(
        "http",
        operation = name,
        request.id = %cx.request_id,
        org.id = %cx.org,
        principal = %cx.principal.subject(),
        trace.id = cx.trace.trace_id_hex(),
    );
    request.extensions_mut().insert(cx.clone());
    let answer = async {
        match operation.map(|operation| edge.access.check(operation.rpc_path(), &cx)) {
            // Nothing of the body is read for somebody who may not send it.
            Some(Err(error)) => problems::of_error(&error, &cx.request_id.to_string()),
            _ => run(next, request, &cx).await,
        }
    };
    let mut response = answer.instrument(span.clone()).await;
    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // The router adds which methods there are.
        response = StatusCode::NO_CONTENT.into_response();
    }
    if let Ok(id) = HeaderValue::try_from(cx.request_id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(rpc::REQUEST_ID), id);
    }
    span.in_scope(|| account(&method, name, &response, began));
    response
}

impl Edge {
    pub fn new(deps: &Deps, config: &Config, contract: Arc<Contract>) -> Self {
        Self {
            access: deps.door.access.clone(),
            verifier: deps.door.verifier.clone(),
            source: deps.source.clone(),
            timeout: Duration::from_millis(config.request_timeout_ms),
            contract,
        }
    }

    fn operation(&self, request: &Request) -> Option<&Operation> {
        let path = request.extensions().get::<MatchedPath>()?;
        self.contract.find(request.method(), path.as_str())
    }

    /// Who calls, until when: `deadline`, or earlier when the client says so.
    async fn context(&self, headers: &HeaderMap, deadline: Instant) -> Ctx {
        let verified = rpc::http_parts(headers, &self.verifier, &self.source);
        let mut cx = match tokio::time::timeout_at(deadline.into(), verified).await {
            Ok(cx) => cx,
            Err(_) => {
                let mut nobody = Ctx::anonymous(self.source.clone());
                nobody.refused = Some(Arc::new(too_late()));
                nobody
            }
        };
        cx.deadline = Some(cx.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        cx
    }
}

async fn run(next: Next, mut request: Request, cx: &Ctx) -> Response {
    let limit = cx.remaining().unwrap_or_default() + GRACE;
    let instance = cx.request_id.to_string();
    if wants_csv(&request) {
        // Pages are fetched while the answer is sent, for as long as that takes: the doors' own
        // limit holds for each of them.
        request.extensions_mut().insert(Ctx { deadline: None, ..cx.clone() });
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => problems::of_error(&Error::internal("a request panicked"), &instance),
        Err(_) => problems::of_error(&too_late(), &instance),
    }
}

fn wants_csv(request: &Request) -> bool {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "format=csv") || accept.into_iter().any(|v| v.contains("text/csv"))
}

fn too_late() -> Error {
    Error::timeout("deadline_exceeded", "the request took too long")
}

fn account(method: &Method, operation: &str, response: &Response, began: Instant) {
    let status = response.status();
    let labels = [
        ("operation", operation.to_owned()),
        ("method", label(method).to_owned()),
        ("status", status.as_str().to_owned()),
    ];
    metrics::counter!("pulseops_http_requests_total", &labels).increment(1);
    metrics::histogram!("pulseops_http_duration_seconds", &labels[..1]).record(began.elapsed());
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match response.extensions().get::<Arc<Error>>() {
        Some(error) if error.is_fault() => {
            let (status, error) = (status.as_u16(), error.chain());
            tracing::warn!(%method, status, duration_ms, error, "failed");
        }
        _ => tracing::debug!(%method, status = status.as_u16(), duration_ms, "answered"),
    }
}

/// Clients may send any word as a method; a label has few values.
fn label(method: &Method) -> &str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if KNOWN.contains(method) { method.as_str() } else { "other" }
}
