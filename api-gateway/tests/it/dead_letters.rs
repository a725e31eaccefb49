//! Dead letters through REST: a record that no consumer can read, looked at and sent again.

use bytes::Bytes;
use http::Method;
use platform::bus::{Envelope, Record};
use platform::testing::eventually;
use proto::topics::EVENTS;
use serde_json::{Value, json};

use crate::world::{Caller, SOON, World};

/// Not protobuf.
const POISON: &[u8] = &[0xff; 8];

impl World {
    /// Puts records into the log that incident-service cannot read.
    async fn poison(&self, count: usize) {
        let cx = self.db.cx_in(self.org, &[]);
        let records: Vec<_> = (0..count)
            .map(|number| {
                let envelope = Envelope::new(&cx, "test", "pulseops.event.received.v1", number, 0);
                Record { key: Bytes::from_static(b"one key"), envelope, data: Bytes::from_static(POISON) }
            })
            .collect();
        self.deps.bus.append(EVENTS.name, &records).await.expect("appended");
    }
}

async fn list(caller: &Caller, query: &str) -> Vec<Value> {
    let answer = caller.get(&format!("/v1/dead-letters{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["items"].as_array().expect("items").clone()
}

async fn buried(caller: &Caller, count: usize) -> Vec<Value> {
    eventually(SOON, async || {
        let items = list(caller, "").await;
        (items.len() == count).then_some(items)
    })
    .await
}

#[tokio::test]
async fn what_no_consumer_can_read_is_listed_and_read() {
    let world = World::new().await;
    let owner = world.user("owner");
    world.poison(1).await;
    let items = buried(&owner, 1).await;
    let item = &items[0];
    assert_eq!((&item["consumer"], &item["topic"]), (&json!("rules"), &json!(EVENTS.name)));
    assert_eq!((&item["state"], &item["replayed_at"]), (&json!("dead"), &json!(null)));
    assert_eq!((&item["event_type"], &item["payload"]), (&json!("pulseops.event.received.v1"), &json!("")));
    assert!(item["attempts"].as_i64() >= Some(1) && !item["error_detail"].as_str().unwrap_or("").is_empty());

    let path = format!("/v1/dead-letters/{}", item["id"].as_str().expect("an id"));
    let whole = owner.get(&path).await.json();
    assert_eq!(whole["payload"], "//////////8=");
    assert_eq!((&whole["id"], &whole["event_id"]), (&item["id"], &item["event_id"]));

    let stranger = world.stranger();
    assert_eq!(list(&stranger, "").await, [] as [Value; 0]);
    stranger.get(&path).await.problem(404, "not_found");
    stranger.empty(Method::POST, &format!("{path}/replay")).await.problem(404, "not_found");
    let responder = world.user("responder");
    responder.get(&path).await.problem(403, "permission_denied");
    responder.empty(Method::POST, &format!("{path}/replay")).await.problem(403, "permission_denied");
    let answer = owner.get("/v1/dead-letters/7").await;
    answer.problem(422, "uuid");
    assert_eq!(answer.faults(), [("id".to_owned(), "uuid".to_owned())]);
}

#[tokio::test]
async fn a_replay_reaches_the_consumer() {
    let world = World::new().await;
    let owner = world.user("owner");
    world.poison(1).await;
    let before = buried(&owner, 1).await.remove(0);
    let path = format!("/v1/dead-letters/{}", before["id"].as_str().expect("an id"));
    let answer = owner.empty(Method::POST, &format!("{path}/replay")).await;
    assert_eq!((answer.status, answer.text_at("/state").as_str()), (202, "replaying"));
    // It is still poison: tried once more, and dead again.
    let after = eventually(SOON, async || {
        let letter = owner.get(&path).await.json();
        (letter["state"] == "dead").then_some(letter)
    })
    .await;
    assert_eq!(after["attempts"].as_i64(), before["attempts"].as_i64().map(|attempts| attempts + 1));
}

#[tokio::test]
async fn a_replay_under_one_key_is_asked_for_once() {
    let world = World::new().await;
    let owner = world.user("owner");
    world.poison(2).await;
    let items = buried(&owner, 2).await;
    let path = |item: &Value| format!("/v1/dead-letters/{}", item["id"].as_str().expect("an id"));
    let replay = async |item: &Value, key: &str| {
        let request = owner.request(Method::POST, &format!("{}/replay", path(item)));
        let request = request.header("idempotency-key", key).body(axum::body::Body::empty());
        owner.send(request.expect("a request")).await
    };
    let first = replay(&items[0], "k").await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None));
    let after = eventually(SOON, async || {
        let letter = owner.get(&path(&items[0])).await.json();
        (letter["state"] == "dead").then_some(letter)
    })
    .await;
    // It died again meanwhile; the client, which lost the answer, asks as before.
    let again = replay(&items[0], "k").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
    assert_eq!(again.json(), first.json());
    assert_eq!(owner.get(&path(&items[0])).await.json(), after, "no second replay");
    replay(&items[1], "k").await.problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let world = World::new().await;
    let owner = world.user("admin");
    world.poison(3).await;
    let all = buried(&owner, 3).await;
    let ids = |items: &[Value]| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    assert!(ids(&all).windows(2).all(|pair| pair[0].as_str() > pair[1].as_str()), "newest first");
    assert_eq!(list(&owner, "?consumer=rules&consumer=other&state=dead").await.len(), 3);
    assert_eq!(list(&owner, "?consumer=other").await.len(), 0);
    assert_eq!(list(&owner, "?state=replayed&state=replaying").await.len(), 0);

    let page = owner.get("/v1/dead-letters?page_size=2").await;
    let token = page.text_at("/next_page_token");
    let next = owner.get(&format!("/v1/dead-letters?page_size=2&page_token={token}")).await.json();
    let paged = [page.json()["items"].clone(), next["items"].clone()];
    let paged: Vec<_> = paged.iter().flat_map(|items| items.as_array().expect("items")).cloned().collect();
    assert_eq!((ids(&paged), &next["next_page_token"]), (ids(&all), &json!("")));
    let other = owner.get(&format!("/v1/dead-letters?state=dead&page_token={token}")).await;
    other.problem(422, "page_token_mismatch");
    owner.get("/v1/dead-letters?state=undead").await.problem(422, "undefined_value");
}
