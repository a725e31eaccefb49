//! What we read is what CEL reads.

use std::collections::HashMap;

use cel::{Context, ExecutionError, Program, Value};
use proptest::prelude::*;

use crate::{Message, compile};

fn numbers() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..20_i64).prop_map(|n| n.to_string()),
        Just("message.count".to_owned()),
        Just("size(message.tags)".to_owned()),
        Just("size(message.kind)".to_owned()),
        Just("[3, 5, 7][1]".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "%"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.prop_map(|a| format!("({a})")),
        ]
    })
}

fn truths() -> impl Strategy<Value = String> {
    let compared = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (numbers(), compared, numbers()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (numbers(), numbers()).prop_map(|(a, b)| format!("{a} in [{b}, 7]")),
        Just("message.tags.region == \"e\\u0075\"".to_owned()),
        Just("message.tags.zone != r'\\x'".to_owned()),
        Just("message.tags.text.matches('[0-9] is')".to_owned()),
        Just("message.tags.exists(k, message.tags[k] == '2' && k in ['tier'])".to_owned()),
        Just("message.tags.map(k, size(k)).all(n, n > 4)".to_owned()),
        Just("has(message.tags.tier)".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let joined = prop::sample::select(vec![" && ", " || "]);
        prop_oneof![
            (prop::collection::vec(inner.clone(), 2..4), joined).prop_map(|(parts, o)| parts.join(o)),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : {c})")),
        ]
    })
}

/// The answer of CEL's own reading, in our terms.
fn by_cel(text: &str, message: &Message) -> Option<bool> {
    let program = Program::compile(text).expect(text);
    let tags: HashMap<&str, Value> =
        message.tags.iter().map(|(key, value)| (key.as_str(), value.as_str().into())).collect();
    let fields: HashMap<&str, Value> = HashMap::from([
        ("kind", message.kind.as_str().into()),
        ("count", Value::Int(message.count)),
        ("tags", tags.into()),
    ]);
    let mut context = Context::default();
    context.add_variable_from_value("message", fields);
    match program.execute(&context) {
        Ok(Value::Bool(holds)) => Some(holds),
        Ok(other) => panic!("{text} answers {other:?}"),
        Err(ExecutionError::NoSuchKey(_)) => Some(false),
        Err(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn answers_are_those_of_cel(text in truths()) {
        // Chains longer than we accept are not compared.
        if let Ok(expression) = compile(&text) {
            let message = Message::sample();
            let ours = expression.holds(&message.bound()).ok();
            prop_assert_eq!(ours, by_cel(&text, &message), "{}", text);
        }
    }
}
