//! The buffer between requests and the log: what is answered with 2xx is in the log, whatever happens.

use api_gateway::Config;
use api_gateway::config::IntakeConfig;
use futures::future::join_all;
use platform::testing::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Answer, SOON, World};

async fn world(intake: IntakeConfig) -> World {
    let world = World::with(Config { intake, ..Config::default() }).await;
    world.service("payment").await;
    world
}

fn event(id: usize) -> Value {
    json!({ "id": format!("{id:03}"), "service": "payment", "name": "a" })
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|id| format!("{id:03}")).collect()
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let world = world(IntakeConfig::default()).await;
    let held = world.hold_appends().await;
    let sending = world.user("owner").sending(event(1));
    world.until_appending().await;
    assert!(!sending.is_finished());
    assert_eq!(world.stored_ids().await, [] as [&str; 0]);
    held.release().await;
    assert_eq!(sending.await.expect("no panic").taken(), (1, vec![]));
    assert_eq!(world.stored_ids().await, ["001"]);
    assert_eq!(world.intake.waiting(), 0);
}

#[tokio::test]
async fn what_arrives_during_an_append_is_the_next_one() {
    let world = world(IntakeConfig { writers: 1, ..IntakeConfig::default() }).await;
    let (held, owner) = (world.hold_appends().await, world.user("owner"));
    let first = owner.sending(event(0));
    world.until_appending().await;
    let others = (1..40).map(|id| owner.sending(event(id)));
    let others = join_all(others);
    world.until_waiting(40).await;
    held.release().await;
    assert_eq!(first.await.expect("no panic").status, 202);
    for answer in others.await {
        assert_eq!(answer.expect("no panic").taken(), (1, vec![]));
    }
    assert_eq!(world.stored_ids().await, ids(0..40));
    let appends = "SELECT count(*) FROM pulseops_bus.log l JOIN pulseops_bus.topics t ON t.id = l.topic_id \
        WHERE t.name = 'pulseops.events.v1'";
    let appends: i64 = world.db.admin().await.query_one(appends, &[]).await.expect("the log").get(0);
    assert_eq!(appends, 2, "the first one, and all others together");
}

#[tokio::test]
async fn a_full_buffer_says_when_to_come_again() {
    let world = world(IntakeConfig { buffer_events: 3, ..IntakeConfig::default() }).await;
    let (held, owner) = (world.hold_appends().await, world.user("owner"));
    let sent = join_all((0..3).map(|id| owner.sending(event(id))));
    world.until_waiting(3).await;
    let answer = owner.events(&event(3)).await;
    answer.problem(429, "intake_full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    held.release().await;
    for answer in sent.await {
        assert_eq!(answer.expect("no panic").status, 202);
    }
    assert_eq!(owner.events(&event(4)).await.status, 202);
    assert_eq!(world.stored_ids().await, ["000", "001", "002", "004"]);
}

#[tokio::test]
async fn without_the_bus_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    let world = world(IntakeConfig::default()).await;
    let owner = world.user("owner");
    assert_eq!(owner.events(&event(1)).await.status, 202);

    let held = world.hold_appends().await;
    let sending = owner.sending(event(2));
    let admin = &world;
    eventually(SOON, async || {
        admin.break_appends().await;
        sending.is_finished().then_some(())
    })
    .await;
    let answer: Answer = sending.await.expect("no panic");
    answer.problem(503, "not_stored");
    assert_eq!(answer.header("retry-after"), Some("1"));
    held.release().await;
    assert_eq!(world.stored_ids().await, ["001"]);

    // The same event under the same id, as the answer asked for.
    assert_eq!(owner.events(&event(2)).await.status, 202);
    assert_eq!(world.stored_ids().await, ["001", "002"]);
}

/// A request over a socket, and its status line.
async fn over_tcp(address: std::net::SocketAddr, token: &str, body: String) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_shutdown_loses_nothing() {
    let mut world = world(IntakeConfig::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    world.gateway.take().expect("not yet listening").serve(&world.deps, listener);
    let owner = world.user("owner");
    let token = owner.token().to_owned();

    let held = world.hold_appends().await;
    let send = |id| {
        let token = token.clone();
        tokio::spawn(async move { over_tcp(address, &token, event(id).to_string()).await })
    };
    let sent = join_all((0..8).map(send));
    world.until_waiting(8).await;
    let lifecycle = world.deps.lifecycle.clone();
    let stopping = tokio::spawn(async move { lifecycle.stop().await });
    eventually(SOON, async || TcpStream::connect(address).await.is_err().then_some(())).await;
    assert!(!stopping.is_finished(), "it waits for what it has accepted");
    held.release().await;

    for status in sent.await {
        assert_eq!(status.expect("no panic"), "HTTP/1.1 202 Accepted");
    }
    stopping.await.expect("no panic").expect("a clean end");
    assert_eq!(world.stored_ids().await, ids(0..8));
    let answer = owner.events(&event(9)).await;
    answer.problem(503, "shutting_down");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(world.stored_ids().await, ids(0..8));
}
