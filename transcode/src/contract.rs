//! The whole contract, planned once: operations, messages, routes.

use std::collections::HashMap;

use http::{HeaderName, Method};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::annotations::{Annotations, HttpRule, OpFacts};
use crate::comments::Comments;
use crate::json::{Reader, parse, write_message};
use crate::names::snake_case;
use crate::operation::{Access, Binding, Body, Door, Operation};
use crate::plan::Plans;
use crate::problem::Fault;
use crate::route::{HTTP_BODY, Route};
use crate::template::Template;

/// What the transcoder must be told; everything else stands in the pool.
#[derive(Debug, Clone)]
pub struct Options {
    /// Full name of the method option that says who may call an operation and how it answers: a
    /// message with the fields `access` (enum), `status`, `etag`, `idempotent`, `csv` and `door`
    /// (enum), of which only `access` is required.
    pub op_extension: String,
    /// Largest request body in bytes; 1 MiB.
    pub body_limit: usize,
    /// Largest answer of a service in bytes; 64 MiB.
    pub answer_limit: usize,
    /// How deep a JSON body may nest; 64.
    pub json_depth: usize,
    /// Request headers that travel on as gRPC metadata, beside `if-match` and `idempotency-key`.
    pub forwarded_headers: Vec<HeaderName>,
}

impl Options {
    /// The defaults, with the full name of the operation option.
    pub fn new(op_extension: impl Into<String>) -> Self {
        let forwarded = ["traceparent", "tracestate", "x-request-id", "grpc-timeout"];
        let mut forwarded_headers: Vec<_> = forwarded.into_iter().map(HeaderName::from_static).collect();
        forwarded_headers.push(http::header::AUTHORIZATION);
        Self {
            op_extension: op_extension.into(),
            body_limit: 1 << 20,
            answer_limit: 64 << 20,
            json_depth: 64,
            forwarded_headers,
        }
    }
}

/// Everything that keeps a contract from being served, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the contract cannot be served:\n{}", .0.join("\n"))]
pub struct ContractError(Vec<String>);

impl ContractError {
    /// One line for each fault.
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

/// A contract ready to be served and described.
pub struct Contract {
    pub(crate) options: Options,
    pub(crate) pool: DescriptorPool,
    pub(crate) annotations: Annotations,
    pub(crate) comments: Comments,
    pub(crate) services: Vec<ServiceDescriptor>,
    pub(crate) plans: Plans,
    pub(crate) routes: Vec<Route>,
    operations: Vec<Operation>,
    by_route: HashMap<(Method, String), usize>,
}

impl Contract {
    /// Plans every RPC of the pool. The pool must hold its custom options, and its source info if
    /// the document is to have descriptions.
    ///
    /// # Errors
    /// All that cannot be served, at once: unknown fields in paths, nested messages as query
    /// parameters, kinds without a JSON form, two operations on one route, …
    pub fn new(pool: DescriptorPool, options: Options) -> Result<Self, ContractError> {
        let annotations =
            Annotations::new(&pool, &options.op_extension).map_err(|fault| ContractError(vec![fault]))?;
        let comments = Comments::new(&pool);
        let mut faults = Vec::new();
        let services: Vec<_> = pool.services().collect();
        let operations: Vec<_> = services
            .iter()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter_map(|method| match operation(&method, &annotations, &comments) {
                Ok(operation) => Some(operation),
                Err(why) => {
                    faults.push(format!("{}: {why}", method.full_name()));
                    None
                }
            })
            .collect();
        let by_route = by_route(&operations, &mut faults);
        let plans = plans(&operations, &annotations, &mut faults);
        if !faults.is_empty() {
            return Err(ContractError(faults));
        }
        let routes = routes(&operations, &plans, &annotations).map_err(ContractError)?;
        Ok(Self { options, pool, annotations, comments, services, plans, routes, operations, by_route })
    }

    /// Every RPC, in the order of the files; internal ones and those served by hand too.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation with this operationId.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    /// The operation at a route template, whatever its variables are called there: with axum's
    /// `MatchedPath` a `route_layer` of the host learns what is about to be called before the body
    /// is read. HEAD finds GET.
    pub fn find(&self, method: &Method, template: &str) -> Option<&Operation> {
        let shape = Template::parse(template).ok()?.shape();
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.by_route.get(&(method, shape)).map(|index| &self.operations[*index])
    }

