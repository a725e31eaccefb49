//! What a process hands to the services that it is put together from, and what each gives back.

mod start;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::server::NamedService;
use tonic::service::Routes;

use crate::bus::Bus;
use crate::consumer::Stopped;
use crate::db::{Db, DbConfig};
use crate::door::{self, DoorParts};
use crate::egress::Egress;
use crate::error::Result;
use crate::lifecycle::Lifecycle;
use crate::rpc::Directory;
use crate::secret::{DeploymentSecret, Sealer};
use crate::source::Source;
use crate::wake::Wakes;

/// What every service is built from. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Deps {
    /// Time, ids and randomness.
    pub source: Source,
    /// The log that events travel on.
    pub bus: Arc<dyn Bus>,
    /// The pools, one a service.
    pub databases: Databases,
    /// Where the other services are.
    pub directory: Directory,
    /// What every door is made of.
    pub door: DoorParts,
    /// Where long tasks are spawned.
    pub lifecycle: Lifecycle,
    /// The deployment's secret, for keys derived from it.
    pub secret: DeploymentSecret,
    /// The one way out to addresses that users give.
    pub egress: Egress,
    /// Wake-ups of the bus in this process.
    pub wakes: Wakes,
    /// Consumers that stand still.
    pub stopped: Stopped,
}

impl Deps {
    /// Seals the stored secrets of `service`; what one service sealed, no other opens.
    pub fn sealer(&self, service: &str) -> Sealer {
        Sealer::new(self.secret.derive(&format!("sealer/{service}")), self.source.clone())
    }
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The database pools of a process, opened when they are first asked for.
#[derive(Clone)]
pub struct Databases(Arc<Pools>);

struct Pools {
    config: DbConfig,
    open: Mutex<HashMap<String, Db>>,
}

impl Databases {
    /// No pool yet.
    pub fn new(config: DbConfig) -> Self {
        Self(Arc::new(Pools { config, open: Mutex::default() }))
    }

    /// The pool of `service`: the same one each time.
    ///
    /// # Errors
    /// Invalid, code `invalid_database_url`.
    pub fn open(&self, service: &str) -> Result<Db> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = open.get(service) {
            return Ok(db.clone());
        }
        let db = Db::connect(&self.0.config, service)?;
        open.insert(service.to_owned(), db.clone());
        Ok(db)
    }

    /// Closes every pool: the last stage of a process.
    pub fn close(&self) {
        for db in self.0.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            db.close();
        }
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = open.keys().collect();
        names.sort_unstable();
        f.debug_tuple("Databases").field(&names).finish()
    }
}

/// A service as its `build` returns it: gRPC routes behind their door.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its role, for example `incident`.
    pub name: &'static str,
    /// Full names of its gRPC services.
    pub grpc: Vec<&'static str>,
    /// Its routes, behind the door.
    pub routes: Routes,
}

impl Service {
    /// Collects the gRPC services of the role `name`.
    pub fn builder(name: &'static str) -> ServiceBuilder {
        ServiceBuilder { name, grpc: Vec::new(), routes: Routes::default() }
    }
}

/// The gRPC services of a role, before they stand behind their door.
#[derive(Debug)]
pub struct ServiceBuilder {
    name: &'static str,
    grpc: Vec<&'static str>,
    routes: Routes,
}

impl ServiceBuilder {
    /// Adds a generated server.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "a builder's step, not a sum")]
    pub fn add<S>(mut self, server: S) -> Self
    where
        S: tower::Service<http::Request<tonic::body::Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.grpc.push(S::NAME);
        self.routes = self.routes.add_service(server);
        self
    }

    /// Closes the door in front of them.
    pub fn behind(self, door: DoorParts) -> Service {
        let routes = door::guard(self.name, self.routes, door);
        Service { name: self.name, grpc: self.grpc, routes }
    }
}
