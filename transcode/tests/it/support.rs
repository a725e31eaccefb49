//! A service that answers whatever a test says, behind the router under test.

mod service;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::ServiceExt as _;
use transcode::{Contract, ContractError, Fault, Options, Problems, RequestContext, Transport};

use service::transport;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| compile(&[&protos()], "library/v1/books.proto"));

fn protos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/protos")
}

pub fn compile(includes: &[&Path], file: &str) -> DescriptorPool {
    let third_party = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/third_party");
    let includes = includes.iter().copied().chain([third_party.as_path()]);
    let mut compiler = protox::Compiler::new(includes).expect("folders exist");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(file).expect("the test's proto compiles");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("a valid set")
}

/// The contract of a .proto text that may use the library's option.
pub fn contract_of(text: &str) -> Result<Contract, ContractError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let head = "syntax = \"proto3\"; package t.v1; import \"google/api/annotations.proto\"; \
        import \"google/api/field_behavior.proto\"; import \"google/protobuf/timestamp.proto\"; \
        import \"google/protobuf/duration.proto\"; import \"google/protobuf/any.proto\"; \
        import \"google/protobuf/empty.proto\"; import \"google/protobuf/field_mask.proto\"; \
        import \"buf/validate/validate.proto\"; import \"library/v1/options.proto\";\n";
    std::fs::write(folder.path().join("t.proto"), format!("{head}{text}")).expect("written");
    let pool = compile(&[folder.path(), &protos()], "t.proto");
    Contract::new(pool, Options::new("library.v1.op"))
}

pub fn contract() -> Arc<Contract> {
    Arc::new(Contract::new(POOL.clone(), Options::new("library.v1.op")).expect("a sound contract"))
}

pub fn message(name: &str, json: Value) -> DynamicMessage {
    let descriptor = POOL.get_message_by_name(&format!("library.v1.{name}")).expect("a message");
    DynamicMessage::deserialize(descriptor, json).expect("proto JSON of the message")
}

/// What reached the service.
#[derive(Clone)]
pub struct Call {
    pub rpc: String,
    pub input: DynamicMessage,
    pub metadata: MetadataMap,
    pub extensions: http::Extensions,
}

impl Call {
    /// The set fields as canonical proto JSON with the names of the .proto.
    pub fn json(&self) -> Value {
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(false)
            .use_proto_field_name(true)
            .skip_default_fields(true);
        let serializer = serde_json::value::Serializer;
        self.input.serialize_with_options(serializer, &options).expect("serializes")
    }

    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).and_then(|value| value.to_str().ok())
    }
}

type Reply = Result<tonic::Response<DynamicMessage>, Status>;
type Answerer = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// A router over the library with a service that answers as told.
pub struct Library {
    pub router: Router,
    calls: Arc<Mutex<Vec<Call>>>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("a JSON body")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `field code` of every fault, in order.
    pub fn faults(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().cloned().unwrap_or_default();
        let word = |error: &Value, key: &str| error[key].as_str().unwrap_or_default().to_owned();
        errors.iter().map(|e| format!("{} {}", word(e, "field"), word(e, "code"))).collect()
    }
}

impl Library {
    /// Every call answers with this message.
    pub fn answering(name: &str, json: Value) -> Self {
        let reply = message(name, json);
        Self::new(move |_| Ok(tonic::Response::new(reply.clone())))
    }

    pub fn failing(code: Code, text: &'static str) -> Self {
        Self::new(move |_| Err(Status::new(code, text)))
    }

    pub fn new(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_options(Options::new("library.v1.op"), answer)
    }

    pub fn with_options(options: Options, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::over(options, |service| service, answer)
    }

    /// Reaches its service through what `wrap` makes of it.
    pub fn over(
        options: Options,
        wrap: impl FnOnce(Transport) -> Transport,
        answer: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let contract = Arc::new(Contract::new(POOL.clone(), options).expect("a sound contract"));
        let transport = wrap(transport(Arc::new(answer), calls.clone()));
        let transports = move |_: &str| Some(transport.clone());
        let router = transcode::router(contract, transports, Arc::new(PlainProblems));
        Self { router, calls }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no test panicked").clone()
    }

    /// The one call that was made.
    pub fn call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "one call");
        calls.into_iter().next().expect("one call")
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("routers do not fail");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, Body::empty())).await
    }

    pub async fn json(&self, method: Method, path: &str, body: Value) -> Answer {
        self.json_with(method, path, &[], body).await
    }

    pub async fn json_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        self.text(method, path, headers, &body.to_string()).await
    }

    /// A body that says that it is JSON.
    pub async fn text(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = request(method, path, headers, Body::from(body.to_owned()));
        let json = "application/json".parse().expect("a header value");
        request.headers_mut().insert("content-type", json);
        self.send(request).await
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).expect("a request")
}

/// Says what it was told, in the shape of a problem document.
struct PlainProblems;

impl Problems for PlainProblems {
    fn status(&self, status: &Status, request: &RequestContext<'_>) -> Response<Body> {
        let http = match status.code() {
            Code::NotFound => 404,
            Code::InvalidArgument => 422,
            Code::FailedPrecondition => 412,
            Code::Unavailable => 503,
            _ => 500,
        };
        problem(
            http,
            json!({
                "code": format!("{:?}", status.code()),
                "detail": request.field(status.message()),
                "operation": request.operation.map(|operation| operation.name()),
            }),
        )
    }

    fn fault(&self, fault: &Fault, _: &RequestContext<'_>) -> Response<Body> {
        let errors: Vec<_> = fault
            .fields()
            .iter()
            .map(|f| json!({ "field": f.field, "code": f.code, "detail": f.detail }))
            .collect();
        problem(
            fault.status().as_u16(),
            json!({
                "code": fault.code(), "detail": fault.detail(), "errors": errors,
            }),
        )
    }
}

fn problem(status: u16, body: Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/problem+json")
        .body(Body::from(body.to_string()))
        .expect("a response")
}
