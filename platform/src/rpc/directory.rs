use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use super::headers;
use crate::access::service_of;
use crate::ctx::Ctx;
use crate::deps::Service;
use crate::error::{Error, Kind, Result};
use crate::token::ServiceTokens;

/// What a generated client is made of: in-process routes or a channel, boxed alike. The error is a
/// [`Status`] and no box, because with a box the compiler cannot prove a client's futures `Send`.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// [`Transport`] with a boxed error, for crates that do not know ours (transcode).
pub type BoxedTransport =
    BoxCloneSyncService<Request<Body>, Response<Body>, Box<dyn std::error::Error + Send + Sync>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// For calls whose context has no deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where each service is: in this process or at an address. Filled while the process is put
/// together; a transport finds its service when it is called, so services can hold clients of one
/// another before all of them exist. Clones share the entries.
#[derive(Clone)]
pub struct Directory {
    targets: Arc<RwLock<HashMap<String, Target>>>,
    tokens: ServiceTokens,
    #[cfg(feature = "testing")]
    faults: super::Faults,
}

#[derive(Clone)]
enum Target {
    Local(Routes),
    Remote(Channel),
}

impl Directory {
    /// An empty directory; `tokens` are what our services show to other processes.
    pub fn new(tokens: ServiceTokens) -> Self {
        Self {
            targets: Arc::default(),
            tokens,
            #[cfg(feature = "testing")]
            faults: super::Faults::default(),
        }
    }

    /// `service` is in this process: its gRPC services are found by their full names.
    pub fn add(&self, service: &Service) {
        for name in &service.grpc {
            self.set_local(name, service.routes.clone());
        }
    }

    /// The proto package or full service name `name` is served by `routes`, which stand behind
    /// their door.
    pub fn set_local(&self, name: &str, routes: Routes) {
        self.set(name, Target::Local(routes));
    }

    /// The proto package or full service name `name` is at `uri` (`http://host:port`). Connects when
    /// it is first called, and again after a broken connection. Needs a tokio runtime.
    ///
    /// # Errors
    /// Invalid, when `uri` is none.
    pub fn set_remote(&self, name: &str, uri: &str) -> Result<()> {
        let endpoint = Endpoint::from_shared(uri.to_owned())
            .map_err(|e| Error::invalid("invalid_address", format!("{uri} is no address")).with_source(e))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        self.set(name, Target::Remote(endpoint.connect_lazy()));
        Ok(())
    }

    fn set(&self, name: &str, target: Target) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        targets.insert(name.to_owned(), target);
    }

    /// What clients of `name` (a proto package or full service name) are made with:
    /// `IncidentServiceClient::new(directory.transport("pulseops.incident.v1"))`. Calls go to the
    /// service that their path names; one that nobody serves answers Unavailable.
    pub fn transport(&self, name: &str) -> Transport {
        let (directory, name): (_, Arc<str>) = (self.clone(), name.into());
        BoxCloneSyncService::new(service_fn(move |request| {
            let (directory, name) = (directory.clone(), name.clone());
            async move { directory.call(&name, request).await }
        }))
    }

    /// [`Directory::transport`] with a boxed error.
    pub fn boxed_transport(&self, name: &str) -> BoxedTransport {
        BoxCloneSyncService::new(self.transport(name).map_err(Into::into))
    }

    /// Whether calls to `name` (a proto package or full service name) have somewhere to go.
    pub fn knows(&self, name: &str) -> bool {
        self.target(name, name).is_some()
    }

    /// Faults that tests put into calls.
    #[cfg(feature = "testing")]
    pub fn faults(&self) -> &super::Faults {
        &self.faults
    }

    fn target(&self, service: &str, name: &str) -> Option<Target> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let package = service.rsplit_once('.').map_or("", |(package, _)| package);
        [service, package, name].into_iter().find_map(|key| targets.get(key)).cloned()
    }

    async fn call(&self, name: &str, request: Request<Body>) -> Result<Response<Body>, Status> {
        #[cfg(feature = "testing")]
        let lose_answer = match self.faults.meet(request.uri().path()).await {
            Ok(lose_answer) => lose_answer,
            Err(error) => return Err(error.into()),
        };
        let answer = self.route(name, request).await;
        #[cfg(feature = "testing")]
        if lose_answer {
            return Err(unavailable("the answer was lost".to_owned()).into());
        }
        answer
    }

    async fn route(&self, name: &str, request: Request<Body>) -> Result<Response<Body>, Status> {
        match self.target(service_of(request.uri().path()), name) {
            Some(Target::Local(routes)) => routes.oneshot(request).await.map_err(|never| match never {}),
            Some(Target::Remote(channel)) => self.remote(channel, request).await,
            None => Err(unavailable(format!("{name} is not served")).into()),
        }
    }

    async fn remote(&self, channel: Channel, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let cx = request.extensions_mut().remove::<Ctx>();
        let timeout = cx.as_ref().and_then(Ctx::remaining).unwrap_or(DEFAULT_TIMEOUT);
        if let Some(cx) = cx {
            headers::write(&cx, request.headers_mut(), &self.tokens)?;
        }
        let call = channel.oneshot(request);
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            // The connection is at fault, not the service: its own errors come as answers.
            Ok(Err(error)) => Err(broken(error).into()),
            Err(_) => Err(too_late().into()),
        }
    }
}

fn broken(error: tonic::transport::Error) -> Error {
    let error = Error::from(Status::from_error(Box::new(error)));
    match error.kind {
        // The channel watches the deadline that it sends along, too.
        Kind::Timeout => too_late(),
        _ => unavailable("the service cannot be reached".to_owned()).with_source(error),
    }
}

fn too_late() -> Error {
    Error::timeout("deadline_exceeded", "the call took too long")
}

fn unavailable(detail: String) -> Error {
    Error::unavailable("service_unavailable", detail)
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = targets.keys().collect();
        names.sort_unstable();
        f.debug_tuple("Directory").field(&names).finish()
    }
}
