use std::collections::BTreeMap;

use proto::{check, check_resource};

use crate::faults;
use crate::sample::shop::v1::choice::{Delivery, Parcel};
use crate::sample::shop::v1::{Choice, Collections, Item, Numbers, Order, Presence, Strings};
use crate::scalars::{numbers, strings};

#[test]
fn a_valid_message_passes() {
    assert_eq!(faults(&strings()), [""; 0]);
    assert_eq!(faults(&numbers()), [""; 0]);
    assert_eq!(faults(&collections()), [""; 0]);
    assert_eq!(faults(&presence()), [""; 0]);
    assert_eq!(faults(&choice(Delivery::Locker("1234".into()))), [""; 0]);
}

fn collections() -> Collections {
    Collections { tags: vec!["aa".into()], wanted: vec!["x".into()], ..Collections::default() }
}

fn item(name: &str) -> Item {
    Item { name: name.into() }
}

#[test]
fn collection_rules() {
    type Case = (&'static [&'static str], fn(&mut Collections));
    let table: &[Case] = &[
        (&["tags: too_few"], |m| m.tags.clear()),
        (&["tags: too_many"], |m| m.tags = ["aa", "bb", "cc", "dd"].map(String::from).to_vec()),
        (&["tags[2]: not_unique"], |m| m.tags = ["aa", "bb", "aa"].map(String::from).to_vec()),
        (&["tags[0]: too_short", "tags[1]: too_short"], |m| m.tags = ["a", ""].map(String::from).to_vec()),
        (&["items[1].name: required", "items[2].name: too_long"], |m| {
            m.items = vec![item("a"), item(""), item("abcdef")];
        }),
        (&["sizes[1]: undefined_value"], |m| m.sizes = vec![1, 9]),
        (&["labels.a: too_long"], |m| m.labels = [("a".into(), "long".into())].into()),
        (&["labels.A b: pattern"], |m| m.labels = [("A b".into(), "x".into())].into()),
        (&["labels: too_many"], |m| m.labels = ["a", "b", "c"].map(|k| (k.into(), "x".into())).into()),
        (&["by_name.x.name: required"], |m| m.by_name = [("x".into(), item(""))].into()),
        (&["by_number.-7.name: required"], |m| m.by_number = [(-7, item(""))].into()),
        (&["wanted: required"], |m| m.wanted.clear()),
        (&["skipped: too_few"], |m| m.skipped = vec!["x".into()]),
    ];
    for (expected, change) in table {
        let mut message = collections();
        change(&mut message);
        assert_eq!(faults(&message), *expected);
    }
}

fn presence() -> Presence {
    Presence {
        required: "abc".into(),
        required_optional: Some(0),
        at: Some(prost_types::Timestamp::default()),
        chosen: Some(false),
        ..Presence::default()
    }
}

#[test]
fn presence_decides_what_is_checked() {
    type Case = (&'static [&'static str], fn(&mut Presence));
    let table: &[Case] = &[
        (&["required: required"], |m| m.required.clear()),
        (&["required: too_short"], |m| m.required = "ab".into()),
        (&["optional: too_short"], |m| m.optional = Some(String::new())),
        (&["required_optional: required"], |m| m.required_optional = None),
        (&["if_given: too_short"], |m| m.if_given = "ab".into()),
        (&[], |m| m.never = "ab".into()),
        (&[], |m| m.answered = "ab".into()),
        (&["at: required"], |m| m.at = None),
        (&["item.name: required"], |m| m.item = Some(item(""))),
        (&[], |m| m.answered_item = Some(item(""))),
        (&["chosen: required"], |m| m.chosen = None),
        (&["size: undefined_value"], |m| m.size = Some(9)),
    ];
    for (expected, change) in table {
        let mut message = presence();
        change(&mut message);
        assert_eq!(faults(&message), *expected);
    }
}

fn choice(delivery: Delivery) -> Choice {
    Choice { delivery: Some(delivery), ..Choice::default() }
}

#[test]
fn oneofs() {
    let none = check(&Choice::default()).expect_err("nothing chosen");
    // A oneof is no member of the JSON: the fault is of what it stands in.
    assert_eq!(none[0].field, "");
    assert_eq!(none[0].detail, "needs one of parcel, locker, desk");
    assert_eq!(faults(&choice(Delivery::Locker("12".into()))), ["locker: too_short"]);
    assert_eq!(faults(&choice(Delivery::Desk(0))), [""; 0]);
    let parcel = choice(Delivery::Parcel(Parcel::default()));
    assert_eq!(faults(&parcel), ["parcel.street: required"]);
    let nested = Choice { otherwise: Some(Box::new(parcel)), ..choice(Delivery::Desk(1)) };
    assert_eq!(faults(&nested), ["otherwise.parcel.street: required"]);
    let undecided = Choice { otherwise: Some(Box::default()), ..choice(Delivery::Desk(1)) };
    assert_eq!(faults(&undecided), ["otherwise: required"]);
}

#[test]
fn details_say_what_is_asked_and_never_the_value() {
    let message = Strings { between: "secret-value".into(), contains: "secret-value".into(), ..strings() };
    let details: Vec<_> = check(&message).expect_err("two faults").into_iter().map(|v| v.detail).collect();
    assert_eq!(details, ["must have at most 4 characters", "must contain \"\\\"mid\\\"\""]);

    let message = Collections { labels: [("A".into(), "x".into())].into(), ..collections() };
    assert_eq!(check(&message).expect_err("a bad key")[0].detail, "key must match ^[a-z]+$");

    let message = Numbers { page: 0, wearable: 0, taken: 2, ..numbers() };
    let details: Vec<_> = check(&message).expect_err("three faults").into_iter().map(|v| v.detail).collect();
    assert_eq!(
        details,
        ["must be from 1 to 200", "must be one of small, very_large", "must not be very_large"]
    );
}

#[test]
fn long_keys_are_cut_and_many_violations_end() {
    let labels: BTreeMap<_, _> = [("Ä".repeat(200), "x".to_owned())].into();
    let found = check(&Collections { labels, ..collections() }).expect_err("a bad key");
    assert_eq!(found[0].field, format!("labels.{}…", "Ä".repeat(64)));

    let many = Collections { items: vec![item(""); 100_000], ..collections() };
    assert_eq!(check(&many).expect_err("bad items").len(), proto::validate::Violations::LIMIT);
}

#[test]
fn a_merged_resource_is_checked_under_the_request_field() {
    let found = check_resource("order", &Order::default()).expect_err("slug and name are missing");
    let fields: Vec<_> = found.into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["order.slug", "order.name"]);
}
