//! What holds without a rule: text without U+0000, times that protobuf has; and what labels weigh.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Timestamp, Value};
use proto::auth::v1::Team;
use proto::incident::v1::{Incident, ListIncidentsRequest};
use proto::workflow::v1::{ListRunsRequest, Workflow};

use crate::faults;
use crate::sample::shop::v1::choice::Delivery;
use crate::sample::shop::v1::{Choice, Order, Presence};

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Struct {
    Struct { fields: members.map(|(key, value)| (key.to_owned(), value)).into() }
}

#[test]
fn u0000_is_refused_wherever_text_stands() {
    let order = Order {
        id: "set by the server\0".into(),
        slug: "a\0".into(),
        name: "ok".into(),
        note: Some("n\0".into()),
        labels: [("k\0".into(), "v".into()), ("l".into(), "\0".into())].into(),
        ..Order::default()
    };
    let expected =
        ["slug: invalid_text", "note: invalid_text", "labels.k\0: invalid_text", "labels.l: invalid_text"];
    assert_eq!(faults(&order), expected);
    let choice = Choice { delivery: Some(Delivery::Locker("12\x003".into())), ..Choice::default() };
    assert_eq!(faults(&choice), ["locker: invalid_text"]);
}

#[test]
fn u0000_is_refused_inside_objects() {
    let list = Value { kind: Some(Kind::ListValue(ListValue { values: vec![text("a"), text("\0")] })) };
    let inner = Value { kind: Some(Kind::StructValue(object([("k\0", text("v"))]))) };
    let incident = Incident {
        title: "t".into(),
        severity: 1,
        service_id: "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8".into(),
        custom_fields: Some(object([("deep", inner), ("list", list)])),
        ..Incident::default()
    };
    let expected = ["custom_fields.deep.k\0: invalid_text", "custom_fields.list[1]: invalid_text"];
    assert_eq!(faults(&incident), expected);
}

#[test]
fn times_are_those_that_protobuf_has() {
    let at = |seconds, nanos| Presence {
        required: "abc".into(),
        required_optional: Some(0),
        chosen: Some(true),
        at: Some(Timestamp { seconds, nanos }),
        ..Presence::default()
    };
    for (seconds, nanos) in [(0, 0), (-62_135_596_800, 0), (253_402_300_799, 999_999_999)] {
        assert_eq!(faults(&at(seconds, nanos)), [""; 0], "{seconds} {nanos}");
    }
    for (seconds, nanos) in
        [(-62_135_596_801, 0), (253_402_300_800, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)]
    {
        assert_eq!(faults(&at(seconds, nanos)), ["at: out_of_range"], "{seconds} {nanos}");
    }
    // Filters of lists too, where no other rule stands.
    let far = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    let request = ListIncidentsRequest { created_before: far, ..ListIncidentsRequest::default() };
    assert_eq!(faults(&request), ["created_before: out_of_range"]);
}

#[test]
fn labels_are_bounded_as_a_whole() {
    let labels = |count: usize| -> BTreeMap<String, String> {
        (0..count).map(|n| (format!("{n:03}"), "x".repeat(1021))).collect()
    };
    let team = |labels| Team { slug: "a".into(), name: "A".into(), labels, ..Team::default() };
    assert_eq!(faults(&team(labels(16))), [""; 0]);
    assert_eq!(faults(&team(labels(17))), ["labels: too_long"]);
}

/// Over gRPC an enum may be zero, which filters nothing and starts nothing.
#[test]
fn filters_and_triggers_name_something() {
    let request = ListRunsRequest { status: vec![1, 0], ..ListRunsRequest::default() };
    assert_eq!(faults(&request), ["status[1]: excluded"]);
    let triggers = Workflow { triggers: vec![0], ..Workflow::default() };
    assert!(faults(&triggers).contains(&"triggers[0]: excluded".to_owned()));
}

#[test]
fn encoded_inputs_are_checked_by_name() {
    let check = |name: &str, bytes: &[u8]| proto::check_encoded(name, bytes);
    let request = ListRunsRequest { page_size: 201, ..ListRunsRequest::default() }.encode_to_vec();
    let found = check("pulseops.workflow.v1.ListRunsRequest", &request).expect("an input").expect("decodes");
    assert_eq!(found.iter().map(crate::fault).collect::<Vec<_>>(), ["page_size: out_of_range"]);
    assert!(check("pulseops.workflow.v1.ListRunsRequest", &[0xff]).expect("an input").is_err());
    assert!(check("pulseops.workflow.v1.Run", &[]).is_none());
}
