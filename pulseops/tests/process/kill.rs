//! What is promised holds when the process dies.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use platform::testing::{Receiver, eventually};
use reqwest::Method;
use serde_json::json;

use crate::home::Home;
use crate::support::client::{JSON, SOON, id};
use crate::support::story::{Cast, failure, keys, rule, time_to_resolve};

const LEVEL_MS: i64 = 2_000;
const TRIES: usize = 3;
/// The process dies while the receiver still thinks.
const SLOW: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_story_survives_two_kills() {
    let home = Home::new();
    let receiver = Receiver::start().await;
    let process = home.up().await;
    let cast = Cast::set_up(&home.nobody(), &receiver, LEVEL_MS).await;
    cast.retry_first(&receiver, TRIES, 200).await;
    receiver.always("/retry", 503);
    receiver.next_after("/retry", 503, SLOW).next_after("/ada", 200, SLOW);
    cast.report(json!([failure(), failure(), failure()])).await;

    receiver.nth("/retry", 1).await;
    process.kill().await;
    let process = home.up().await;
    receiver.nth("/ada", 1).await;
    process.kill().await;
    let process = home.up().await;
    receiver.nth("/ada", 2).await;
    receiver.nth("/grace", 1).await;

    let incident = id(&cast.incident().await);
    let deliveries = cast.delivered(&incident, 2).await;
    let path = format!("/v1/incidents/{incident}");
    cast.grace.post(&format!("{path}/acknowledge"), json!({})).await.expect(200);
    let resolved = cast.grace.post(&format!("{path}/resolve"), json!({})).await.expect(200);
    let mttr = cast.mttr().await;
    assert_eq!(mttr.pointer("/mttr/mean_ms"), Some(&json!(time_to_resolve(&resolved))));
    assert_eq!(cast.ended_runs(&incident).await.len(), 2);
    assert_eq!(cast.delivered(&incident, 2).await.len(), deliveries.len(), "{deliveries:?}");
    assert_eq!(cast.incidents().await.len(), 1);
    home.nothing_left().await;
    assert_eq!(receiver.hits_of("/retry").len(), TRIES, "the one that ended with the process counts");
    let mut all = BTreeSet::new();
    for path in ["/retry", "/ada", "/grace"] {
        let own = keys(&receiver, path);
        assert_eq!(own.len(), 1, "{path}: one key, however often it was tried");
        all.extend(own);
    }
    assert_eq!(all.len(), 1 + deliveries.len(), "a key for the step and for each delivery: {all:?}");
    assert!(process.terminate().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_survives_a_kill() {
    let home = Home::new();
    let receiver = Receiver::start().await;
    let process = home.up().await;
    let cast = Cast::set_up(&home.nobody(), &receiver, LEVEL_MS).await;
    cast.report(json!([failure(), failure()])).await;
    let admin = home.admin().await;
    eventually(SOON, async || {
        let windows = admin.query("SELECT FROM pulseops_incident.windows", &[]).await.ok()?;
        (!windows.is_empty()).then_some(())
    })
    .await;
    process.kill().await;
    let process = home.up().await;
    assert!(cast.incidents().await.is_empty());
    cast.report(failure()).await;
    let incident = id(&cast.incident().await);
    cast.ada.post(&format!("/v1/incidents/{incident}/resolve"), json!({})).await.expect(200);
    cast.ended_runs(&incident).await;
    home.nothing_left().await;
    assert_eq!(cast.incidents().await.len(), 1);
    assert!(process.terminate().await.success(), "{}", home.log());
}

/// Between the commit of a batch and the next read nothing is counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_killed_after_its_commit_counts_nothing_twice() {
    let home = Home::new();
    let receiver = Receiver::start().await;
    let mut process = home.up_with(&[("PULSEOPS_FAILPOINTS", "consumer.after_commit.rules=exit")]);
    home.ready().await;
    let cast = Cast::set_up(&home.nobody(), &receiver, LEVEL_MS).await;
    let mut each = rule(&cast.service, 1);
    each["slug"] = json!("marker");
    each["selection"] = json!("event.name == \"marker\"");
    each["title"] = json!("Marker");
    cast.ada.create("/v1/rules", each).await;
    let two = json!([failure(), failure()]).to_string();
    // The answer may be lost with the process: what it killed itself for was in the log.
    drop(cast.ada.try_send(Method::POST, "/v1/events", &[JSON], Some(two)).await);
    assert!(!process.ended().await.success(), "killed by itself");
    let process = home.up().await;
    // Behind the two in the log: when the marker has its incident, they have been read.
    cast.report(json!({"service": "payment", "name": "marker"})).await;
    let seen = cast.incident().await;
    assert_eq!(seen["title"], "Marker", "two events, read again, are still two");
    cast.report(failure()).await;
    let both = |list: &serde_json::Value| list.pointer("/items/1/title").cloned();
    assert_eq!(cast.ada.until(&cast.incidents_path(), both).await, "Charges fail on payment");
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_sigterm_is_there_after_it() {
    let home = Home::new();
    let receiver = Receiver::start().await;
    let process = home.up().await;
    let cast = Cast::set_up(&home.nobody(), &receiver, LEVEL_MS).await;
    let event = json!({"service": "payment", "name": "charge.succeeded"}).to_string();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (ada, event) = (cast.ada.clone(), event.clone());
            tokio::spawn(async move { send_until_refused(&ada, &event).await })
        })
        .collect();
    let admin = home.admin().await;
    let sql = "SELECT coalesce(sum(l.count), 0)::int8 FROM pulseops_bus.log l \
        JOIN pulseops_bus.topics t ON t.id = l.topic_id WHERE t.name = 'pulseops.events.v1'";
    eventually(SOON, async || {
        let stored: i64 = admin.query_one(sql, &[]).await.ok()?.get(0);
        (stored > 50).then_some(())
    })
    .await;
    process.signal(Signal::SIGTERM);
    let mut accepted = 0;
    for sender in senders {
        accepted += sender.await.expect("no panic");
    }
    let mut process = process;
    assert!(process.ended().await.success(), "{}", home.log());
    let process = home.up().await;
    let stored: i64 = home.admin().await.query_one(sql, &[]).await.expect("counted").get(0);
    assert!(stored >= accepted, "{accepted} accepted, {stored} stored");
    home.nothing_left().await;
    process.kill().await;
}

/// Sends one event after another and counts those that were accepted.
async fn send_until_refused(client: &crate::support::client::Client, event: &str) -> i64 {
    let http = platform::egress::operator_client(SOON).expect("a client");
    let url = format!("{}/v1/events", client.base());
    let mut accepted = 0;
    loop {
        let request = http
            .post(&url)
            .bearer_auth(client.token().unwrap_or_default())
            .header("content-type", "application/json")
            .body(event.to_owned());
        match request.send().await {
            Ok(answer) if answer.status() == 202 => accepted += 1,
            _ => return accepted,
        }
    }
}
