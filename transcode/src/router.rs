//! The axum router over a contract.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Request;

use crate::call::Transport;
use crate::contract::Contract;
use crate::handler::Endpoint;
use crate::operation::Operation;
use crate::problem::{Fault, Problems, RequestContext};

/// Routes for every operation that is neither internal nor served by hand.
///
/// `transports` is asked once for each service, by its full name; operations of a service without
/// one answer `Unavailable`. Unknown paths (the router's fallback) and methods are answered through
/// `problems`. To mount doors by hand, merge a router without a fallback; where such a door shares
/// its path with an operation here, write the path exactly as the contract does.
///
/// Requests keep their extensions on the way to a service in the same process. Authentication,
/// deadlines, catching panics and tracing are layers of the host; [`Contract::find`] tells a
/// `route_layer` which operation was matched.
///
/// ```
/// use std::sync::Arc;
/// use transcode::{Contract, ContractError, Options, Problems, Transport};
///
/// fn app(
///     pool: prost_reflect::DescriptorPool,
///     services: tonic::service::Routes,
///     problems: Arc<dyn Problems>,
/// ) -> Result<axum::Router, ContractError> {
///     type Call = http::Request<tonic::body::Body>;
///     let contract = Arc::new(Contract::new(pool, Options::new("acme.api.v1.op"))?);
///     // Services of this process; a `tonic::transport::Channel` goes into the same type.
///     let local = tower::ServiceExt::<Call>::map_err(services.prepare(), Into::into);
///     let local = Transport::new(local);
///     Ok(transcode::router(contract, move |_service| Some(local.clone()), problems))
/// }
/// ```
pub fn router(
    contract: Arc<Contract>,
    transports: impl Fn(&str) -> Option<Transport>,
    problems: Arc<dyn Problems>,
) -> Router {
    let mut paths: Vec<(String, &str, MethodRouter)> = Vec::new();
    for (index, route) in contract.routes.iter().enumerate() {
        let operation = contract.operation_of(route);
        let Some(binding) = &operation.http else {
            continue;
        };
        // The contract's verbs are those of google.api.http, all of which axum filters by.
        let Ok(filter) = MethodFilter::try_from(binding.method.clone()) else {
            continue;
        };
        let endpoint = Endpoint {
            contract: contract.clone(),
            route: index,
            transport: transports(operation.service()),
            problems: problems.clone(),
        };
        let handler = move |request: Request<Body>| endpoint.clone().serve(request);
        let shape = binding.template.shape();
        match paths.iter_mut().find(|(other, ..)| *other == shape) {
            Some((_, _, methods)) => {
                *methods = std::mem::take(methods).on(filter, handler);
            }
            None => {
                let path = first_spelling(contract.operations(), &shape);
                let path = path.unwrap_or(binding.template.as_str());
                paths.push((shape, path, on(filter, handler)));
            }
        }
    }
    let mut router = Router::new();
    for (_, path, methods) in paths {
        router = router.route(path, methods.fallback(refuse(&problems, Fault::MethodNotAllowed)));
    }
    router.fallback(refuse(&problems, Fault::NotFound))
}

/// Operations of one path may call its variables differently; axum wants one spelling.
fn first_spelling<'c>(operations: &'c [Operation], shape: &str) -> Option<&'c str> {
    let bindings = operations.iter().filter(|o| o.is_documented()).filter_map(|o| o.http.as_ref());
    let mut templates = bindings.map(|binding| &binding.template);
    templates.find(|template| template.shape() == shape).map(|template| template.as_str())
}

fn refuse(
    problems: &Arc<dyn Problems>,
    fault: Fault,
) -> impl Fn(Request<Body>) -> std::future::Ready<http::Response<Body>> + Clone + use<> {
    let problems = problems.clone();
    move |request: Request<Body>| {
        let context = RequestContext {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            operation: None,
        };
        std::future::ready(problems.fault(&fault, &context))
    }
}
