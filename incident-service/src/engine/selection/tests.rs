use std::collections::BTreeMap;

use chrono::DateTime;
use proto::incident::v1::SampleEvent;

use super::super::event::sample_scope;
use super::*;

fn event(name: &str, value: Option<f64>) -> SampleEvent {
    let attributes =
        BTreeMap::from([("region".to_owned(), "eu".to_owned()), ("ms".to_owned(), "12".to_owned())]);
    SampleEvent { name: name.to_owned(), severity: 2, value, attributes, dedup_key: String::new() }
}

fn selects(source: &str, event: &SampleEvent) -> bool {
    let selection = Selection::compile(source).expect(source);
    selection.selects(&sample_scope(event, DateTime::UNIX_EPOCH)).expect(source)
}

#[test]
fn events_are_selected_by_their_fields() {
    let event = event("charge.failed", Some(4.5));
    for source in [
        r#"event.name == "charge.failed" && event.attributes.region == "eu""#,
        "event.value > 3.0 && event.value > 4",
        r#"event.severity in ["critical", "high"]"#,
        r#"event.name.startsWith("charge.") && has(event.value)"#,
        r#"event.attributes.exists(name, name == "region")"#,
        "double(event.attributes.ms) > 10.0",
        "event.time == timestamp('1970-01-01T00:00:00Z')",
        "event.id == '' && event.service == '' && event.dedup_key == ''",
    ] {
        assert!(selects(source, &event), "{source}");
    }
    assert!(!selects(r#"event.name == "charge.succeeded""#, &event));
}

#[test]
fn what_an_event_lacks_selects_nothing() {
    let lacking = event("x", None);
    for source in ["event.value > 3", "!(event.value > 3)", r#"event.attributes.zone != "a""#] {
        assert!(!selects(source, &lacking), "{source}");
    }
    assert!(selects("!has(event.value)", &lacking));
}

#[test]
fn what_never_fits_is_refused_when_the_rule_is_saved() {
    for text in [
        "event.value + 1",
        "event.value > 'a'",
        "-event.name == 'x'",
        "event.attributes.n > 1",
        "event.nme == 'x'",
        "event.severity >= 'high'",
        "event.severity == 'CRITICAL'",
        "event.severity in ['hihg']",
    ] {
        assert!(Selection::compile(text).is_err(), "{text}");
    }
}

#[test]
fn the_largest_event_of_the_contract_is_evaluated() {
    let mut largest = event(&"n".repeat(255), Some(1.0));
    largest.dedup_key = "d".repeat(255);
    largest.attributes = (0..128).map(|n| (format!("{n:0>128}"), "ä".repeat(4096))).collect();
    assert!(selects("event.attributes.all(name, event.attributes[name] != '')", &largest));
}

#[test]
fn names_are_found_where_the_expression_pins_them() {
    let names = |source: &str| Selection::compile(source).expect(source).names().clone();
    let only = Names::Only(["a".to_owned(), "b".to_owned()].into());
    assert_eq!(names("event.name in ['a', 'b'] && event.value > 1"), only);
    assert_eq!(names("event.name == 'a' || event.value > 1"), Names::Any);
}

/// The page that people read: its fields are there, its examples compile.
#[test]
fn the_documentation_is_right() {
    let page = include_str!("../../../../docs/expressions.md");
    let fields = page.lines().filter(|line| line.starts_with("| `event."));
    let fields: Vec<&str> = fields
        .flat_map(|row| row.split('`').filter(|it| it.starts_with("event.") && !it.contains('[')))
        .collect();
    let examples = page.split("```rule\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<&str> = examples.flat_map(str::lines).collect();
    assert!(fields.len() > 7 && examples.len() > 3);
    for text in
        fields.iter().map(|field| format!("has({field})")).chain(examples.into_iter().map(str::to_owned))
    {
        if let Err(fault) = Selection::compile(&text) {
            panic!("{text}: {fault}");
        }
    }
}

#[test]
fn five_hundred_ordinary_rules_fit_into_a_service() {
    let ordinary = [
        r#"event.name == "charge.failed""#,
        r#"event.name == "charge.failed" && event.attributes.region == "eu""#,
        r#"event.severity in ["critical", "high"] && event.value > 3.0"#,
        r#"event.name.startsWith("charge.") && has(event.value)"#,
        r#"event.name.matches("^charge\\.(failed|declined)$")"#,
        "double(event.attributes.ms) > 10.0",
        r#"event.attributes.path.contains("/api/") && event.attributes.status.startsWith("5")"#,
        r#"event.attributes.path.matches("^/api/v[0-9]+/orders")"#,
        r#"event.attributes.exists(name, name == "region")"#,
        r#"event.attributes.exists(name, event.attributes[name] == "x")"#,
    ];
    let costs = ordinary.map(|source| Selection::compile(source).expect(source).cost());
    let of_500 = costs.iter().sum::<u64>() * 500 / costs.len() as u64;
    assert!(of_500 <= crate::rules::MAX_COST.unsigned_abs(), "{costs:?}");
}
