//! From the JSON text of an item to an event that fulfils the contract, or to why not.

use prost::Message;
use proto::events::v1::Event;
use proto::validate;
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

/// Reads every item by itself; a bad one spoils no other.
pub fn read(contract: &Contract, texts: &Texts) -> (Vec<Item>, Vec<Rejected>) {
    let mut items = Vec::with_capacity(texts.items.len());
    let mut rejected = Vec::new();
    for (index, text) in texts.items.iter().enumerate() {
        let read = match text {
            Ok(text) => event(contract, index, text.get()),
            Err(reason) => Err(Rejected::new(index, "", "malformed_json", reason)),
        };
        match read {
            Ok(event) => items.push(Item { index, event }),
            Err(reason) => rejected.push(reason),
        }
    }
    (items, rejected)
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

/// An event without a service, where no key implies one.
pub fn without_service(index: usize) -> Rejected {
    Rejected::new(index, "service", validate::code::REQUIRED, "is required")
}
