//! Bodies of the message that has a field of every kind.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!("good")), Just(json!("very_bad"))]
}

fn time() -> impl Strategy<Value = Value> {
    (0_i64..250_000_000_000, prop_oneof![Just(0_u32), 0_u32..1_000_000_000]).prop_map(|(s, n)| {
        // Cut to what the text has: milliseconds at least.
        let time = chrono::DateTime::from_timestamp(s, n).expect("in range");
        let format = match n {
            n if n % 1_000_000 == 0 => chrono::SecondsFormat::Millis,
            n if n % 1_000 == 0 => chrono::SecondsFormat::Micros,
            _ => chrono::SecondsFormat::Nanos,
        };
        json!(time.to_rfc3339_opts(format, true))
    })
}

pub(super) fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1.0e6..1.0e6_f64).prop_map(|n| json!(n + 0.5_f64.copysign(n)).clone()),
        "[^\\x00]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[^\\x00]{0,4}", inner, 0..4).prop_map(|m| json!(m)),
        ]
    })
}

fn numbers() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    (any::<bool>(), any::<i32>(), any::<i64>(), any::<u32>(), any::<u64>(), any::<f32>(), any::<f64>())
        .prop_map(|(b, i, l, u, w, f, d)| {
            let f = if f.is_finite() { f } else { 1.5 };
            let d = if d.is_finite() { d } else { 2.5 };
            vec![
                ("a_bool", json!(b)),
                ("an_int32", json!(i)),
                ("an_int64", json!(l)),
                ("a_uint32", json!(u)),
                ("a_uint64", json!(w)),
                ("a_sint32", json!(i)),
                ("a_sint64", json!(l)),
                ("a_fixed32", json!(u)),
                ("a_fixed64", json!(w)),
                ("a_sfixed32", json!(i)),
                ("a_sfixed64", json!(l)),
                ("a_float", short(f)),
                ("a_double", json!(d)),
                ("maybe_int", json!(i)),
                ("ints", json!([i, 0, -1])),
                ("doubles", json!([d, 0.0])),
                ("fixed", json!([u])),
                ("by_number", json!({ i.to_string(): "x" })),
            ]
        })
}

/// The number that the shortest text of a float says: where two are as short, that of serde_json.
pub(super) fn short(n: f32) -> Value {
    let text = serde_json::to_string(&n).expect("a number");
    json!(text.parse::<f64>().expect("a number"))
}

fn texts() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let map = prop::collection::btree_map("[^\\x00]{0,6}", any::<i64>(), 0..3);
    ("[^\\x00]*", prop::collection::vec(any::<u8>(), 0..20), word(), word(), map, 0..4_u8).prop_map(
        |(text, bytes, mood, other, map, choice)| {
            let chosen = match choice {
                0 => ("text", json!(text)),
                1 => ("number", json!(7)),
                2 => ("publisher", json!({ "name": text, "url": null, "founded": 0 })),
                _ => ("last", json!(text)),
            };
            vec![
                ("a_string", json!(text)),
                ("some_bytes", json!(BASE64_STANDARD.encode(bytes))),
                ("mood", mood.clone()),
                ("maybe_mood", other.clone()),
                ("strings", json!([text, ""])),
                ("moods", json!([mood, other])),
                ("by_name", json!(map)),
                ("first", json!(text)),
                ("nothing", json!({})),
                chosen,
            ]
        },
    )
}

fn known() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let map = prop::collection::btree_map("[^\\x00]{0,4}", anything(), 0..3);
    let list = prop::collection::vec(anything(), 0..3);
    (time(), time(), map, anything(), list).prop_map(|(at, other, map, anything, list)| {
        vec![
            ("at", at),
            ("times", json!([other])),
            ("attributes", json!(map)),
            ("anything", anything),
            ("list", json!(list)),
        ]
    })
}

/// A body with some of the fields.
pub(super) fn body() -> impl Strategy<Value = Value> {
    let flat = (numbers(), texts(), known(), prop::collection::vec(any::<bool>(), 40)).prop_map(
        |(numbers, texts, known, keep)| {
            let fields = numbers.into_iter().chain(texts).chain(known);
            let kept = fields.zip(keep.into_iter().cycle()).filter(|(_, keep)| *keep);
            Value::Object(kept.map(|((name, value), _)| (name.to_owned(), value)).collect())
        },
    );
    flat.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), inner).prop_map(|(mut outer, inner)| {
            outer["nested"] = inner.clone();
            outer["many"] = json!([inner, {}]);
            outer["by_flag"] = json!({ "true": inner });
            outer
        })
    })
}
