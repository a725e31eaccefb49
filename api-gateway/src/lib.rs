//! api-gateway: the REST face. It owns no tables.
//!
//! RPCs of its own: `pulseops.api.v1.DeadLetterService`, through its handle on the bus. Topic out:
//! `pulseops.events.v1`. Everything else it passes on: `transcode` turns the contract into routes,
//! the services answer.
//!
//! Rooms: `edge.rs` makes the context of every request (who, trace, deadline) and answers for what
//! goes wrong on the way; `problems.rs` renders errors; `intake/` is the hand-written door for events;
//! `dead_letters.rs`; `docs.rs` (OpenAPI and its page).
//!
//! The invariant that must never break: an event is answered with 2xx only when it is durable, and
//! no request reaches a service without a context that was made here from a verified token.
//!
//! Start reading at [`build`].

pub mod config;
mod dead_letters;
mod docs;
mod edge;
mod intake;
mod problems;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use platform::deps::{Deps, Service};
use platform::error::{Error, Result};
use platform::lifecycle::Stage;
use proto::api::v1::dead_letter_service_server::DeadLetterServiceServer;
use tokio::net::TcpListener;
use transcode::{Contract, OpenApiInfo, Options};

pub use config::Config;
pub use docs::openapi;
pub use intake::Intake;

use edge::Edge;
use problems::Rendering;

/// The gateway, put together and not yet listening.
pub struct Gateway {
    /// Its own RPCs.
    pub service: Service,
    /// Its intake of events.
    pub intake: Intake,
    router: Router,
}

/// The contract as the gateway serves it.
///
/// # Errors
/// Internal, when the contract contradicts itself; a test keeps it from coming to that.
pub fn contract(config: &Config) -> Result<Contract> {
    let mut options = Options::new("pulseops.api.v1.op");
    options.body_limit = config.body_limit_bytes;
    options.json_depth = config.json_depth;
    Contract::new(proto::descriptor_pool().clone(), options).map_err(Error::internal)
}

/// Puts the gateway together and starts its intake. `ready` tells `/readyz`.
///
/// # Errors
/// Those of the bus, and of a contract that contradicts itself.
pub async fn build(
    deps: &Deps,
    config: &Config,
    ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> Result<Gateway> {
    let db = deps.db("bus")?;
    deps.housekeeping(&db);
    let dead_letters = DeadLetterServiceServer::new(dead_letters::Grpc { db, wakes: deps.wakes.clone() });
    let service = Service::builder("gateway").add(dead_letters).behind(deps.door.clone());
    deps.directory.add(&service);

    let contract = Arc::new(contract(config)?);
    let directory = deps.directory.clone();
    let transport = move |name: &str| Some(directory.boxed_transport(name));
    let rest = transcode::router(contract.clone(), transport, Arc::new(Rendering));
    let (events, intake) = intake::routes(deps, config, contract.clone()).await?;
    let by_hand = events.merge(docs::routes(&contract, ready)?);
    let by_hand = by_hand.method_not_allowed_fallback(problems::method_not_allowed);
    let edge = Edge::new(deps, config, contract);
    let router = by_hand.merge(rest).layer(from_fn_with_state(edge, edge::enter));
    Ok(Gateway { service, intake, router })
}

impl Gateway {
    /// Its routes, for tests and embedding.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Answers on `listener` until the process shuts down, then lets running requests end.
    pub fn serve(self, deps: &Deps, listener: TcpListener) {
        let router = self.router;
        deps.lifecycle.spawn(Stage::Listeners, "gateway.rest", |shutdown| async move {
            platform::server::serve(listener, router, shutdown).await
        });
    }
}

/// What OpenAPI says about the whole.
fn info() -> OpenApiInfo {
    OpenApiInfo {
        title: "PulseOps".to_owned(),
        version: "v1".to_owned(),
        description: "Events, alerts, incidents, response and history. Errors are problem documents \
                      (RFC 9457) with a stable `code`; lists are paged by `page_token`; POST takes an \
                      `Idempotency-Key`."
            .to_owned(),
        servers: vec!["/".to_owned()],
    }
}
