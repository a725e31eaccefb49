use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::json::{Condition, Json};
use crate::kinds::{RuleId, Severity, UrgencyRule};
use crate::store::rules::Rule;
use crate::store::services::Service;

const LATENESS: TimeDelta = TimeDelta::seconds(300);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid time")
}

fn service() -> Service {
    Service {
        org_id: OrgId(Uuid::from_u128(1)),
        id: ServiceId(Uuid::from_u128(2)),
        slug: "payment".to_owned(),
        name: "Payment".to_owned(),
        description: String::new(),
        team_id: None,
        team_name: String::new(),
        policy_id: None,
        policy_name: String::new(),
        labels: Json::default(),
        runbook_url: None,
        links: Json::default(),
        urgency_rule: UrgencyRule::BySeverity,
        paused_until: None,
        auto_resolve_ms: None,
        created_at: at(0),
        created_by: String::new(),
        updated_at: at(0),
        updated_by: String::new(),
        archived_at: None,
        version: 1,
    }
}

fn rule(number: u128, condition: Condition) -> Rule {
    let service = service();
    Rule {
        org_id: service.org_id,
        id: RuleId(Uuid::from_u128(number)),
        service_id: service.id,
        slug: format!("rule-{number}"),
        name: format!("Rule {number}"),
        selection: r#"event.name == "charge.failed""#.to_owned(),
        cost: 1,
        condition: Json(condition),
        group_by: Vec::new(),
        generation: 1,
        severity: Severity::Critical,
        dedup_key: String::new(),
        title: String::new(),
        cooldown_ms: 0,
        auto_resolve_ms: None,
        disabled: false,
        labels: Json::default(),
        created_at: at(0),
        created_by: String::new(),
        updated_at: at(0),
        updated_by: String::new(),
        archived_at: None,
        version: 1,
    }
}

fn three_in_a_minute() -> Condition {
    Condition::Count { at_least: 3, window_ms: 60_000 }
}

fn set(rules: Vec<Rule>) -> Arc<RuleSet> {
    let compiled = rules.into_iter().map(|rule| Arc::new(CompiledRule::compile(rule).expect("a good rule")));
    Arc::new(RuleSet::new(1, service(), compiled.collect()))
}

/// Handled as soon as they came.
fn decide(events: &[Matched], windows: Windows, lateness: TimeDelta) -> Decided {
    super::decide(events, windows, lateness, at(0))
}

fn event(number: usize, second: i64, region: &str) -> Event {
    let service = service();
    Event {
        org: service.org_id,
        service: service.id,
        id: format!("event-{number}"),
        name: "charge.failed".to_owned(),
        severity: Severity::High,
        value: None,
        attributes: BTreeMap::from([("region".to_owned(), region.to_owned())]),
        dedup_key: String::new(),
        time: at(second),
        accepted_at: at(second),
    }
}

fn matched(set: &Arc<RuleSet>, events: &[(i64, &str)]) -> Vec<Matched> {
    let matched = |(record, (second, region)): (usize, &(i64, &str))| {
        matches(record, event(record, *second, region), set)
    };
    events.iter().enumerate().filter_map(matched).collect()
}

fn fired(decided: &Decided) -> Vec<(&str, i64, usize)> {
    decided.fired.iter().map(|f| (f.dedup_key.as_str(), f.firings, f.record)).collect()
}

#[test]
fn each_fires_on_every_event_of_its_name() {
    let set = set(vec![rule(1, Condition::Each)]);
    let decided = decide(&matched(&set, &[(0, "eu"), (1, "us")]), Windows::new(), LATENESS);
    assert_eq!(fired(&decided), [("rule-1", 2, 1)]);
    assert!(decided.changed.is_empty());
    let other = Event { name: "charge.succeeded".to_owned(), ..event(0, 0, "eu") };
    assert!(matches(0, other, &set).is_none());
}

#[test]
fn groups_count_by_themselves() {
    let grouped = Rule { group_by: vec!["region".to_owned()], ..rule(1, three_in_a_minute()) };
    let events = [(0, "eu"), (1, "us"), (2, "eu"), (3, "us"), (4, "eu")];
    let decided = decide(&matched(&set(vec![grouped]), &events), Windows::new(), LATENESS);
    assert_eq!(fired(&decided), [("rule-1:eu", 1, 4)]);
    assert_eq!(decided.changed.len(), 2);
}

#[test]
fn a_rule_that_counts_otherwise_starts_afresh() {
    let set_of = |generation| set(vec![Rule { generation, ..rule(1, three_in_a_minute()) }]);
    let first = decide(&matched(&set_of(1), &[(0, "eu"), (1, "eu")]), Windows::new(), LATENESS);
    let second = decide(&matched(&set_of(2), &[(2, "eu")]), first.windows, LATENESS);
    assert_eq!(fired(&second), []);
    let third = decide(&matched(&set_of(2), &[(3, "eu"), (4, "eu")]), second.windows, LATENESS);
    assert_eq!(fired(&third), [("rule-1", 1, 1)]);
}

#[test]
fn events_that_only_match_keep_a_self_resolving_alert_open() {
    let quiet = Rule { auto_resolve_ms: Some(60_000), ..rule(1, three_in_a_minute()) };
    let decided = decide(&matched(&set(vec![quiet]), &[(0, "eu")]), Windows::new(), LATENESS);
    assert_eq!(fired(&decided), [("rule-1", 0, 0)]);
}

