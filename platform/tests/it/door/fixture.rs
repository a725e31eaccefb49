//! A small contract with its service, and an issuer of tokens: what the doors are tried on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use platform::access::{AccessTable, OptionNames};
use platform::ctx::{OrgId, Permissions, Principal, PrincipalKind};
use platform::deps::Service;
use platform::door::DoorParts;
use platform::error::{Error, Result};
use platform::rpc::{self, Directory, Transport};
use platform::secret::DeploymentSecret;
use platform::source::Source;
use platform::token::{
    Claims, Exchange, KeySource, PublicKey, ServiceTokens, Signer, Verified, Verifier, VerifierParts,
};
use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;

pub(crate) const PACKAGE: &str = "test.v1";

const CONTRACT: &str = r#"
syntax = "proto3";
package test.v1;
import "google/protobuf/descriptor.proto";
import "google/protobuf/wrappers.proto";
enum Role { ROLE_UNSPECIFIED = 0; ROLE_OWNER = 1; ROLE_VIEWER = 2; }
enum Permission {
  PERMISSION_UNSPECIFIED = 0;
  PERMISSION_PUBLIC = 1;
  PERMISSION_INTERNAL = 2;
  PERMISSION_THINGS_READ = 3 [(roles) = ROLE_OWNER, (roles) = ROLE_VIEWER];
  PERMISSION_THINGS_WRITE = 4 [(roles) = ROLE_OWNER];
}
message Op { Permission access = 1; optional bool idempotent = 2; }
extend google.protobuf.MethodOptions { Op op = 50001; }
extend google.protobuf.EnumValueOptions { repeated Role roles = 50002; }
service Things {
  rpc Open(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_PUBLIC}; }
  rpc Inside(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_INTERNAL}; }
  rpc Read(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_THINGS_READ}; }
  rpc Write(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_THINGS_WRITE}; }
  rpc Secret(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_THINGS_WRITE idempotent: false}; }
  rpc Slow(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_PUBLIC}; }
  rpc Panic(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_PUBLIC}; }
  rpc Fail(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_PUBLIC}; }
  rpc Foreign(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (op) = {access: PERMISSION_PUBLIC}; }
  rpc Silent(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}
"#;

struct Contract;

impl FileResolver for Contract {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "test/v1/things.proto" => File::from_source(name, CONTRACT),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The encoded descriptors, as a build script would keep them.
pub(crate) fn descriptors() -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Contract);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("test/v1/things.proto").expect("the contract compiles");
    compiler.encode_file_descriptor_set()
}

pub(crate) const NAMES: OptionNames<'static> = OptionNames { op: "test.v1.op", roles: "test.v1.roles" };

pub(crate) fn access() -> AccessTable {
    let pool = DescriptorPool::decode(descriptors().as_slice()).expect("descriptors");
    AccessTable::from_pool(&pool, NAMES).expect("a table")
}

/// The service: it answers with what its context says, or misbehaves as its method is called.
#[derive(Clone)]
struct Things {
    /// Calls that have reached `Slow`.
    slow: Arc<AtomicUsize>,
}

impl NamedService for Things {
    const NAME: &'static str = "test.v1.Things";
}

impl tower::Service<http::Request<Body>> for Things {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let slow = self.slow.clone();
        Box::pin(async move {
            let mut server = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            let handler = tower::service_fn(move |request| answer(request, slow.clone()));
            Ok(server.unary(handler, request).await)
        })
    }
}

async fn answer(request: Request<String>, slow: Arc<AtomicUsize>) -> Result<Response<String>, Status> {
    let (cx, message) = rpc::unpack(request)?;
    match cx.rpc.rsplit('/').next().unwrap_or_default() {
        "Slow" => {
            slow.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(message.parse().map_or(SLOW, Duration::from_millis)).await;
        }
        "Panic" => panic!("the handler's secret"),
        "Fail" => return Err(Error::field("name", "required", "is required").into()),
        "Foreign" => return Err(Status::unknown("the library's secret")),
        _ => {}
    }
    let key = cx.idempotency_key.as_deref().unwrap_or("-");
    let version = cx.if_match.map_or("-".to_owned(), |version| version.to_string());
    let depth = cx.cause.map_or("-".to_owned(), |cause| cause.depth.to_string());
    let who = cx.principal.subject();
    Ok(Response::new(format!("{who} key={key} version={version} depth={depth} {}", cx.request_id)))
}

const SLOW: Duration = Duration::from_secs(30);

/// Stands where auth-service does: publishes keys and exchanges API keys, or is silent.
pub(crate) struct Issuer {
    pub(crate) signer: Mutex<Signer>,
    pub(crate) up: AtomicBool,
    pub(crate) fetches: AtomicUsize,
    pub(crate) exchanges: AtomicUsize,
    pub(crate) keys: Mutex<HashMap<String, Principal>>,
    pub(crate) disabled: AtomicBool,
    source: Source,
}

