//! One port over real TCP: calls of other processes, health, reflection, and a clean end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::ctx::{Cause, Ctx, Trace};
use platform::error::Error;
use platform::rpc::{self, Directory};
use platform::secret::Secret;
use platform::server::{Health, Server, Weight};
use platform::token::ServiceTokens;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::door::fixture::{ORG, PACKAGE, World, call, descriptors};

struct Running {
    world: World,
    health: Health,
    database: Arc<AtomicBool>,
    address: SocketAddr,
    /// A directory of another process of the same deployment.
    remote: Directory,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let world = World::new();
        let health = Health::new();
        let database = Arc::new(AtomicBool::new(true));
        let up = database.clone();
        health.check("postgres", Weight::Critical, move || {
            let up = up.load(Ordering::SeqCst);
            async move { up.then_some(()).ok_or_else(|| Error::unavailable("down", "down")) }
        });
        health.check("bus", Weight::Informative, || async { Err(Error::unavailable("down", "down")) });
        let server = Server::builder(health.clone())
            .service(world.service())
            .reflection(Box::leak(descriptors().into_boxed_slice()))
            .metrics(|| "pulseops_up 1\n".to_owned())
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = server.local_addr().expect("bound");
        let tokens = ServiceTokens::new(&world.secret, world.source.clone()).expect("a key");
        let remote = Directory::new(tokens);
        remote.set_remote(PACKAGE, &format!("http://{address}")).expect("an address");
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { server.serve(token).await.expect("served") });
        Self { world, health, database, address, remote, stop, task }
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    async fn health_of(&self, name: &str) -> Result<i32, Code> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address))
            .expect("an address")
            .connect_lazy();
        let request = HealthCheckRequest { service: name.to_owned() };
        let answer = HealthClient::new(channel).check(request).await;
        answer.map(|answer| answer.into_inner().status).map_err(|status| status.code())
    }
}

#[tokio::test]
async fn a_context_crosses_processes() {
    let running = Running::start().await;
    let world = &running.world;
    let transport = || running.remote.transport(PACKAGE);
    let owner = world.user("owner");
    let mut cx = Ctx::new(world.source.clone(), owner.clone(), ORG);
    let refused = call(transport(), "Write", rpc::request(&cx, String::new())).await;
    assert_eq!(refused.expect_err("no token to show").code(), Code::Unauthenticated);
    cx.token = Some(Secret::new(world.token(&owner).into()));
    let request = rpc::keyed(&cx, "k-1", String::new()).expect("visible");
    let answer = call(transport(), "Write", request).await.expect("allowed");
    assert!(answer.starts_with(&owner.subject().to_string()) && answer.contains("key=k-1"));
    assert!(answer.ends_with(&cx.request_id.to_string()));

    let trace = Trace::new(&world.source);
    let cause = Some(Cause { event: world.source.id(), depth: 4 });
    let cx = Ctx::service("workflow", ORG, world.source.clone(), trace, cause);
    let answer = call(transport(), "Inside", rpc::request(&cx, String::new())).await;
    let answer = answer.expect("a service");
    assert!(answer.starts_with("service:workflow ") && answer.contains("depth=4"));
    let cx = cx.with_timeout(Duration::from_millis(50));
    let slow = call(transport(), "Slow", rpc::request(&cx, String::new())).await;
    assert_eq!(slow.expect_err("too slow").code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn health_tells_what_the_checks_say() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let told = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let running = Running::start().await;
    assert!(running.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(running.get("/readyz").await.starts_with("HTTP/1.1 503"));
    running.health.step().await;
    let ready = running.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"));
    assert!(ready.ends_with(r#"{"ready":true,"checks":{"bus":false,"postgres":true}}"#));
    for (name, status) in [("", 1), ("test.v1.Things", 1), ("postgres", 1), ("bus", 2)] {
        assert_eq!(running.health_of(name).await, Ok(status), "{name}");
    }
    assert_eq!(running.health_of("unknown").await, Err(Code::NotFound));
    for gauge in ["{check=\"postgres\"} 1", "{check=\"bus\"} 0"] {
        assert!(told.render().contains(&format!("pulseops_health_check{gauge}\n")), "{}", told.render());
    }
    running.database.store(false, Ordering::SeqCst);
    running.health.step().await;
    assert!(told.render().contains("pulseops_health_check{check=\"postgres\"} 0\n"), "{}", told.render());
    assert!(running.get("/readyz").await.starts_with("HTTP/1.1 503"));
    assert_eq!(running.health_of("test.v1.Things").await, Ok(2));
    running.database.store(true, Ordering::SeqCst);
    running.health.step().await;
    running.health.drain().await;
    assert_eq!(running.health_of("").await, Ok(2));
}

#[tokio::test]
async fn the_port_answers_metrics_and_what_is_not_there() {
    let running = Running::start().await;
    assert!(running.get("/metrics").await.ends_with("pulseops_up 1\n"));
    let missing = running.get("/nothing").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("application/problem+json"));
    let mut client = tonic::client::Grpc::new(running.remote.transport(PACKAGE));
    client.ready().await.expect("always ready");
    let path = "/test.v1.Others/Call".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<String, String>::default();
    let answer = client.unary(tonic::Request::new(String::new()), path, codec).await;
    assert_eq!(answer.map(|_| ()).expect_err("no such service").code(), Code::Unimplemented);
}

#[tokio::test]
async fn reflection_tells_every_service() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let running = Running::start().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", running.address))
        .expect("an address")
        .connect_lazy();
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(request))
        .await
        .expect("answered");
    let answer = answers.into_inner().message().await.expect("a message").expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"test.v1.Things") && names.contains(&"grpc.health.v1.Health"));
}

#[tokio::test]
async fn running_calls_end_before_the_port_does() {
    let running = Running::start().await;
    let transport = running.remote.transport(PACKAGE);
    // The connection stands before the stop.
    let warm = tonic::Request::new(String::new());
    call(transport.clone(), "Open", warm).await.expect("answered");
    let slow = tokio::spawn(call(transport, "Slow", tonic::Request::new("300".to_owned())));
    while running.world.slow.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    running.stop.cancel();
    assert!(slow.await.expect("no panic").is_ok());
    running.task.await.expect("ended");
}

#[tokio::test]
async fn a_service_cannot_be_served_twice() {
    let world = World::new();
    let server = Server::builder(Health::new())
        .service(world.service())
        .service(world.service())
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await;
    assert!(server.expect_err("twice").chain().contains("test.v1.Things is served twice"));
}
