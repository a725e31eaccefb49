//! Whoever creates something is told where it is, and it is there.

use serde_json::json;

use crate::contract::contract;
use crate::fixture::Fixture;
use crate::world::TestPlatform;

/// What no GET reads by itself.
const NOWHERE: [&str; 2] = ["create_integration_key", "create_note"];

#[tokio::test(flavor = "multi_thread")]
async fn location_leads_to_what_was_created() {
    let mut platform = TestPlatform::start().await;
    let fixture = Fixture::make(&platform).await;
    let mut created = fixture.created.clone();
    let note = format!("/v1/incidents/{}/notes", fixture.id("incidents"));
    let person = json!({"email": "bob@example.com", "name": "Bob", "role": "viewer"});
    for (path, body) in [(note, json!({"text": "seen"})), ("/v1/users".to_owned(), person)] {
        let answer = fixture.owner.post(&path, body).await;
        let location = answer.headers.get("location").map(|it| it.to_str().expect("a path").to_owned());
        answer.expect(201);
        created.push((path, location));
    }
    let contract = contract();
    let creates = |it: &&transcode::Operation| it.is_documented() && it.name().starts_with("create_");
    for operation in contract.operations().iter().filter(creates) {
        let name = operation.name();
        let path = fixture.path(operation);
        let found = created.iter().find(|(made, _)| *made == path);
        let (_, location) = found.unwrap_or_else(|| panic!("nothing was made by {name} ({path})"));
        assert_eq!(location.is_none(), NOWHERE.contains(&name), "{name}: {location:?}");
        if let Some(location) = location {
            fixture.owner.get(location).await.expect(200);
        }
    }
    platform.forgive();
}
