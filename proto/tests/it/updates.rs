use prost_types::FieldMask;
use proto::{check, merge};
use tonic_types::StatusExt;

use crate::sample::shop::v1::order::Payment;
use crate::sample::shop::v1::{Item, Order, UpdateOrderRequest};
use crate::{fault, faults};

fn update(order: Order, paths: &[&str]) -> UpdateOrderRequest {
    let update_mask = Some(mask(paths));
    UpdateOrderRequest { id: "1".into(), order: Some(order), update_mask }
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

#[test]
fn only_masked_fields_are_checked() {
    let order = Order { name: "too long".into(), note: Some("x".into()), ..Order::default() };
    assert_eq!(faults(&update(order.clone(), &["labels"])), [""; 0]);
    assert_eq!(faults(&update(order.clone(), &["note"])), ["order.note: too_short"]);
    assert_eq!(faults(&update(order, &["note", "name"])), ["order.note: too_short", "order.name: too_long"]);
}

#[test]
fn masked_fields_obey_their_rules() {
    let empty = Order::default;
    let items = Order { items: vec![Item::default()], ..empty() };
    let card = Order { payment: Some(Payment::Card("12".into())), ..empty() };
    let table = [
        (update(empty(), &["name"]), "order.name: required"),
        (update(empty(), &["slug"]), "order.slug: immutable"),
        (update(empty(), &["id"]), "order.id: read_only"),
        (update(empty(), &["nam"]), "order.nam: unknown_field"),
        (update(empty(), &["items.name"]), "order.items.name: unknown_field"),
        (update(empty(), &["*"]), "order.*: unknown_field"),
        (update(items, &["items"]), "order.items[0].name: required"),
        (update(card, &["card"]), "order.card: too_short"),
        (update(empty(), &[]), "update_mask: empty_update"),
        (UpdateOrderRequest { update_mask: None, ..update(empty(), &[]) }, "update_mask: empty_update"),
        (UpdateOrderRequest { order: None, ..update(empty(), &["note"]) }, "order: required"),
        (UpdateOrderRequest { id: String::new(), ..update(empty(), &["note"]) }, "id: too_short"),
    ];
    for (request, expected) in table {
        assert_eq!(faults(&request), [expected]);
    }
    assert_eq!(faults(&update(empty(), &["note"])), [""; 0], "an optional field may be cleared");
}

fn current() -> Order {
    Order {
        id: "1".into(),
        slug: "one".into(),
        name: "One".into(),
        note: Some("note".into()),
        items: vec![Item { name: "a".into() }, Item { name: "b".into() }],
        labels: [("k".into(), "v".into())].into(),
        payment: Some(Payment::Card("1234".into())),
        shelves: [("top".into(), Item { name: "c".into() })].into(),
    }
}

#[test]
fn a_merge_takes_the_masked_fields_and_nothing_else() {
    let patch = Order {
        id: "2".into(),
        name: "Two".into(),
        items: vec![Item { name: "c".into() }],
        ..Order::default()
    };
    let merged = merge(&current(), &patch, &mask(&["name", "note", "items"])).expect("a good mask");
    let expected = Order { name: "Two".into(), note: None, items: patch.items.clone(), ..current() };
    assert_eq!(merged, expected);
    assert_eq!(merge(&current(), &patch, &mask(&[])).expect("nothing to do"), current());
}

#[test]
fn members_of_a_oneof_merge_one_by_one() {
    let to = |payment: Option<Payment>, paths: &[&str]| {
        let patch = Order { payment, ..Order::default() };
        merge(&current(), &patch, &mask(paths)).expect("a good mask").payment
    };
    let voucher = Some(Payment::Voucher("v".into()));
    assert_eq!(to(voucher.clone(), &["voucher"]), voucher);
    assert_eq!(to(voucher.clone(), &["voucher", "card"]), voucher);
    assert_eq!(to(voucher.clone(), &["card", "voucher"]), voucher);
    assert_eq!(to(None, &["card"]), None);
    assert_eq!(to(None, &["voucher"]), current().payment, "it was not set");
}

#[test]
fn a_merge_refuses_what_the_codec_refuses() {
    let refused = merge(&current(), &Order::default(), &mask(&["id", "slug", "x", "note"]));
    let faults: Vec<_> = refused.expect_err("a bad mask").iter().map(fault).collect();
    assert_eq!(faults, ["id: read_only", "slug: immutable", "x: unknown_field"]);
}

#[test]
fn a_merged_resource_is_valid_as_a_whole() {
    let merged = merge(&current(), &Order::default(), &mask(&["note"])).expect("a good mask");
    assert_eq!(check(&merged), Ok(()));
}

#[test]
fn an_update_is_merged_and_checked_under_the_requests_field() {
    let patch = Order { name: "Two".into(), ..Order::default() };
    let update =
        |patch: Option<&Order>, paths: &[&str]| proto::update("order", &current(), patch, Some(&mask(paths)));
    let updated = update(Some(&patch), &["name"]).expect("valid");
    assert_eq!(updated, Order { name: "Two".into(), ..current() });
    let fields = |status: tonic::Status| {
        let violations = status.get_error_details().bad_request().expect("fields").field_violations.clone();
        violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(update(Some(&patch), &["id"]).expect_err("read-only")), ["order.id"]);
    assert_eq!(fields(update(None, &["name"]).expect_err("an order has a name")), ["order.name"]);
}
