//! Who changed what: every change of a resource is a row of auth-service's audit, whoever owns it.

use platform::testing::{SOON, eventually};
use serde_json::{Value, json};

use crate::support::client::{User, id};
use crate::support::story::rule;
use crate::world::TestPlatform;

/// A resource through its life: made, changed, ended. Gives the path of the collection.
async fn live(ada: &User, collection: &str, body: Value, change: Value) {
    let made = id(&ada.create(collection, body).await);
    let path = format!("{collection}/{made}");
    ada.patch(&path, change).await.expect(200);
    ada.delete(&path).await.expect(204);
    // Twice is once, in the audit too.
    ada.delete(&path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_audit_with_who_made_it() {
    let platform = TestPlatform::start().await;
    let ada = platform.register().await;
    let renamed = || json!({"name": "Renamed"});
    let service = id(&ada.create("/v1/services", json!({"slug": "kept", "name": "Kept"})).await);
    let steps = json!([{"name": "call people", "escalate": {}}]);
    let workflow = json!({"slug": "w", "name": "W", "triggers": ["created"], "steps": steps});
    let levels = json!([{"targets": [{"kind": "user", "id": ada.id}], "timeout_ms": 60_000}]);
    let channel =
        json!({"slug": "c", "name": "C", "kind": "webhook", "address": "http://127.0.0.1:9/s3cret"});
    live(&ada, "/v1/services", json!({"slug": "s", "name": "S"}), renamed()).await;
    live(&ada, "/v1/rules", rule(&service, 3), renamed()).await;
    live(&ada, "/v1/workflows", workflow, renamed()).await;
    live(&ada, "/v1/escalation-policies", json!({"slug": "p", "name": "P", "levels": levels}), renamed())
        .await;
    live(&ada, "/v1/channels", channel, renamed()).await;
    let methods = format!("/v1/users/{}/contact-methods", ada.id);
    let method = json!({"kind": "webhook", "address": "http://127.0.0.1:9/s3cret"});
    live(&ada, &methods, method, json!({"disabled": true})).await;

    let kinds = ["channel", "contact_method", "escalation_policy", "rule", "service", "workflow"];
    let mut expected: Vec<String> = kinds
        .iter()
        .flat_map(|kind| ["archived", "created", "updated"].map(|done| format!("{kind}.{done}")))
        .chain(["service.created".to_owned()])
        .collect();
    expected.sort();
    let admin = platform.admin().await;
    let sql = "SELECT action, before IS NOT NULL, after IS NOT NULL, concat(before, after) FROM pulseops_auth.audit \
        WHERE subject_kind = ANY ($1) AND actor_kind = 'user' AND actor_id = $2::text::uuid ORDER BY action";
    let rows = async || admin.query(sql, &[&kinds.as_slice(), &ada.id]).await.expect("the audit");
    eventually(SOON, async || (rows().await.len() >= expected.len()).then_some(())).await;
    platform.settle().await;
    let rows = rows().await;
    let actions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(actions, expected);
    for row in rows {
        let (action, before, after): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((before, after), (!action.ends_with("created"), true), "{action}");
        let text: String = row.get(3);
        assert!(!text.contains("s3cret") && !text.contains("whsec_"), "{action}: {text}");
    }
}
