//! Bodies of the intake: media types, gzip, sizes, and what is not JSON.

use std::io::Write;

use api_gateway::Config;
use api_gateway::config::IntakeConfig;
use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use platform::rpc::Fault;
use platform::testing::eventually;
use serde_json::json;

use crate::world::{Answer, Caller, JSON, NDJSON, RESOLVE, SOON, World};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

async fn encoded(caller: &Caller, coding: &str, body: Vec<u8>) -> Answer {
    let request = caller.request(Method::POST, "/v1/events");
    let request = request.header(CONTENT_TYPE, NDJSON).header(CONTENT_ENCODING, coding);
    caller.send(request.body(body.into()).expect("a request")).await
}

fn event(id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"service\":\"payment\",\"name\":\"a\"}}\n")
}

#[tokio::test]
async fn gzip_is_taken_whole() {
    let world = World::new().await;
    world.service("payment").await;
    let owner = world.user("owner");
    assert_eq!(encoded(&owner, "gzip", gzip(&event("1"))).await.taken(), (1, vec![]));
    let members = [gzip(&event("2")), gzip(&event("3"))].concat();
    assert_eq!(encoded(&owner, "x-gzip", members).await.taken(), (2, vec![]));
    assert_eq!(encoded(&owner, "identity", event("4").into()).await.taken(), (1, vec![]));
    assert_eq!(world.stored_ids().await, ["1", "2", "3", "4"]);

    let mut cut = gzip(&event("5"));
    cut.truncate(cut.len() - 2);
    encoded(&owner, "gzip", cut).await.problem(400, "incomplete_body");
    encoded(&owner, "gzip", event("5").into()).await.problem(400, "malformed_gzip");
    let answer = encoded(&owner, "br", event("5").into()).await;
    answer.problem(415, "unsupported_content_encoding");
    assert_eq!(answer.header("accept-encoding"), Some("gzip"));
    encoded(&owner, "gzip, gzip", gzip(&event("5"))).await.problem(415, "unsupported_content_encoding");
}

#[tokio::test]
async fn too_large_is_413() {
    let intake =
        IntakeConfig { body_limit_bytes: 1000, expanded_limit_bytes: 5000, ..IntakeConfig::default() };
    let world = World::with(Config { intake, ..Config::default() }).await;
    let owner = world.user("owner");
    let spaces = |count| format!("{}{}", event("1").trim(), " ".repeat(count));
    let limit = async |answer: Answer, bytes: &str| {
        let problem = answer.problem(413, "too_large");
        assert!(problem["detail"].as_str().expect("text").contains(bytes), "{problem}");
    };
    limit(owner.post("/v1/events", JSON, spaces(1000)).await, "1000 bytes").await;
    // Without a length in front, too.
    let chunks = futures::stream::iter([spaces(500), spaces(500)].map(Ok::<_, std::io::Error>));
    limit(owner.post("/v1/events", NDJSON, Body::from_stream(chunks)).await, "1000 bytes").await;
    limit(encoded(&owner, "gzip", gzip(&spaces(5000))).await, "5000 bytes").await;
    // The other operations have their own.
    let long = json!({ "slug": "a", "name": "x".repeat(1 << 20) });
    limit(owner.post_json("/v1/services", &long).await, "1048576 bytes").await;
}

#[tokio::test]
async fn more_events_than_the_buffer_holds_are_never_taken() {
    let intake = IntakeConfig { buffer_events: 2, ..IntakeConfig::default() };
    let world = World::with(Config { intake, ..Config::default() }).await;
    let owner = world.user("owner");
    owner.events(&json!([1, 2, 3])).await.problem(422, "too_many_events");
    owner.post("/v1/events", NDJSON, "1\n2\n3").await.problem(422, "too_many_events");
    encoded(&owner, "gzip", gzip(&"1\n".repeat(100_000))).await.problem(422, "too_many_events");
}

