//! From the JSON text of an item to an event that fulfils the contract, or to why not.

use prost::Message;
use proto::events::v1::Event;
use serde::Serialize;
use transcode::Contract;

use super::body::Texts;

const EVENT: &str = "pulseops.events.v1.Event";

/// A good item and its position in the request.
#[derive(Debug)]
pub struct Item {
    pub index: usize,
    pub event: Event,
}

/// An item that was not taken.
#[derive(Debug, PartialEq, Serialize)]
pub struct Rejected {
    pub index: usize,
    pub code: &'static str,
    pub detail: String,
    #[serde(skip)]
    pub field: String,
    /// The detail without the field's name.
    #[serde(skip)]
    pub reason: String,
}

impl Rejected {
    pub fn new(index: usize, field: &str, code: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let detail = if field.is_empty() { reason.clone() } else { format!("{field}: {reason}") };
        Self { index, code, detail, field: field.to_owned(), reason }
    }
}

/// The items of a request.
#[derive(Debug)]
pub struct Items {
    pub good: Vec<Item>,
    pub rejected: Vec<Rejected>,
    /// The body was one object.
    pub single: bool,
}

/// Reads every item by itself; a bad one spoils no other.
pub fn read(contract: &Contract, texts: &Texts<'_>) -> Items {
    let mut good = Vec::with_capacity(texts.items.len());
    let mut rejected = Vec::new();
    for (index, text) in texts.items.iter().enumerate() {
        let read = match text {
            Ok(text) => event(contract, index, text),
            Err(reason) => Err(Rejected::new(index, "", "malformed_json", reason)),
        };
        match read {
            Ok(event) => good.push(Item { index, event }),
            Err(reason) => rejected.push(reason),
        }
    }
    Items { good, rejected, single: texts.single }
}

fn event(contract: &Contract, index: usize, text: &str) -> Result<Event, Rejected> {
    let unknown = || Rejected::new(index, "", "malformed_event", "is not an event");
    let bytes = contract.read_json(EVENT, text.as_bytes()).ok_or_else(unknown)?;
    let bytes = bytes.map_err(|fault| match fault.fields().first() {
        Some(first) => Rejected::new(index, &first.field, first.code, &first.detail),
        None => Rejected::new(index, "", fault.code(), fault.detail()),
    })?;
    let event = Event::decode(bytes.as_slice()).map_err(|_| unknown())?;
    match proto::check(&event) {
        Ok(()) => Ok(event),
        Err(violations) => Err(violations
            .first()
            .map_or_else(unknown, |first| Rejected::new(index, &first.field, first.code, &first.detail))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static CONTRACT: LazyLock<Contract> =
        LazyLock::new(|| crate::contract(&crate::Config::default()).expect("a sound contract"));

    fn read_one(text: &str) -> Result<Event, Rejected> {
        event(&CONTRACT, 0, text)
    }

    #[track_caller]
    fn fault(text: &str) -> (String, &'static str) {
        let rejected = read_one(text).expect_err("must be rejected");
        let prefix = format!("{}: ", rejected.field);
        assert!(rejected.field.is_empty() || rejected.detail.starts_with(&prefix), "{rejected:?}");
        (rejected.field, rejected.code)
    }

    #[test]
    fn an_event_with_everything() {
        let text = r#"{"id": "e1", "service": "payment", "name": "charge.failed", "severity": "critical",
            "value": 12.5, "attributes": {"region": "eu"}, "time": "2026-01-02T03:04:05.678+02:00",
            "dedup_key": "k"}"#;
        let event = read_one(text).expect("a good event");
        assert_eq!((event.id.as_str(), event.service.as_str()), ("e1", "payment"));
        assert_eq!(event.severity(), proto::api::v1::Severity::Critical);
        assert_eq!((event.value, event.attributes["region"].as_str()), (Some(12.5), "eu"));
        let time = event.time.expect("a time");
        assert_eq!((time.seconds, time.nanos), (1_767_315_845, 678_000_000));
        assert_eq!(event.dedup_key, "k");
    }

    #[test]
    fn numbers_are_numbers() {
        let value =
            |text: &str| read_one(&format!(r#"{{"name": "a", "value": {text}}}"#)).map(|event| event.value);
        for (text, number) in
            [("7", 7.0), ("-0.5", -0.5), ("1e3", 1000.0), ("9007199254740993", 9_007_199_254_740_992.0)]
        {
            assert_eq!(value(text).expect("a number"), Some(number), "{text}");
        }
        // Zero is a value, null is none.
        assert_eq!(value("0").expect("a number"), Some(0.0));
        assert_eq!(value("null").expect("no value"), None);
        assert_eq!(fault(r#"{"name": "a", "value": "7"}"#), ("value".to_owned(), "invalid_type"));
        assert_eq!(fault(r#"{"name": "a", "value": true}"#), ("value".to_owned(), "invalid_type"));
    }

    #[test]
    fn faults_say_their_field() {
        let long = "x".repeat(256);
        for (text, field, code) in [
            (r#"{"name": "a", "nam": 1}"#, "nam", "unknown_field"),
            (r#"{"name": 5}"#, "name", "invalid_type"),
            (r#"{"name": "a", "accepted_at": "2026-01-02T03:04:05Z"}"#, "accepted_at", "read_only"),
            (r#"{"name": "a", "attributes": {"tries": 3}}"#, "attributes.tries", "invalid_type"),
            (r#"{"name": "a", "attributes": []}"#, "attributes", "invalid_type"),
            (r#"{"name": "a", "time": "yesterday"}"#, "time", "invalid_value"),
            (r#"{"name": "a", "severity": "awful"}"#, "severity", "undefined_value"),
            (r#"{"id": "e1"}"#, "name", "required"),
            (&format!(r#"{{"name": "a", "id": "{long}"}}"#), "id", "too_long"),
        ] {
            assert_eq!(fault(text), (field.to_owned(), code), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_at_all() {
        assert_eq!(fault("7"), (String::new(), "invalid_type"));
        assert_eq!(fault("[]"), (String::new(), "invalid_type"));
        let deep = format!("{{\"name\": {}{}}}", "[".repeat(65), "]".repeat(65));
        assert_eq!(fault(&deep), (String::new(), "too_deep"));
    }
}
