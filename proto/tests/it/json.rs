use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value};
use proto::api::v1::{Actor, ActorKind, Link, Severity};
use proto::incident::v1::Incident;
use proto::json::{Error, from_json, to_json};
use serde_json::json;

fn incident() -> Incident {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    Incident {
        id: "0190d8a1-7c53-7000-8000-000000000001".into(),
        number: 9_007_199_254_740_991,
        severity: Severity::Critical.into(),
        labels: [("region".into(), "eu".into())].into(),
        custom_fields: Some(Struct { fields: [("HIGH".into(), text("SEVERITY_HIGH"))].into() }),
        links: vec![Link { href: "https://example.org".into(), text: String::new() }],
        created_at: Some(Timestamp { seconds: 1_767_323_045, nanos: 120_000_000 }),
        acknowledged_by: Some(Actor { kind: ActorKind::ApiKey.into(), ..Actor::default() }),
        ..Incident::default()
    }
}

#[test]
fn json_is_that_of_the_rest_api() {
    let json = to_json(&incident()).expect("a message of the contract");
    assert_eq!(json["number"], json!(9_007_199_254_740_991_i64));
    assert_eq!(json["severity"], "critical");
    assert_eq!(json["urgency"], json!(null), "unspecified");
    assert_eq!(json["labels"], json!({"region": "eu"}));
    assert_eq!(json["custom_fields"], json!({"HIGH": "SEVERITY_HIGH"}));
    assert_eq!(json["links"], json!([{"href": "https://example.org", "text": ""}]));
    assert_eq!(json["created_at"], "2026-01-02T03:04:05.120Z");
    assert_eq!(json["acknowledged_by"], json!({"kind": "api_key", "id": "", "name": ""}));
    assert_eq!(json["resolved_at"], json!(null));
    assert_eq!(json["team_id"], json!(null), "optional");
    assert_eq!(json["auto_resolved"], json!(false));
    assert_eq!(json["assignee_ids"], json!([]));
}

#[test]
fn json_comes_back_as_the_same_message() {
    let json = to_json(&incident()).expect("a message of the contract");
    assert_eq!(from_json::<Incident>(&json).expect("its own JSON"), incident());
}

#[test]
fn times_show_microseconds_only_when_there_are_any() {
    let created_at = Some(Timestamp { seconds: 0, nanos: 1_000 });
    let json = to_json(&Incident { created_at, ..Incident::default() }).expect("a message");
    assert_eq!(json["created_at"], "1970-01-01T00:00:00.000001Z");
}

#[test]
fn json_that_is_no_message_is_refused() {
    for json in [
        json!({"titel": "x"}),
        json!({"title": 1}),
        json!({"severity": "terrible"}),
        json!({"links": [{"hreff": ""}]}),
        json!([]),
    ] {
        let error = from_json::<Incident>(&json).expect_err("no incident");
        assert!(matches!(error, Error::Mismatch { .. }), "{json}: {error}");
    }
}