impl Issuer {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            signer: Mutex::new(Signer::from_seed(&[1; 32]).expect("a key")),
            up: AtomicBool::new(true),
            fetches: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            keys: Mutex::default(),
            disabled: AtomicBool::new(false),
            source,
        }
    }

    pub(crate) fn answer(&self) -> Result<()> {
        if self.up.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Error::unavailable("service_unavailable", "auth is silent"))
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.signer.lock().expect("whole").sign(claims).expect("signed")
    }
}

#[async_trait]
impl KeySource for Issuer {
    async fn jwks(&self) -> Result<Vec<PublicKey>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        let key = self.signer.lock().expect("whole").public_key().clone();
        Ok(vec![PublicKey::from_jwk(&key.kid, &key.jwk_x())?])
    }
}

#[async_trait]
impl Exchange for Issuer {
    async fn exchange(&self, key: &str) -> Result<String> {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        let principal = self.keys.lock().expect("whole").get(key).cloned();
        let principal = principal.ok_or_else(|| Error::unauthenticated("invalid_key", "no such key"))?;
        let claims = Claims::new(&principal, ORG, Duration::from_secs(60), &self.source);
        Ok(self.sign(&claims))
    }

    async fn confirm(&self, _: &Verified) -> Result<()> {
        self.answer()?;
        if self.disabled.load(Ordering::SeqCst) {
            return Err(Error::unauthenticated("revoked_token", "the user is disabled"));
        }
        Ok(())
    }
}

pub(crate) const ORG: OrgId = OrgId(Uuid::from_u128(7));

/// Everything that stands around a door.
pub(crate) struct World {
    pub(crate) source: Source,
    pub(crate) secret: DeploymentSecret,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) verifier: Verifier,
    pub(crate) directory: Directory,
    pub(crate) door: DoorParts,
    pub(crate) slow: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_max_time(Duration::from_secs(10))
    }

    pub(crate) fn with_max_time(max_time: Duration) -> Self {
        let source = Source::fixed(5, "2026-01-02T03:04:05Z".parse().expect("a time"));
        let secret = DeploymentSecret::new([9; 32]);
        let issuer = Arc::new(Issuer::new(source.clone()));
        let access = Arc::new(access());
        let verifier = Verifier::new(VerifierParts {
            access: access.clone(),
            secret: secret.clone(),
            keys: issuer.clone(),
            exchange: issuer.clone(),
            source: source.clone(),
        })
        .expect("a verifier");
        let (verified, now) = (verifier.clone(), source.clone());
        let door = DoorParts { access, verifier: verified, source: now, max_time, max_message: 1 << 20 };
        let tokens = ServiceTokens::new(&secret, source.clone()).expect("a key");
        let directory = Directory::new(tokens);
        let slow = Arc::default();
        let world = Self { source, secret, issuer, verifier, directory, door, slow };
        world.directory.add(&world.service());
        world
    }

    pub(crate) fn service(&self) -> Service {
        Service::builder("things").add(Things { slow: self.slow.clone() }).behind(self.door.clone())
    }

    pub(crate) fn transport(&self) -> Transport {
        self.directory.transport(PACKAGE)
    }

    pub(crate) fn user(&self, role: &str) -> Principal {
        Principal {
            role: Some(role.to_owned()),
            permissions: self.door.access.role(role),
            session: Some(self.source.id()),
            ..Principal::bare(PrincipalKind::User, self.source.id(), "Ada")
        }
    }

    pub(crate) fn key(&self, kind: PrincipalKind, text: &str, scopes: &[&str]) -> Principal {
        let permissions: Permissions = scopes.iter().copied().collect();
        let principal = Principal { permissions, ..Principal::bare(kind, self.source.id(), "a key") };
        self.issuer.keys.lock().expect("whole").insert(text.to_owned(), principal.clone());
        principal
    }

    pub(crate) fn token(&self, principal: &Principal) -> String {
        let claims = Claims::new(principal, ORG, Duration::from_secs(900), &self.source);
        self.issuer.sign(&claims)
    }
}

/// A call with `token` as a program outside makes it.
pub(crate) fn bearer(token: &str) -> Request<String> {
    let mut request = Request::new(String::new());
    let value = format!("Bearer {token}").parse().expect("visible characters");
    request.metadata_mut().insert("authorization", value);
    request
}

/// Calls `method` of the service.
pub(crate) async fn call(
    transport: Transport,
    method: &str,
    request: Request<String>,
) -> Result<String, Status> {
    let path = format!("/test.v1.Things/{method}").parse().expect("a path");
    let mut client = tonic::client::Grpc::new(transport);
    client.ready().await.expect("always ready");
    let codec = ProstCodec::<String, String>::default();
    client.unary(request, path, codec).await.map(Response::into_inner)
}
