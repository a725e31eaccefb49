use std::collections::BTreeSet;

use proptest::prelude::*;
use prost_types::FieldMask;
use proto::validate::Resource as _;
use proto::{check, merge};

use crate::sample::shop::v1::{Collections, Item, Order};

fn name() -> impl Strategy<Value = String> {
    "[a-zä]{0,7}"
}

fn order() -> impl Strategy<Value = Order> {
    let items = prop::collection::vec(name(), 0..4);
    (name(), name(), prop::option::of(name()), items).prop_map(|(slug, name, note, items)| Order {
        slug,
        name,
        note,
        items: items.into_iter().map(|name| Item { name }).collect(),
        ..Order::default()
    })
}

proptest! {
    /// The checks are those that the rules say, whatever the value.
    #[test]
    fn an_order_is_valid_exactly_when_its_rules_hold(order in order()) {
        let short = |name: &str| (1..=5).contains(&name.chars().count());
        let holds = !order.slug.is_empty()
            && short(&order.name)
            && order.note.as_ref().is_none_or(|note| note.chars().count() >= 2)
            && order.items.iter().all(|item| short(&item.name));
        prop_assert_eq!(check(&order).is_ok(), holds);
    }

    /// Each violation stands at a field of its own, so a client can mark them all.
    #[test]
    fn no_field_is_reported_twice(tags in prop::collection::vec("[a-c]{0,3}", 0..6)) {
        let message = Collections { tags, wanted: vec!["x".into()], ..Collections::default() };
        let found = check(&message).err().unwrap_or_default();
        let codes: BTreeSet<_> = found.iter().map(|v| (v.field.clone(), v.code)).collect();
        prop_assert_eq!(codes.len(), found.len());
    }

    #[test]
    fn merging_twice_is_merging_once(current in order(), patch in order(), picked in prop::collection::vec(any::<bool>(), 8)) {
        let paths = Order::FIELDS.iter().zip(picked).filter(|((name, _), picked)| *picked && !matches!(*name, "id" | "slug"));
        let mask = FieldMask { paths: paths.map(|((name, _), _)| (*name).to_owned()).collect() };
        let once = merge(&current, &patch, &mask).expect("a good mask");
        prop_assert_eq!(&merge(&once, &patch, &mask).expect("a good mask"), &once);
        for name in ["name", "note", "items"] {
            let mut from_patch = once.clone();
            from_patch.copy_field(name, if mask.paths.iter().any(|path| path == name) { &patch } else { &current });
            prop_assert_eq!(&from_patch, &once, "{}", name);
        }
    }
}
