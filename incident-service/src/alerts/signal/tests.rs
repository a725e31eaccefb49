use platform::ctx::Trace;
use platform::source::Source as Clock;
use uuid::Uuid;

use super::super::due::tests::{alert, service};
use super::*;
use crate::NAME;
use crate::kinds::SourceKind;

/// What a rule says of an alert that is open under an incident.
fn signal(open: &Alert, firings: i64, attributes: &[(&str, &str)]) -> Signal {
    let clock = Clock::fixed(1, DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000));
    let (trace, service) = (Trace::new(&clock), Arc::new(service(None)));
    Signal {
        cx: Ctx::service(NAME, service.org_id, clock, trace, None),
        service,
        source: Source { kind: SourceKind::Rule, id: open.source_id, name: String::new() },
        actor: Actor::service(NAME),
        dedup_key: open.dedup_key.clone(),
        severity: open.severity,
        title: String::new(),
        labels: Labels::default(),
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        value: None,
        firings,
        cooldown_ms: 0,
        auto_resolve_ms: None,
    }
}

fn decided(open: Alert, signal: Signal) -> Decision {
    decide(vec![signal], HashMap::from([(open.key(), open)]), &HashMap::new())
}

#[test]
fn the_first_ten_triggers_are_followed_by_entries_and_all_are_counted() {
    // Triggered so often before, and now: entries, and the count after it.
    let cases = [(1, 1, 1), (9, 1, 1), (10, 1, 1), (11, 1, 0), (10, 5, 1), (1, 0, 0), (500, 3, 0)];
    for (before, firings, entries) in cases {
        let open = Alert { count: before, ..alert(true, None, None) };
        let decision = decided(open.clone(), signal(&open, firings, &[]));
        let count = decision.changed[0].alert.count;
        assert_eq!((decision.entries.len(), count), (entries, before + firings), "{before} and {firings}");
        assert!(decision.openings.is_empty(), "no new page");
    }
}

#[test]
fn attributes_are_written_when_they_are_others() {
    let mut open = alert(true, None, None);
    open.attributes = Json([("region".to_owned(), "eu".to_owned())].into());
    open.source_id = Uuid::from_u128(1);
    for (firings, region, written) in [(0, "us", false), (1, "eu", false), (1, "us", true)] {
        let decision = decided(open.clone(), signal(&open, firings, &[("region", region)]));
        let changed = &decision.changed[0];
        assert_eq!(changed.attributes, written, "{firings} {region}");
        let shown = if firings > 0 { region } else { "eu" };
        assert_eq!(changed.alert.attributes.0["region"], shown);
    }
}
