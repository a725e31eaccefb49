use expression::{Bindings, Value};

use crate::{Message, SCHEMA, compile, holds};

#[test]
fn what_holds() {
    for text in [
        "true",
        "message.urgent",
        "message.kind == 'disk.full' && message.tags.region == \"eu\"",
        "message.tags['region'] == 'eu'",
        "message.kind in ['disk.dead', 'disk.full']",
        "!(message.kind in [])",
        "'region' in message.tags && !('zone' in message.tags)",
        "message.value > 4 && message.value > 4.25 && message.value == 4.5 && message.count == 7.0",
        "message.value + 0.5 == 5.0 && message.count % 2 == 1 && -message.count < -6 && 7 / 2 == 3",
        "message.count in [6, 7] && -9223372036854775808 < 0x10 && 1e3 == 1000.0 && .5 < 1.0",
        "message.kind.startsWith('disk.') && message.kind.endsWith('full') && message.kind.contains('k.f')",
        "message.kind.size() == 9 && size(message.tags) == 3 && size([1, 2]) == 2",
        "message.kind + '!' == 'disk.full!'",
        "has(message.value) && has(message.tags.region) && !has(message.tags.zone)",
        "message.tags.exists(key, key == 'region') && message.tags.all(key, key.size() > 3)",
        "message.tags.exists_one(key, message.tags[key] == '2')",
        "message.tags.filter(key, key != 'text').size() == 2",
        "'EU' in message.tags.map(key, message.tags[key] == 'eu' ? 'EU' : '')",
        "message.tags.map(key, key == 'tier', message.tags[key]) == ['2'] && [5, 6][1] == 6",
        "[1, 2, 3].map(n, n * 2).filter(n, n > 2) == [4, 6]",
        "int(message.tags.tier) == 2 && double(message.tags.tier) < 2.5 && string(message.count) == '7'",
        "bool('true') && string(message.urgent) == 'true' && int(message.value) == 4",
        "message.at == timestamp('2026-01-01T00:00:00Z') && message.at.getDayOfWeek() == 4",
        "message.at - duration('1h') < message.at && message.at.getHours('Europe/Berlin') == 1",
        "message.at - timestamp('2025-12-31T00:00:00Z') == duration('24h')",
        "duration('90s').getMinutes() == 1 && duration('1h') + duration('1s') > duration('1h')",
        "message.tags.text.matches('^disk \\\\d+ is') && matches(message.kind, r'\\.full$')",
        "message.tags.text.matches('(?i)DISK [7-9]') && !message.kind.matches('ö')",
        "message.urgent ? message.count > 1 : message.value > 1.0",
        "message.count > 1 ? 'a' == 'a' : message.count < 0 ? false : true",
        "// what follows is a comment\n message.count // in the middle\n == 7",
        "'\\u00e4\\x41\\101\\n' == \"äAA\\n\" && '''it's\n''' == \"it's\\n\" && r'\\d' == '\\\\d'",
    ] {
        assert_eq!(holds(text), Ok(true), "{text}");
    }
}

#[test]
fn what_is_not_there_holds_for_nothing() {
    let without = Message { value: None, ..Message::sample() };
    for text in [
        "message.value > 3",
        "!(message.value > 3)",
        "message.tags.zone != 'a'",
        "message.tags['zone'] != 'a'",
        "message.tags.filter(key, key == 'zone')[0] == 'zone'",
        "message.value > 3 && message.count == 7",
    ] {
        let expression = compile(text).expect(text);
        assert_eq!(expression.holds(&without.bound()), Ok(false), "{text}");
    }
    for text in ["!has(message.value)", "message.tags.zone == 'a' || message.count == 7"] {
        assert_eq!(compile(text).expect(text).holds(&without.bound()), Ok(true), "{text}");
    }
}

#[test]
fn what_only_shows_with_values_is_a_fault() {
    for (text, why) in [
        ("int(message.tags.region) == 1", "int: "),
        ("double(message.tags.text) > 1.0", "double: "),
        ("timestamp(message.tags.text) > message.at", "timestamp: "),
        ("message.at.getHours(message.tags.region) == 1", "timezone: unknown time zone eu"),
        ("1 / (message.count - 7) == 1", "it divides by zero"),
        ("9223372036854775807 + message.count > 0", "a number or a time grows beyond its limits"),
    ] {
        let fault = holds(text).expect_err(text).to_string();
        assert!(fault.starts_with(why), "{text}: {fault}");
    }
}

#[test]
fn values_that_are_not_as_declared_are_a_fault() {
    let always = compile("true").expect("good");
    let mut message = Message::sample();
    message.kind = "ä".repeat(255);
    message.tags.insert("k".repeat(128), "ä".repeat(4096));
    assert_eq!(always.holds(&message.bound()), Ok(true));
    for wrong in [
        Message { kind: "k".repeat(256), ..Message::sample() },
        Message { tags: [("k".repeat(129), String::new())].into(), ..Message::sample() },
        Message { tags: [(String::new(), "v".repeat(4097))].into(), ..Message::sample() },
        Message { tags: (0..129).map(|n| (n.to_string(), String::new())).collect(), ..Message::sample() },
    ] {
        assert!(always.holds(&wrong.bound()).is_err());
    }
    let mistyped = Bindings::new().with(&SCHEMA, "message", [("count", Value::Double(1.0))]);
    let fault = always.holds(&mistyped).expect_err("of another type").to_string();
    assert_eq!(fault, "message.count is larger than declared, or of another type");
    let unknown = Bindings::new().with(&SCHEMA, "message", [("size", Value::Int(1))]);
    assert!(always.holds(&unknown).is_err());
}
