//! What docs/webhooks.md shows is what is sent.

use proto::api::v1::Reference;
use proto::incident::v1::EscalationData;
use serde_json::{Map, Value};

use crate::world::{World, channel};
use platform::testing::Receiver;

const PAGE: &str = include_str!("../../../docs/webhooks.md");
/// Objects whose keys are the user's.
const FREE: [&str; 3] = ["labels", "custom_fields", "attributes"];

/// The keys of an object and of those in it, as paths. What is null on either side has none.
fn keys(shown: &Map<String, Value>, sent: &Map<String, Value>, path: &str) -> Vec<(String, bool, bool)> {
    let mut all: Vec<&String> = shown.keys().chain(sent.keys()).collect();
    all.sort();
    all.dedup();
    let mut found = Vec::new();
    for key in all {
        let path = format!("{path}/{key}");
        found.push((path.clone(), shown.contains_key(key), sent.contains_key(key)));
        if let (Some(Value::Object(shown)), Some(Value::Object(sent))) = (shown.get(key), sent.get(key))
            && !FREE.contains(&key.as_str())
        {
            found.extend(keys(shown, sent, &path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_page_has_the_keys_of_a_page() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let ops = world.create_channel("ops", &receiver.url("hook")).await;
    let mut request = world.page("k", vec![channel(&ops.id)]);
    let event = request.incident.as_mut().expect("an incident");
    let reference = event.service.clone().unwrap_or_default();
    event.team = Some(Reference { name: "Payments".to_owned(), ..reference.clone() });
    event.policy = Some(Reference { name: "On call".to_owned(), ..reference });
    event.escalation = Some(EscalationData { level: 2, round: 1, ..EscalationData::default() });
    event.attributes = [("region".to_owned(), "eu".to_owned())].into();
    world.send(request).await;
    let hit = receiver.nth("/hook", 1).await;

    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let example: Value = serde_json::from_str(example.expect("an example")).expect("JSON");
    let sent = hit.json();
    let (shown, sent) = (example.as_object().expect("an object"), sent.as_object().expect("an object"));
    let keys = keys(shown, sent, "");
    assert!(keys.len() > 40, "{keys:?}");
    let apart: Vec<_> = keys.into_iter().filter(|(_, shown, sent)| shown != sent).collect();
    assert_eq!(apart, []);
    for name in hit.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("webhook-")) {
        assert!(PAGE.contains(&format!("| `{name}` |")), "{name}");
    }
    assert!(hit.headers.contains_key("traceparent") && PAGE.contains("| `traceparent` |"));
}