#[test]
fn ids_are_remembered_for_the_longest_window_and_the_lateness() {
    let longer = Condition::Count { at_least: 2, window_ms: 120_000 };
    let set = set(vec![rule(1, three_in_a_minute()), rule(2, longer)]);
    let matched = matched(&set, &[(0, "eu")]);
    assert_eq!(matched[0].sighting(LATENESS, at(0)).expires_at, at(120 + 300));
    // From the time it was handled at, when that was late.
    assert_eq!(matched[0].sighting(LATENESS, at(900)).expires_at, at(900 + 120 + 300));
}

#[test]
fn expiry_is_a_whole_minute_beyond_the_horizon() {
    let set = set(vec![rule(1, three_in_a_minute())]);
    let decided = decide(&matched(&set, &[(7, "eu")]), Windows::new(), LATENESS);
    let expires_at = decided.changed[0].expires_at;
    assert!(expires_at > at(7 + 60 + 300) && expires_at <= at(7 + 60 + 300 + 60));
    assert_eq!(expires_at.timestamp() % 60, 0);
}

#[test]
fn a_window_of_late_handled_events_is_kept_as_long_as_any_other() {
    let set = set(vec![rule(1, three_in_a_minute())]);
    let decided = super::decide(&matched(&set, &[(0, "eu")]), Windows::new(), LATENESS, at(3600));
    assert!(decided.changed[0].expires_at > at(3600 + 60 + 300));
    // A record of this morning does not bring the end of a live window nearer.
    let live = decided.changed[0].expires_at;
    let old = decide(&matched(&set, &[(-7200, "eu")]), decided.windows, LATENESS);
    assert_eq!(old.changed[0].expires_at, live);
}

fn compiled(rule: Rule) -> CompiledRule {
    CompiledRule::compile(rule).expect("a good rule")
}

#[test]
fn what_comes_out_blank_falls_back() {
    let grouped = Rule { group_by: vec!["region".to_owned()], ..rule(1, Condition::Each) };
    let blank = compiled(Rule {
        title: " {attributes.none}".to_owned(),
        dedup_key: "{event.dedup_key}\t".to_owned(),
        ..grouped
    });
    let event = event(0, 0, "eu");
    assert_eq!(blank.title(&event, &service()), "Rule 1");
    assert_eq!(blank.dedup_key(&event, &service()), "rule-1:eu");
    let order = Event { dedup_key: "order-7".to_owned(), ..event };
    assert!(blank.dedup_key(&order, &service()).starts_with("order-7\u{FFFD}…"));
}

proptest! {
    /// As windows are.
    #[test]
    fn different_groups_have_different_keys(
        one in prop::collection::vec("[a,\\\\\u{0}\n…]{0,4}", 2),
        other in prop::collection::vec("[a,\\\\\u{0}\n…]{0,4}", 2),
    ) {
        let group_by = vec!["x".to_owned(), "y".to_owned()];
        let rule = compiled(Rule { group_by: group_by.clone(), ..rule(1, Condition::Each) });
        let of = |values: &[String]| Event {
            attributes: group_by.iter().cloned().zip(values.iter().cloned()).collect(),
            ..event(0, 0, "")
        };
        let keys = [&one, &other].map(|values| rule.dedup_key(&of(values), &service()));
        prop_assert_eq!(one == other, keys[0] == keys[1]);
        prop_assert!(!keys[0].contains(char::is_control));
    }

    /// It does not matter how the log is cut into batches, nor whether windows come from memory or
    /// from their rows.
    #[test]
    fn batches_may_be_cut_anywhere(
        steps in prop::collection::vec((0_i64..30, 0_usize..3, any::<bool>()), 1..60),
    ) {
        let grouped = Rule { group_by: vec!["region".to_owned()], ..rule(2, three_in_a_minute()) };
        let set = set(vec![rule(1, three_in_a_minute()), grouped, rule(3, Condition::Each)]);
        let mut now = 0;
        let events: Vec<(i64, &str)> = steps.iter().map(|(pause, region, _)| {
            now += pause;
            (now, ["eu", "us", "ap"][*region])
        }).collect();
        let all = matched(&set, &events);

        let mut expected = BTreeMap::new();
        for fired in decide(&all, Windows::new(), LATENESS).fired {
            *expected.entry(fired.dedup_key).or_insert(0) += fired.firings;
        }

        let mut windows = Windows::new();
        let mut counted = BTreeMap::new();
        let mut batch = Vec::new();
        for (index, event) in all.into_iter().enumerate() {
            batch.push(event);
            if !steps[index].2 && index + 1 < steps.len() {
                continue;
            }
            let decided = decide(&batch, windows, LATENESS);
            for fired in decided.fired {
                *counted.entry(fired.dedup_key).or_insert(0) += fired.firings;
            }
            // As after a restart: only what was written is known.
            windows = decided.windows.into_iter().map(|(key, known)| {
                let window = Window::decode(&known.window.encode()).expect("what was encoded");
                (key, Known { window, ..known })
            }).collect();
            batch.clear();
        }
        prop_assert_eq!(counted, expected);
    }
}