/// What is held before the buffer counts it is bounded, too: bodies that never end take up the room
/// that their organization has for large ones, and nobody else's.
#[tokio::test]
async fn large_bodies_wait_for_room_and_are_refused() {
    let intake = IntakeConfig { body_limit_bytes: 1000, buffer_bytes: 8000, ..IntakeConfig::default() };
    let world = World::with(Config { intake, ..Config::default() }).await;
    world.service("payment").await;
    let (owner, stranger) = (world.user("owner"), world.stranger());
    stranger.create_service("payment").await;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let endless = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let send = |body: Body| {
        let owner = owner.clone();
        tokio::spawn(async move { owner.post("/v1/events", NDJSON, body).await })
    };
    let share = cores.max(8).div_ceil(4);
    let held: Vec<_> = (0..share).map(|_| send(endless())).collect();
    let answer = send(endless()).await.expect("answered");
    answer.problem(429, "intake_full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let chunked = |id: &str| Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(event(id))]));
    assert_eq!(stranger.post("/v1/events", NDJSON, chunked("a")).await.taken(), (1, vec![]));
    // A body that says that it is small needs no room.
    assert_eq!(owner.post("/v1/events", NDJSON, event("1")).await.taken(), (1, vec![]));
    held.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(owner.post("/v1/events", NDJSON, chunked("2")).await.taken(), (1, vec![]));
}

/// Reading is for those that can be read at once, however long services are looked up.
#[tokio::test]
async fn whoever_waits_for_services_keeps_nobody_from_reading() {
    let world = World::new().await;
    world.service("payment").await;
    let owner = world.user("owner");
    assert_eq!(encoded(&owner, "gzip", gzip(&event("1"))).await.taken(), (1, vec![]));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let faults = world.deps.directory.faults();
    faults.inject(RESOLVE, cores, Fault::Delay(SOON));
    let waiting: Vec<_> = (0..cores)
        .map(|number| {
            let (caller, body) =
                (world.stranger(), event("x").replace("payment", &format!("made-up-{number}")));
            tokio::spawn(async move { encoded(&caller, "gzip", gzip(&body)).await })
        })
        .collect();
    eventually(SOON, async || (faults.waiting(RESOLVE) == 0).then_some(())).await;
    assert_eq!(encoded(&owner, "gzip", gzip(&event("2"))).await.taken(), (1, vec![]));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What others have sent, and what waits for its services, may fill its room: a few events need none of it.
#[tokio::test]
async fn a_small_body_that_is_compressed_needs_no_room() {
    let intake = IntakeConfig { buffer_bytes: 400_000, ..IntakeConfig::default() };
    let world = World::with(Config { intake, ..Config::default() }).await;
    world.service("payment").await;
    let faults = world.deps.directory.faults();
    faults.inject(RESOLVE, 2, Fault::Delay(SOON));
    let large = gzip(&event("x").repeat(5_000));
    let waiting = [world.stranger(), world.stranger()].map(|stranger| {
        let large = large.clone();
        tokio::spawn(async move { encoded(&stranger, "gzip", large).await })
    });
    eventually(SOON, async || (faults.waiting(RESOLVE) == 0).then_some(())).await;
    assert_eq!(encoded(&world.user("owner"), "gzip", gzip(&event("1"))).await.taken(), (1, vec![]));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// One byte that the database cannot store must not decide whether anybody is paged.
#[tokio::test]
async fn u0000_is_refused_at_the_door() {
    let world = World::new().await;
    world.service("payment").await;
    let owner = world.user("owner");
    let bad = json!({ "service": "payment", "name": "a", "attributes": { "region": "eu\0" } });
    let answer = owner.events(&bad).await;
    answer.problem(422, "invalid_text");
    assert_eq!(answer.faults(), [("attributes.region".to_owned(), "invalid_text".to_owned())]);
    let key = json!({ "service": "payment", "name": "a", "attributes": { "k\0": "v" } });
    let good = json!({ "service": "payment", "name": "a" });
    let answer = owner.events(&json!([good, key, { "service": "payment", "name": "\0" }])).await;
    assert_eq!(answer.taken(), (1, vec![(1, "invalid_text".into()), (2, "invalid_text".into())]));
}

#[tokio::test]
async fn of_many_faults_the_first_are_told() {
    let world = World::new().await;
    let lines = "{}\n".repeat(1000);
    let answer = world.user("owner").post("/v1/events", NDJSON, lines).await;
    answer.problem(422, "invalid");
    assert_eq!(
        (answer.faults().len(), answer.text_at("/detail")),
        (32, "32 fields are invalid, and 968 more".into())
    );
}

#[tokio::test]
async fn a_large_body_is_one_request() {
    let world = World::new().await;
    world.service("payment").await;
    let lines: String = (0..2000).map(|id| event(&format!("{id:04}"))).collect();
    assert!(lines.len() > 64 << 10, "read on a thread of its own");
    let answer = world.user("owner").post("/v1/events", NDJSON, lines).await;
    assert_eq!(answer.taken(), (2000, vec![]));
    let stored = world.stored().await;
    let sent: Vec<_> = (0..2000).map(|id| format!("{id:04}")).collect();
    let order: Vec<_> = stored.into_iter().map(|(_, event)| event.id).collect();
    assert_eq!(order, sent, "events of one service stay in order");
}

#[tokio::test]
async fn what_is_not_json_is_located() {
    let world = World::new().await;
    let owner = world.user("owner");
    let answer = owner.post("/v1/events", JSON, "[{\"name\": \"a\"},\n {\"name\" \"a\"}]").await;
    let problem = answer.problem(400, "malformed_json");
    assert!(problem["detail"].as_str().expect("text").ends_with("at line 2 column 10"), "{problem}");
    owner.post("/v1/events", JSON, "").await.problem(400, "malformed_json");
    for (kind, body) in [(JSON, "[]"), (NDJSON, "\n \n")] {
        let answer = owner.post("/v1/events", kind, body).await;
        answer.problem(422, "too_few");
        assert_eq!(answer.faults(), [("events".to_owned(), "too_few".to_owned())]);
    }
}

#[tokio::test]
async fn other_media_types_and_parameters_are_refused() {
    let world = World::new().await;
    let owner = world.user("owner");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonl"] {
        let problem = owner.post("/v1/events", kind, "{}").await.problem(415, "unsupported_media_type");
        assert!(problem["detail"].as_str().expect("text").contains(NDJSON));
    }
    let request = owner.request(Method::POST, "/v1/events").body("{}".into()).expect("a request");
    owner.send(request).await.problem(415, "unsupported_media_type");
    let answer = owner.post("/v1/events?dry_run=true&x", JSON, "{}").await;
    answer.problem(422, "invalid");
    let unknown = |name: &str| (name.to_owned(), "unknown_parameter".to_owned());
    assert_eq!(answer.faults(), [unknown("dry_run"), unknown("x")]);
}
