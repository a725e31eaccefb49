//! The one door of every service, a tower layer around its gRPC routes. In this order: is there such
//! an operation, who calls (the verified context itself in one process, else the bearer token), until
//! when, may they (refused by default), then the handler, its panics caught and its errors mapped.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::Body;
use futures::{FutureExt, StreamExt};
use http::header::AUTHORIZATION;
use http::{Request, Response};
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use crate::access::{Access, AccessTable};
use crate::consumer::panic_text;
use crate::ctx::{Ctx, PrincipalKind};
use crate::error::{Error, Result};
use crate::rpc;
use crate::source::Source;
use crate::token::Verifier;

/// What every door is made of.
#[derive(Clone, Debug)]
pub struct DoorParts {
    /// Who may call what.
    pub access: Arc<AccessTable>,
    /// Who a token stands for.
    pub verifier: Verifier,
    /// Time, ids and randomness of the contexts.
    pub source: Source,
    /// The longest that a call may take.
    pub max_time: Duration,
    /// The largest message, in bytes, that whoever is no service may send over the wire.
    pub max_message: usize,
}

/// What stands before a message on the wire: whether it is compressed, and its length.
const FRAME: usize = 5;

/// Puts `routes` of the service `name` behind the door.
pub fn guard(name: &'static str, routes: Routes, parts: DoorParts) -> Routes {
    routes.into_axum_router().layer(DoorLayer::new(name, parts)).into()
}

/// The layer; see the module.
#[derive(Clone, Debug)]
pub struct DoorLayer {
    name: &'static str,
    parts: DoorParts,
}

impl DoorLayer {
    /// The door of the service `name`, which stands in metrics.
    pub fn new(name: &'static str, parts: DoorParts) -> Self {
        Self { name, parts }
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door { layer: self.clone(), inner }
    }
}

/// A service behind its door.
#[derive(Clone, Debug)]
pub struct Door<S> {
    layer: DoorLayer,
    inner: S,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        // The service that was polled ready is the one to be called.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let layer = self.layer.clone();
        Box::pin(async move { Ok(layer.pass(inner, request).await) })
    }
}

impl DoorLayer {
    async fn pass<S>(self, inner: S, mut request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
        S::Future: Send,
    {
        let began = Instant::now();
        let path: Arc<str> = request.uri().path().into();
        let Some(op) = self.parts.access.op(&path) else {
            return Status::unimplemented("there is no such operation").into_http();
        };
        if op.access == Access::Public {
            // Whoever it stands for, it opens nothing more; verifying might have to wait for auth-service.
            request.headers_mut().remove(AUTHORIZATION);
        }
        let deadline = began + self.parts.max_time;
        // What came through memory was bounded where it came from.
        let wired = request.extensions().get::<Ctx>().is_none();
        let given = match request.extensions_mut().remove::<Ctx>() {
            Some(cx) => Ok(self.arrived(cx)),
            // Verifying may ask auth-service; it has no more time than the call.
            None => tokio::time::timeout_at(
                deadline.into(),
                rpc::http_parts(request.headers(), &self.parts.verifier, &self.parts.source),
            )
            .await
            .map_err(|_| too_late()),
        };
        let answer = match given.and_then(|cx| self.admit(cx, path.clone(), deadline, &request)) {
            Err(error) => refuse(error, &path),
            Ok(cx) => {
                let span = rpc::span(&cx);
                if wired && cx.principal.kind != PrincipalKind::Service {
                    request = request.map(|body| bounded(body, self.parts.max_message));
                }
                handle(inner, request, cx).instrument(span).await
            }
        };
        self.count(&path, &answer, began);
        answer
    }

    /// A context that came through memory: a new step of the same trace, at the time now.
    fn arrived(&self, cx: Ctx) -> Ctx {
        let source = self.parts.source.clone();
        Ctx { trace: cx.trace.child(&source), now: source.now(), source, ..cx }
    }

    fn admit(&self, mut cx: Ctx, path: Arc<str>, deadline: Instant, request: &Request<Body>) -> Result<Ctx> {
        cx.idempotency_key = None;
        cx.if_match = None;
        cx.deadline = Some(cx.deadline.map_or(deadline, |known| known.min(deadline)));
        rpc::apply_call_headers(&mut cx, request.headers())?;
        let op = self.parts.access.check(&path, &cx)?;
        if !op.idempotent {
            cx.idempotency_key = None;
        }
        cx.rpc = path;
        Ok(cx)
    }

    fn count(&self, path: &Arc<str>, answer: &Response<Body>, began: Instant) {
        let code = format!("{:?}", code_of(answer));
        let labels = [("service", self.name.to_owned()), ("rpc", path.to_string()), ("code", code)];
        metrics::counter!("pulseops_rpc_requests_total", &labels).increment(1);
        metrics::histogram!("pulseops_rpc_duration_seconds", &labels[..2]).record(began.elapsed());
    }
}

fn bounded(body: Body, max: usize) -> Body {
    let mut left = max.saturating_add(FRAME);
    Body::from_stream(body.into_data_stream().map(move |chunk| {
        let chunk = chunk?;
        let Some(rest) = left.checked_sub(chunk.len()) else {
            let detail = format!("the message has more than {max} bytes");
            return Err(BoxError::from(Status::from(Error::invalid("too_large", detail))));
        };
        left = rest;
        Ok(chunk)
    }))
}

async fn handle<S>(mut inner: S, mut request: Request<Body>, cx: Ctx) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send,
{
    let path = cx.rpc.clone();
    let left = cx.remaining().unwrap_or(Duration::MAX);
    request.extensions_mut().insert(cx);
    let call = AssertUnwindSafe(async { inner.call(request).await }).catch_unwind();
    match tokio::time::timeout(left, call).await {
        Ok(Ok(Ok(answer))) => mapped(answer, &path),
        Ok(Err(panic)) => refuse(Error::internal(panic_text(panic.as_ref())), &path),
        Err(_) => refuse(too_late(), &path),
    }
}

fn too_late() -> Error {
    Error::timeout("deadline_exceeded", "the call took longer than the caller waits")
}

fn refuse(error: Error, path: &str) -> Response<Body> {
    log(&error, path);
    Status::from(error).into_http()
}

/// Logs the error of a handler, and gives one that is not ours (a codec's, tonic's own) our shape,
/// so that nothing of the inside leaves with it.
fn mapped(mut answer: Response<Body>, path: &str) -> Response<Body> {
    let Some(status) = answer.extensions_mut().remove::<Status>() else {
        return answer;
    };
    if status.code() == Code::Ok {
        return answer;
    }
    let ours = !status.details().is_empty();
    let metadata = status.metadata().clone();
    let error = Error::from(status);
    log(&error, path);
    if ours {
        return answer;
    }
    let mut status = Status::from(error);
    *status.metadata_mut() = metadata;
    status.into_http()
}

fn log(error: &Error, path: &str) {
    let kind = format!("{:?}", error.kind);
    if error.is_fault() {
        tracing::error!(rpc = path, kind, code = error.code, error = error.chain(), "call failed");
    } else {
        tracing::debug!(rpc = path, kind, code = error.code, error = error.chain(), "call refused");
    }
}

/// The code of an answer: of an error it stands in the headers, of a success it comes in trailers.
fn code_of(answer: &Response<Body>) -> Code {
    let header = answer.headers().get(Status::GRPC_STATUS);
    header.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}
