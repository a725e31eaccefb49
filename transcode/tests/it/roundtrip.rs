//! JSON to wire to JSON over every kind of field, held against prost-reflect's own reading.

mod generate;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value as Proto};
use serde_json::{Map, Value, json};
use transcode::Contract;

use crate::support::{contract, message};
use generate::{anything, body, short};

const NAME: &str = "library.v1.Everything";

static CONTRACT: LazyLock<std::sync::Arc<Contract>> = LazyLock::new(contract);

/// What the answer must look like, from the DynamicMessage that prost-reflect reads.
fn reference(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    let mut members = Map::new();
    for field in descriptor.fields() {
        let value = if field.supports_presence() && !message.has_field(&field) {
            Value::Null
        } else {
            of_field(&field, message.get_field(&field).as_ref())
        };
        members.insert(field.name().to_owned(), value);
    }
    members.into()
}

fn of_field(field: &FieldDescriptor, value: &Proto) -> Value {
    match value {
        Proto::List(items) => items.iter().map(|item| of_value(&field.kind(), item)).collect(),
        Proto::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { panic!("maps have entries") };
            let kind = entry.map_entry_value_field().kind();
            let key = |key: &MapKey| match key {
                MapKey::String(text) => text.clone(),
                MapKey::I32(n) => n.to_string(),
                MapKey::Bool(b) => b.to_string(),
                other => panic!("no such key in the test: {other:?}"),
            };
            let sorted: BTreeMap<_, _> = entries.iter().map(|(k, v)| (key(k), of_value(&kind, v))).collect();
            json!(sorted)
        }
        one => of_value(&field.kind(), one),
    }
}

fn of_value(kind: &Kind, value: &Proto) -> Value {
    match value {
        Proto::Bool(b) => json!(b),
        Proto::I32(n) => json!(n),
        Proto::I64(n) => json!(n),
        Proto::U32(n) => json!(n),
        Proto::U64(n) => json!(n),
        Proto::F32(n) => short(*n),
        Proto::F64(n) => json!(n),
        Proto::String(text) => json!(text),
        Proto::Bytes(bytes) => json!(BASE64_STANDARD.encode(bytes)),
        Proto::EnumNumber(n) => {
            let Kind::Enum(descriptor) = kind else { panic!("an enum's number") };
            let name = descriptor.get_value(*n).expect("a named value").name().to_owned();
            match name.strip_prefix("MOOD_").expect("the prefix") {
                "UNSPECIFIED" => Value::Null,
                word => json!(word.to_lowercase()),
            }
        }
        Proto::Message(inner) => of_message(inner),
        other => panic!("lists and maps are fields: {other:?}"),
    }
}

fn of_message(message: &DynamicMessage) -> Value {
    let number = |name: &str| message.get_field_by_name(name).expect("a field").into_owned();
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            let (Proto::I64(s), Proto::I32(n)) = (number("seconds"), number("nanos")) else {
                panic!("a timestamp")
            };
            let format = match n {
                n if n % 1_000_000 == 0 => chrono::SecondsFormat::Millis,
                n if n % 1_000 == 0 => chrono::SecondsFormat::Micros,
                _ => chrono::SecondsFormat::Nanos,
            };
            let time = chrono::DateTime::from_timestamp(s, n as u32).expect("in range");
            json!(time.to_rfc3339_opts(format, true))
        }
        name if name.starts_with("google.protobuf.") => serde_json::to_value(message).expect("serializes"),
        _ => reference(message),
    }
}

/// Numbers of a Value are doubles: 3 and 3.0 are the same.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => match n.as_f64() {
            Some(f) if f.fract() == 0.0 && f.abs() < 9e15 => json!(f as i64),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), normal(v))).collect(),
        other => other.clone(),
    }
}

fn read(body: &Value) -> Vec<u8> {
    let text = body.to_string();
    let read = CONTRACT.read_json(NAME, text.as_bytes()).expect("a known message");
    read.unwrap_or_else(|fault| panic!("{fault:?} of {text}"))
}

fn write(bytes: &[u8]) -> Value {
    let json = CONTRACT.write_json(NAME, bytes).expect("an encoded message");
    serde_json::from_slice(&json).expect("JSON")
}

/// Every member of `given` stands in `answer`; nulls may be left out of `given`.
fn assert_holds(answer: &Value, given: &Value, path: &str) {
    match (answer, given) {
        (Value::Object(answer), Value::Object(given)) => {
            for (key, value) in given {
                let found = answer.get(key).unwrap_or(&Value::Null);
                assert_holds(found, value, &format!("{path}.{key}"));
            }
        }
        (Value::Array(answer), Value::Array(given)) => {
            assert_eq!(answer.len(), given.len(), "{path}");
            for (n, (answer, given)) in answer.iter().zip(given).enumerate() {
                assert_holds(answer, given, &format!("{path}[{n}]"));
            }
        }
        (answer, given) => assert_eq!(answer, given, "{path}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn json_survives_and_agrees_with_prost_reflect(body in body()) {
        let bytes = read(&body);
        let answer = write(&bytes);
        assert_holds(&normal(&answer), &normal(&body), "");
        let descriptor = message("Everything", json!({})).descriptor();
        let decoded = DynamicMessage::decode(descriptor, bytes.as_slice()).expect("decodes");
        prop_assert_eq!(normal(&answer), normal(&reference(&decoded)));
        // The other encoder's bytes say the same.
        prop_assert_eq!(normal(&write(&decoded.encode_to_vec())), normal(&answer));
    }

    #[test]
    fn no_bytes_make_the_writer_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = CONTRACT.write_json(NAME, &bytes);
    }

    #[test]
    fn no_json_makes_the_reader_panic(value in anything(), key in "[a-z_]{1,12}") {
        let body = json!({ key: value, "nested": value, "ints": value, "by_flag": value, "at": value });
        let _ = CONTRACT.read_json(NAME, body.to_string().as_bytes());
    }
}

#[test]
fn of_a_oneof_the_last_member_stands_and_pieces_are_joined() {
    let text = message("Everything", json!({ "text": "t" })).encode_to_vec();
    let number = message("Everything", json!({ "number": 7, "nested": { "first": "a" } }));
    let piece = message("Everything", json!({ "nested": { "last": "b" }, "ints": [1] }));
    let more = message("Everything", json!({ "ints": [2] }));
    let parts = [text, number.encode_to_vec(), piece.encode_to_vec(), more.encode_to_vec()];
    let answer = write(&parts.concat());
    assert_eq!((&answer["text"], &answer["number"]), (&json!(null), &json!(7)));
    assert_eq!((&answer["nested"]["first"], &answer["nested"]["last"]), (&json!("a"), &json!("b")));
    assert_eq!(answer["ints"], json!([1, 2]));
}

#[test]
fn messages_that_nest_without_end_are_refused() {
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let mut outer = vec![0x9a, 0x01];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    assert!(CONTRACT.write_json(NAME, &bytes).is_none());
}
