use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use proto::incident::v1::SampleEvent;

use super::*;

fn scope(name: &str, value: Option<f64>, region: &str) -> Scope {
    let attributes = BTreeMap::from([("region".to_owned(), region.to_owned())]);
    let event =
        SampleEvent { name: name.to_owned(), severity: 2, value, attributes, dedup_key: String::new() };
    Scope::new(event::sample_to_cel(&event, DateTime::UNIX_EPOCH))
}

fn selects(source: &str) -> bool {
    let selection = Selection::compile(source).expect(source);
    selection.selects(&scope("charge.failed", Some(4.5), "eu")).expect(source)
}

#[test]
fn events_are_selected_by_their_fields() {
    assert!(selects(r#"event.name == "charge.failed" && event.attributes.region == "eu""#));
    assert!(selects("event.value > 3.0 && event.value > 4"));
    assert!(selects(r#"event.severity in ["critical", "high"]"#));
    assert!(selects(r#"event.name.startsWith("charge.") && has(event.value)"#));
    assert!(selects(r#"event.attributes.exists(name, name == "region")"#));
    assert!(selects("event.time == timestamp('1970-01-01T00:00:00Z')"));
    assert!(!selects(r#"event.name == "charge.succeeded""#));
}

#[test]
fn what_an_event_lacks_selects_nothing() {
    let lacking = scope("x", None, "eu");
    for source in ["event.value > 3", "!(event.value > 3)", r#"event.attributes.zone != "a""#] {
        let selection = Selection::compile(source).expect(source);
        assert_eq!(selection.selects(&lacking), Ok(false), "{source}");
    }
    let guarded = Selection::compile("!has(event.value)").expect("good");
    assert_eq!(guarded.selects(&lacking), Ok(true));
}

#[test]
fn types_that_do_not_fit_are_errors() {
    let selection = Selection::compile(r#"event.attributes.region > 3"#).expect("cannot be known");
    assert!(selection.selects(&scope("x", None, "eu")).is_err());
}

#[test]
fn bad_expressions_are_pointed_at() {
    let place = |source: &str| {
        let bad = Selection::compile(source).expect_err(source);
        (bad.line, bad.column, bad.detail)
    };
    let (line, column, _) = place("event.name ==\n  == 3");
    assert_eq!((line, column), (2, 3));
    assert_eq!(place("true && evnt.name == 'x'").1, 9);
    assert!(place("event.nme == 'x'").2.contains("no field nme"));
    assert!(place("event.name.upper() == 'X'").2.contains("no function upper"));
    assert!(place("event.name").2.contains("true or false"));
    assert!(place("1 + 1").2.contains("true or false"));
    assert!(place("{'a': 1}.a == 1").2.contains("maps"));
    let nested =
        "event.attributes.all(a, event.attributes.all(b, event.attributes.all(c, a == b && b == c)))";
    assert!(place(nested).2.contains("inside one another"));
}

#[test]
fn names_are_found_where_the_expression_pins_them() {
    let names = |source: &str| match Selection::compile(source).expect(source).names().clone() {
        Names::Any => None,
        Names::Only(names) => Some(names.into_iter().collect::<Vec<_>>().join(" ")),
    };
    let only = |text: &str| Some(text.to_owned());
    assert_eq!(names("event.name == 'a'"), only("a"));
    assert_eq!(names("'a' == event.name && event.value > 1"), only("a"));
    assert_eq!(names("event.value > 1 && event.name in ['a', 'b']"), only("a b"));
    assert_eq!(names("event.name == 'a' || event.name == 'b' || event.name == 'c'"), only("a b c"));
    assert_eq!(names("event.name in ['a', 'b'] && event.name in ['b', 'c']"), only("b"));
    assert_eq!(names("(event.name == 'a' || event.value > 1) && event.name == 'b'"), only("b"));
    assert_eq!(names("event.name == 'a' || event.value > 1"), None);
    assert_eq!(names("event.name != 'a'"), None);
    assert_eq!(names("!(event.name == 'a')"), None);
    assert_eq!(names("event.name == event.dedup_key"), None);
    assert_eq!(names("true"), None);
}

fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..3_u8).prop_map(|n| format!("event.name == 'n{n}'")),
        (0..3_u8).prop_map(|n| format!("event.name != 'n{n}'")),
        Just("event.name in ['n0', 'n1']".to_owned()),
        Just("event.value > 1".to_owned()),
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
    /// The index may only leave out events that the expression does not select.
    #[test]
    fn the_index_never_hides_a_selected_event(
        source in expressions(),
        name in 0..4_u8,
        value in prop::option::of(0_u8..3),
    ) {
        let name = format!("n{name}");
        let selection = Selection::compile(&source).expect("generated to be good");
        let selected = selection.selects(&scope(&name, value.map(f64::from), "eu"));
        if let Names::Only(names) = selection.names() {
            prop_assert!(names.contains(&name) || selected != Ok(true), "{}", source);
        }
    }

    #[test]
    fn no_text_breaks_the_compiler(source in ".{0,60}") {
        let _ = Selection::compile(&source);
    }
}

#[test]
fn types_that_never_fit_are_refused_when_the_rule_is_saved() {
    for text in ["event.value + 1", "event.value > \"a\"", "-event.name == \"x\""] {
        assert!(Selection::compile(text).is_err(), "{text}");
    }
    for text in
        ["event.value > 3.0", "event.value > 3", "event.value + 1.0 > 2.0", "event.attributes.n == \"1\""]
    {
        assert!(Selection::compile(text).is_ok(), "{text}");
    }
}
