//! One request of one operation, step by step.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::LengthLimitError;
use tonic::Status;
use tonic::metadata::{AsciiMetadataKey, MetadataMap, MetadataValue};

use crate::accept::{Format, negotiate};
use crate::answer;
use crate::call::{Transport, unary};
use crate::contract::Contract;
use crate::csv::Pages;
use crate::headers::{IDEMPOTENCY_KEY, idempotency_key, if_match, is_json};
use crate::input;
use crate::operation::Operation;
use crate::problem::{Fault, Problems, RequestContext};
use crate::route::{BodyPlan, Output, Route};

/// What serves one route.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) contract: Arc<Contract>,
    /// Index of the route.
    pub(crate) route: usize,
    /// `None` when the host knows no address of the service.
    pub(crate) transport: Option<Transport>,
    pub(crate) problems: Arc<dyn Problems>,
}

/// Why a request did not succeed.
enum Refusal {
    Fault(Fault),
    /// Boxed: a Status is large and refusals are passed through every step.
    Status(Box<Status>),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Endpoint {
    pub(crate) async fn serve(self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let refusal = match self.answer(&mut parts, body).await {
            Ok(response) => return response,
            Err(refusal) => refusal,
        };
        let context = RequestContext {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
            operation: Some(self.operation()),
        };
        match refusal {
            Refusal::Fault(fault) => self.problems.fault(&fault, &context),
            Refusal::Status(status) => self.problems.status(&status, &context),
        }
    }

    async fn answer(&self, parts: &mut Parts, body: Body) -> Result<Response<Body>, Refusal> {
        let route = self.route();
        // Text in the path that is not UTF-8 names nothing.
        let variables = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| Fault::NotFound)?;
        let path: Vec<_> = variables.iter().map(|(_, value)| value).collect();
        let path = path.get(path.len().saturating_sub(route.path.len())..).unwrap_or_default();
        let format = self.format(parts)?;
        let metadata = self.metadata(parts)?;
        let body = self.read_body(parts, body).await?;
        let input = input::build(&self.contract, route, path, parts.uri.query(), &body)?;
        let transport = self.transport.clone().ok_or_else(|| {
            Status::unavailable(format!("{} has no address here", self.operation().service()))
        })?;
        let extensions = parts.extensions.clone();
        match format {
            Format::Json => {
                let request = tonic::Request::from_parts(metadata, extensions, input.into());
                let limit = self.contract.options.answer_limit;
                let reply = unary(transport, route.rpc.clone(), request, limit).await?;
                Ok(answer::render(&self.contract, route, parts, path, reply)?)
            }
            Format::Csv => {
                let contract = self.contract.clone();
                let route = self.route;
                let pages = Pages { contract, route, transport, metadata, extensions, input };
                Ok(pages.answer().await?)
            }
        }
    }

    fn route(&self) -> &Route {
        &self.contract.routes[self.route]
    }

    fn operation(&self) -> &Operation {
        self.contract.operation_of(self.route())
    }

    fn format(&self, parts: &Parts) -> Result<Format, Fault> {
        match self.route().output {
            // It brings a media type of its own.
            Output::HttpBody => Ok(Format::Json),
            Output::Empty | Output::Message(_) => {
                negotiate(&parts.headers, parts.uri.query(), self.operation().csv)
            }
        }
    }

    /// Headers that the service must see.
    fn metadata(&self, parts: &Parts) -> Result<MetadataMap, Fault> {
        let operation = self.operation();
        let mut metadata = MetadataMap::new();
        for name in &self.contract.options.forwarded_headers {
            if let Some(value) = parts.headers.get(name).and_then(|value| value.to_str().ok()) {
                put(&mut metadata, name.as_str(), value);
            }
        }
        if operation.idempotent
            && let Some(key) = idempotency_key(&parts.headers)?
        {
            put(&mut metadata, IDEMPOTENCY_KEY.as_str(), key);
        }
        if operation.etag
            && let Some(version) = if_match(&parts.headers)?
        {
            put(&mut metadata, "if-match", &version);
        }
        Ok(metadata)
    }

    /// The body, empty where the operation takes none.
    async fn read_body(&self, parts: &Parts, body: Body) -> Result<Bytes, Fault> {
        use axum::body::HttpBody as _;
        if self.route().body == BodyPlan::None {
            return Ok(Bytes::new());
        }
        let limit = self.contract.options.body_limit;
        if body.size_hint().lower() > limit as u64 {
            return Err(Fault::TooLarge { limit });
        }
        let bytes = axum::body::to_bytes(body, limit).await.map_err(|error| unread(error, limit))?;
        if !bytes.is_empty() && !is_json(&parts.headers) {
            return Err(Fault::UnsupportedMediaType);
        }
        Ok(bytes)
    }
}

/// Values with characters that metadata cannot carry are left out.
fn put(metadata: &mut MetadataMap, name: &str, value: &str) {
    let key = AsciiMetadataKey::from_bytes(name.as_bytes());
    if let (Ok(key), Ok(value)) = (key, MetadataValue::try_from(value)) {
        metadata.insert(key, value);
    }
}

fn unread(error: axum::Error, limit: usize) -> Fault {
    use std::error::Error as _;
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Fault::TooLarge { limit };
        }
        cause = error.source();
    }
    Fault::IncompleteBody
}