    /// The REST JSON of an encoded message, for doors by hand. `None` when no documented operation
    /// reaches the message or the bytes are not one.
    pub fn write_json(&self, message: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let plan = self.plans.message(self.plans.find(message)?);
        let mut out = Vec::with_capacity(bytes.len() * 2 + 64);
        write_message(&self.plans, plan, bytes, &mut out).ok()?;
        Some(out)
    }

    /// An encoded message from its REST JSON, for doors by hand; `None` when no documented
    /// operation reaches the message.
    ///
    /// # Errors
    /// Malformed JSON, or all that does not fit the message.
    pub fn read_json(&self, message: &str, json: &[u8]) -> Option<Result<Vec<u8>, Fault>> {
        let plan = self.plans.message(self.plans.find(message)?);
        Some(parse(json, self.options.json_depth).and_then(|node| {
            let mut reader = Reader::new(&self.plans);
            let mut out = Vec::with_capacity(json.len());
            reader.message(plan, &node, &[], &mut out);
            reader.into_faults().into_result().map(|()| out)
        }))
    }

    pub(crate) fn operation_of(&self, route: &Route) -> &Operation {
        &self.operations[route.operation]
    }
}

fn operation(
    method: &MethodDescriptor,
    annotations: &Annotations,
    comments: &Comments,
) -> Result<Operation, String> {
    let facts = annotations.op(method).unwrap_or_default();
    let http = annotations.http_rule(method)?.map(binding).transpose()?;
    let verb = http.as_ref().map(|binding| binding.method.clone());
    let service = method.parent_service().full_name().to_owned();
    Ok(Operation {
        name: snake_case(method.name()),
        rpc_path: format!("/{service}/{}", method.name()),
        service,
        access: Access::from_word(facts.access.as_deref()),
        door: if facts.hand { Door::Hand } else { Door::Transcode },
        status: success(method, &facts),
        etag: facts.etag,
        idempotent: match verb {
            Some(Method::POST) => facts.idempotent.unwrap_or(true),
            Some(_) => false,
            None => facts.idempotent.unwrap_or(false),
        },
        csv: facts.csv,
        comment: comments.text(&method.parent_file(), method.path()).map(str::to_owned),
        descriptor: method.clone(),
        http,
    })
}

fn binding(rule: HttpRule) -> Result<Binding, String> {
    Ok(Binding {
        method: rule.method,
        template: Template::parse(&rule.path)?,
        body: match rule.body.as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            field => Body::Field(field.to_owned()),
        },
    })
}

fn success(method: &MethodDescriptor, facts: &OpFacts) -> u16 {
    match facts.status {
        Some(status) => status,
        None if method.output().full_name() == "google.protobuf.Empty" => 204,
        None if method.name().starts_with("Create") => 201,
        None => 200,
    }
}

fn by_route(operations: &[Operation], faults: &mut Vec<String>) -> HashMap<(Method, String), usize> {
    let mut routes = HashMap::new();
    for (index, operation) in operations.iter().enumerate().filter(|(_, o)| o.is_documented()) {
        let Some(binding) = &operation.http else {
            continue;
        };
        let key = (binding.method.clone(), binding.template.shape());
        if let Some(other) = routes.insert(key, index) {
            let other: &Operation = &operations[other];
            faults.push(format!(
                "{}: {} {} is already the route of {}",
                operation.descriptor.full_name(),
                binding.method,
                binding.template.as_str(),
                other.descriptor.full_name(),
            ));
        }
    }
    routes
}

fn plans(operations: &[Operation], annotations: &Annotations, faults: &mut Vec<String>) -> Plans {
    let mut plans = Plans::new();
    for operation in operations.iter().filter(|operation| operation.is_documented()) {
        for message in [operation.input(), operation.output()] {
            if message.full_name() != HTTP_BODY {
                plans.add(&message, annotations, faults);
            }
        }
    }
    plans
}

fn routes(
    operations: &[Operation],
    plans: &Plans,
    annotations: &Annotations,
) -> Result<Vec<Route>, Vec<String>> {
    let mut routes = Vec::new();
    let mut faults = Vec::new();
    for (index, operation) in operations.iter().enumerate().filter(|(_, o)| o.is_routed()) {
        match Route::plan(index, operations, plans, annotations) {
            Ok(route) => routes.push(route),
            Err(why) => faults.push(format!("{}: {why}", operation.descriptor.full_name())),
        }
    }
    if faults.is_empty() { Ok(routes) } else { Err(faults) }
}
