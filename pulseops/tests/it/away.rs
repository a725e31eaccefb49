//! The whole platform while a part of it is away.

use std::time::Duration;

use platform::rpc::Fault;
use platform::testing::{Receiver, TestDb};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client as Admin;

use crate::contract::contract;
use crate::support::client::{JSON, id, text};
use crate::support::story::{Cast, failure, keys, time_to_resolve};
use crate::world::TestPlatform;

const LEVEL: Duration = Duration::from_secs(600);
/// Longer than an answer about a team is trusted.
const STALE: Duration = Duration::from_secs(11);
const MEMBERS: &str = "/pulseops.auth.v1.TeamService/ListTeamMembers";
const FAULTS: usize = 1_000;

/// The log of one test's bus, which answers nobody until it is given back.
struct Silence(Admin);

impl Silence {
    async fn of_the_bus(db: &TestDb) -> Self {
        let admin = db.admin().await;
        let lock = "BEGIN; LOCK TABLE pulseops_bus.log IN ACCESS EXCLUSIVE MODE";
        admin.batch_execute(lock).await.expect("locked");
        Self(admin)
    }

    async fn end(self) {
        self.0.batch_execute("ROLLBACK").await.expect("let go");
    }
}

fn level_ms() -> i64 {
    i64::try_from(LEVEL.as_millis()).expect("small")
}

fn three(db: &TestDb) -> Value {
    let known = |n: u32| {
        let mut event = failure();
        event["id"] = json!(format!("charge-{n}"));
        event["time"] = json!(db.source().now().to_rfc3339());
        event
    };
    json!([known(1), known(2), known(3)])
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_people_go_on_and_everything_is_told_once_when_it_is_back() {
    let platform = TestPlatform::start().await;
    let receiver = Receiver::start().await;
    let cast = Cast::set_up(&platform.nobody, &receiver, level_ms()).await;
    cast.report(json!([failure(), failure(), failure()])).await;
    receiver.nth("/ada", 1).await;
    let first = format!("/v1/incidents/{}", id(&cast.incident().await));
    platform.settle().await;

    let silence = Silence::of_the_bus(&platform.db).await;
    let events = three(&platform.db);
    let impatient = [JSON, ("grpc-timeout", "2S")];
    let refused = cast.ada.send(Method::POST, "/v1/events", &impatient, Some(events.to_string())).await;
    assert!(matches!(refused.status, 503 | 504), "2xx means durable: {} {}", refused.status, refused.text);
    cast.ada.post(&format!("{first}/acknowledge"), json!({})).await.expect(200);
    let resolved = cast.ada.post(&format!("{first}/resolve"), json!({})).await.expect(200);
    let by_hand = json!({"title": "Slow checkout", "severity": "high", "service_id": cast.service});
    let second = id(&cast.ada.create("/v1/incidents", by_hand).await);
    let seen = cast.ada.get(&format!("/v1/incidents/{second}")).await.expect(200);
    assert_eq!(seen["status"], "triggered");
    assert_eq!(receiver.hits_of("/ada").len(), 1, "nobody can hear of it yet");
    // Whoever sends people here goes on doing so.
    assert_eq!(platform.nobody.get("/readyz").await.status, 200);
    silence.end().await;

    // The client repeats what it has no 2xx for; whether it was written meanwhile does not matter.
    cast.ada.post("/v1/events", events).await.expect(202);
    receiver.nth("/ada", 3).await;
    platform.settle().await;
    let incidents = cast.incidents().await;
    let titles: Vec<_> = incidents.iter().map(|it| text(it, "/title")).collect();
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert_eq!((receiver.hits_of("/ada").len(), keys(&receiver, "/ada").len()), (3, 3), "once for each");
    assert!(receiver.hits_of("/grace").is_empty());
    let mttr = cast.mttr().await;
    assert_eq!(mttr.pointer("/mttr/mean_ms"), Some(&json!(time_to_resolve(&resolved))));
    assert_eq!(cast.ended_runs(&id(&incidents[0])).await[0]["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_auth_is_silent_an_event_still_pages_the_right_people() {
    let platform = TestPlatform::start().await;
    let receiver = Receiver::start().await;
    let cast = Cast::set_up(&platform.nobody, &receiver, level_ms()).await;
    let path = format!("/v1/services/{}/integration-keys", cast.service);
    let made = cast.ada.post(&path, json!({"name": "payment prod"})).await.expect(201);
    let program = platform.nobody.with_token(made["key"].as_str().expect("shown once"));
    let events = json!([failure(), failure(), failure()]);
    program.post("/v1/events", events.clone()).await.expect(202);
    receiver.nth("/ada", 1).await;
    let path = format!("/v1/incidents/{}", id(&cast.incident().await));
    cast.ada.post(&format!("{path}/resolve"), json!({})).await.expect(200);
    platform.settle().await;
    platform.advance(STALE).await;

    let faults = platform.assembly.deps.directory.faults();
    let contract = contract();
    for rpc in contract.operations().iter().filter(|it| it.service().starts_with("pulseops.auth.")) {
        faults.inject(rpc.rpc_path(), FAULTS, Fault::Delay(LEVEL));
    }
    program.post("/v1/events", events).await.expect(202);
    receiver.nth("/ada", 2).await;
    assert!(faults.waiting(MEMBERS) < FAULTS, "auth-service was asked who is in the team");
    assert_eq!(keys(&receiver, "/ada").len(), 2);
    assert!(receiver.hits_of("/grace").is_empty(), "Grace is not in the team");

    platform.settle().await;
    platform.advance(LEVEL).await;
    receiver.nth("/grace", 1).await;
    // Until revocations are heard behind the leap of the clock, a token is confirmed with auth, which is silent.
    let incident =
        id(&cast.ada.until(&cast.incidents_path(), |list| list.pointer("/items/1").cloned()).await);
    let path = format!("/v1/incidents/{incident}");
    cast.grace.post(&format!("{path}/acknowledge"), json!({})).await.expect(200);
    cast.grace.post(&format!("{path}/resolve"), json!({})).await.expect(200);
    platform.settle().await;
    assert_eq!((receiver.hits_of("/ada").len(), receiver.hits_of("/grace").len()), (2, 1));
}
