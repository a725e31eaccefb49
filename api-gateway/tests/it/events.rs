//! `POST /v1/events`: what is taken, what is rejected, and what then stands in the log.

use http::Method;
use http::header::CONTENT_TYPE;
use platform::error::Error;
use platform::rpc::Fault;
use proto::time::from_timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::world::{NDJSON, RESOLVE, World};

fn faults(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(field, code)| ((*field).to_owned(), (*code).to_owned())).collect()
}

fn rejected(of: &[(u64, &str)]) -> Vec<(u64, String)> {
    of.iter().map(|(index, code)| (*index, (*code).to_owned())).collect()
}

#[tokio::test]
async fn one_object_stands_in_the_log_when_it_is_answered() {
    let world = World::new().await;
    let payment = world.service("payment").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let event = json!({
        "id": "e1", "service": "payment", "name": "charge.failed", "severity": "high", "value": 12.5,
        "attributes": { "region": "eu" }, "time": "2026-01-02T03:04:05.678Z", "dedup_key": "k",
    });
    let request = world.user("responder").request(Method::POST, "/v1/events");
    let request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let answer = world.nobody().send(request.body(event.to_string().into()).expect("a request")).await;
    assert_eq!(answer.taken(), (1, vec![]));
    assert_eq!(answer.text, r#"{"accepted":1,"rejected":[]}"#);

    let stored = world.stored().await;
    let [(envelope, stored)] = &stored[..] else { panic!("one event: {stored:?}") };
    assert_eq!((envelope.org, &envelope.subject), (world.org, &payment));
    assert_eq!((envelope.ty.as_str(), envelope.depth), ("pulseops.event.received.v1", 0));
    assert!(envelope.trace.contains(trace), "{}", envelope.trace);
    assert_eq!((stored.id.as_str(), &stored.service), ("e1", &payment));
    assert_eq!((stored.name.as_str(), stored.dedup_key.as_str()), ("charge.failed", "k"));
    assert_eq!((stored.value, stored.attributes["region"].as_str()), (Some(12.5), "eu"));
    let at = |time: &Option<prost_types::Timestamp>| from_timestamp(time.as_ref().expect("set"));
    assert_eq!(at(&stored.time).expect("a time").timestamp_millis(), 1_767_323_045_678);
    assert_eq!(at(&stored.accepted_at), Some(envelope.time));
}

#[tokio::test]
async fn what_a_client_leaves_out_is_made() {
    let world = World::new().await;
    let payment = world.service("payment").await;
    // By UUID this time, and without an id and a time.
    let event = json!({ "service": payment, "name": "a" });
    let events = json!([event, event, event]);
    assert_eq!(world.user("owner").events(&events).await.taken(), (3, vec![]));
    let mut ids = world.stored_ids().await;
    ids.dedup();
    assert_eq!(ids.len(), 3, "every event has an id of its own");
    for (envelope, event) in world.stored().await {
        assert_eq!(event.id, envelope.id.to_string());
        assert!(event.accepted_at.is_some() && event.time == event.accepted_at);
    }
}

#[tokio::test]
async fn a_bad_item_spoils_no_other() {
    let world = World::new().await;
    world.service("payment").await;
    let owner = world.user("owner");
    let events = json!([
        { "id": "1", "service": "payment", "name": "a" },
        { "id": "2", "service": "payment" },
        { "id": "3", "service": "nobody", "name": "a" },
        7,
        { "id": "5", "name": "a" },
        { "id": "6", "service": "payment", "name": "a", "colour": "red" },
        { "id": "7", "service": "payment", "name": "a" },
    ]);
    let answer = owner.events(&events).await;
    let reasons =
        [(1, "required"), (2, "unknown_service"), (3, "invalid_type"), (4, "required"), (5, "unknown_field")];
    assert_eq!(answer.taken(), (2, rejected(&reasons)));
    assert!(answer.text_at("/rejected/0/detail").starts_with("name: "));
    assert!(answer.text_at("/rejected/4/detail").starts_with("colour: "));

    let lines = "{\"id\":\"8\",\"service\":\"payment\",\"name\":\"a\"}\r\n\n{\"id\": oops}\n\
        {\"id\":\"9\",\"service\":\"payment\",\"name\":\"a\"}";
    let answer = owner.post("/v1/events", NDJSON, lines).await;
    assert_eq!(answer.taken(), (2, rejected(&[(1, "malformed_json")])));
    assert_eq!(world.stored_ids().await, ["1", "7", "8", "9"]);
}

#[tokio::test]
async fn when_all_are_bad_it_is_a_problem() {
    let world = World::new().await;
    let owner = world.user("owner");
    let answer = owner.events(&json!({ "service": "payment" })).await;
    answer.problem(422, "required");
    assert_eq!(answer.faults(), faults(&[("name", "required")]));

    let answer = owner.events(&json!([{ "name": "a" }, { "name": "a", "service": "x" }, []])).await;
    answer.problem(422, "invalid");
    let expected = [("[0].service", "required"), ("[1].service", "unknown_service"), ("[2]", "invalid_type")];
    assert_eq!(answer.faults(), faults(&expected));

    let answer = owner.post("/v1/events", NDJSON, "{oops}\n").await;
    answer.problem(422, "malformed_json");
    assert_eq!(answer.faults(), faults(&[("[0]", "malformed_json")]));
    assert_eq!(world.stored_ids().await, [] as [&str; 0]);
}

#[tokio::test]
async fn archived_services_and_those_of_others_take_no_events() {
    let world = World::new().await;
    let (old, owner) = (world.service("old").await, world.user("owner"));
    assert_eq!(owner.empty(Method::DELETE, &format!("/v1/services/{old}")).await.status, 204);
    let theirs = world.stranger().create_service("theirs").await;
    let event = |service: &str| json!({ "service": service, "name": "a" });
    let answer = owner.events(&json!([event("old"), event(&old), event("theirs"), event(&theirs)])).await;
    answer.problem(422, "invalid");
    let expected = [
        ("[0].service", "archived_service"),
        ("[1].service", "archived_service"),
        ("[2].service", "unknown_service"),
        ("[3].service", "unknown_service"),
    ];
    assert_eq!(answer.faults(), faults(&expected));
    assert_eq!(world.stored_ids().await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_key_implies_its_service_and_no_other() {
    let world = World::new().await;
    let (payment, _) = (world.service("payment").await, world.service("orders").await);
    let key = world.key_of(&payment);
    let events = json!([
        { "id": "1", "name": "a" },
        { "id": "2", "name": "a", "service": "payment" },
        { "id": "3", "name": "a", "service": payment },
        { "id": "4", "name": "a", "service": "orders" },
        { "id": "5", "name": "a", "service": "nobody" },
    ]);
    let taken = key.events(&events).await.taken();
    assert_eq!(taken, (3, rejected(&[(3, "service_mismatch"), (4, "unknown_service")])));
    for (_, event) in world.stored().await {
        assert_eq!(event.service, payment);
    }

    let old = world.service("old").await;
    assert_eq!(world.user("owner").empty(Method::DELETE, &format!("/v1/services/{old}")).await.status, 204);
    world.key_of(&old).events(&json!({ "name": "a" })).await.problem(422, "archived_service");
}

#[tokio::test]
async fn without_incident_service_only_keys_go_on() {
    let world = World::new().await;
    let (payment, owner) = (world.service("payment").await, world.user("owner"));
    let away = || Fault::Fail(Error::unavailable("service_unavailable", "cannot be reached"));
    world.deps.directory.faults().inject(RESOLVE, 2, away());
    let event = json!({ "id": "1", "service": "payment", "name": "a" });
    let answer = owner.events(&event).await;
    answer.problem(503, "service_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));

    // The key says which service it is.
    assert_eq!(world.key_of(&payment).events(&json!({ "id": "2", "name": "a" })).await.taken(), (1, vec![]));
    assert_eq!(world.deps.directory.faults().waiting(RESOLVE), 0);
    assert_eq!(owner.events(&event).await.taken(), (1, vec![]));
    assert_eq!(world.stored_ids().await, ["1", "2"]);
}

#[tokio::test]
async fn services_are_looked_up_once() {
    let world = World::new().await;
    let payment = world.service("payment").await;
    let owner = world.user("owner");
    let event = json!([{ "service": "payment", "name": "a" }, { "service": payment, "name": "a" }]);
    assert_eq!(owner.events(&event).await.taken(), (2, vec![]));
    let away = Error::unavailable("service_unavailable", "cannot be reached");
    world.deps.directory.faults().inject(RESOLVE, 1, Fault::Fail(away));
    assert_eq!(owner.events(&event).await.taken(), (2, vec![]));
    let id = Uuid::from_u128(7).to_string();
    owner.events(&json!({ "service": id, "name": "a" })).await.problem(503, "service_unavailable");
}
