//! One port of a process: gRPC services behind their doors, health and reflection, and beside them
//! `/healthz`, `/readyz` and `/metrics` for HTTP/1.

mod health;
mod listen;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;

pub use health::{Health, Weight};
pub use listen::serve;

use crate::deps::Service;
use crate::error::{Error, Result};

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Collects what one port serves.
pub struct ServerBuilder {
    health: Health,
    services: Vec<Service>,
    descriptors: Vec<&'static [u8]>,
    metrics: Option<Render>,
}

/// A port that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// A server whose readiness is that of `health`.
    pub fn builder(health: Health) -> ServerBuilder {
        ServerBuilder { health, services: Vec::new(), descriptors: Vec::new(), metrics: None }
    }

    /// Where it listens: the port that the system chose, when port 0 was asked for.
    ///
    /// # Errors
    /// Internal, when the system does not say.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(Error::internal)
    }

    /// Answers until `stop`, then lets running calls end.
    ///
    /// # Errors
    /// None at present; a listener that breaks is tried again.
    pub async fn serve(self, stop: CancellationToken) -> Result<()> {
        serve(self.listener, self.router, stop).await
    }
}

impl ServerBuilder {
    /// Serves `service`.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Lets reflection tell of those services in these encoded descriptors that this port serves.
    #[must_use]
    pub fn reflection(mut self, file_descriptor_set: &'static [u8]) -> Self {
        self.descriptors.push(file_descriptor_set);
        self
    }

    /// What `/metrics` answers.
    #[must_use]
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(render));
        self
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// Unavailable when the address cannot be had; Internal when a gRPC service is given twice or
    /// descriptors cannot be read.
    pub async fn bind(self, address: SocketAddr) -> Result<Server> {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            Error::unavailable("cannot_listen", format!("cannot listen on {address}: {e}")).with_source(e)
        })?;
        let names = self.services.iter().flat_map(|service| &service.grpc);
        self.health.tell_for(names.copied()).await;
        Ok(Server { listener, router: self.router()? })
    }

    fn router(self) -> Result<Router> {
        let mut seen = std::collections::HashSet::new();
        let mut names = self.services.iter().flat_map(|service| &service.grpc);
        if let Some(twice) = names.find(|name| !seen.insert(**name)) {
            return Err(Error::internal(format!("{twice} is served twice")));
        }
        let health = self.health.clone();
        let mut router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async move || ready(&health)))
            .merge(self.open_routes()?);
        if let Some(render) = self.metrics {
            router = router.route("/metrics", get(async move || metrics_page(render())));
        }
        for service in self.services {
            // Each set of routes has its own fallback; a router can have one.
            router = router.merge(service.routes.into_axum_router().reset_fallback());
        }
        Ok(router.fallback(nothing_here))
    }

    /// Health and reflection: outside of the doors, for everybody who reaches the port.
    fn open_routes(&self) -> Result<Router> {
        let mut routes = Routes::new(self.health.grpc());
        if !self.descriptors.is_empty() {
            routes = routes.add_service(self.reflected(REFLECTION).build_v1().map_err(Error::internal)?);
            let alpha = self.reflected(REFLECTION_ALPHA).build_v1alpha();
            routes = routes.add_service(alpha.map_err(Error::internal)?);
        }
        Ok(routes.into_axum_router().reset_fallback())
    }

    fn reflected(&self, itself: &str) -> tonic_reflection::server::Builder<'static> {
        let health = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let described = self
            .descriptors
            .iter()
            .fold(health, |builder, set| builder.register_encoded_file_descriptor_set(set));
        let served = self.services.iter().flat_map(|service| &service.grpc).copied();
        served.chain([HEALTH, itself]).fold(described, |builder, name| builder.with_service_name(name))
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("services", &self.services).finish_non_exhaustive()
    }
}

fn ready(health: &Health) -> Response {
    let report = health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

fn metrics_page(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn nothing_here(headers: HeaderMap) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|value| value.starts_with("application/grpc")) {
        return Status::unimplemented("there is no such service").into_http();
    }
    let problem = Error::not_found("page").problem("about:blank");
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::NOT_FOUND, kind, Json(problem)).into_response()
}
