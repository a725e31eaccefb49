use expression::Pinned;
use proptest::prelude::*;

use crate::{Message, compile};

fn kinds(text: &str) -> Option<String> {
    match compile(text).expect(text).pinned("message", "kind") {
        Pinned::Any => None,
        Pinned::Only(kinds) => Some(kinds.into_iter().collect::<Vec<_>>().join(" ")),
    }
}

#[test]
fn values_are_found_where_the_expression_pins_them() {
    for (text, expected) in [
        ("message.kind == 'a'", Some("a")),
        ("'a' == message.kind && message.value > 1", Some("a")),
        ("message.value > 1 && message.kind in ['a', 'b']", Some("a b")),
        ("message.kind == 'a' || message.kind == 'b' || message.kind == 'c'", Some("a b c")),
        ("message.kind in ['a', 'b'] && message.kind in ['b', 'c']", Some("b")),
        ("(message.kind == 'a' || message.value > 1) && message.kind == 'b'", Some("b")),
        ("message.kind == 'a' && (message.urgent ? message.kind == 'b' : true)", Some("a")),
        ("message.kind == 'a' || message.value > 1", None),
        ("message.kind != 'a'", None),
        ("!(message.kind == 'a')", None),
        ("message.kind == message.tags.kind", None),
        ("has(message.kind)", None),
        ("true", None),
    ] {
        assert_eq!(kinds(text).as_deref(), expected, "{text}");
    }
}

fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..3_u8).prop_map(|n| format!("message.kind == 'n{n}'")),
        (0..3_u8).prop_map(|n| format!("message.kind != 'n{n}'")),
        Just("message.kind in ['n0', 'n1']".to_owned()),
        Just("message.value > 1".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    /// An index may only leave out what the expression does not hold for.
    #[test]
    fn an_index_never_hides_what_holds(
        text in expressions(),
        kind in 0..4_u8,
        value in prop::option::of(0_u8..3),
    ) {
        let kind = format!("n{kind}");
        let expression = compile(&text).expect("generated to be good");
        let message = Message { kind: kind.clone(), value: value.map(f64::from), ..Message::sample() };
        let holds = expression.holds(&message.bound());
        if let Pinned::Only(kinds) = expression.pinned("message", "kind") {
            prop_assert!(kinds.contains(&kind) || holds == Ok(false), "{}", text);
        }
    }
}
