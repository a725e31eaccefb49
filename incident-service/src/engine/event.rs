//! An event of the bus as the engine works with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::Value;
use cel::objects::Key;
use chrono::{DateTime, TimeDelta, Utc};
use platform::bus::Delivered;
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use prost::Message;
use proto::events::v1 as wire;
use proto::incident::v1::SampleEvent;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::kinds::{ServiceId, Severity};

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    pub org: OrgId,
    pub service: ServiceId,
    pub id: String,
    pub name: String,
    pub severity: Severity,
    pub value: Option<f64>,
    pub attributes: BTreeMap<String, String>,
    pub dedup_key: String,
    /// When it happened, brought into [accepted_at − lateness, accepted_at]: neither a wrong clock
    /// nor a very late event moves a window that was decided long ago.
    pub time: DateTime<Utc>,
    pub accepted_at: DateTime<Utc>,
}

impl Event {
    /// Reads a record of `pulseops.events.v1`.
    ///
    /// # Errors
    /// Invalid, code `undecodable_event`: a dead letter.
    pub fn decode(delivered: &Delivered, lateness: TimeDelta) -> Result<Self> {
        let envelope = &delivered.record.envelope;
        let undecodable = |what: String| Error::invalid("undecodable_event", what);
        let event = wire::Event::decode(delivered.record.data.clone())
            .map_err(|error| undecodable(error.to_string()))?;
        let service = event.service.parse().map_err(|_| {
            undecodable(format!("service must be a UUID on the bus, not {:?}", event.service))
        })?;
        let read = |time: Option<&prost_types::Timestamp>| time.and_then(proto::time::from_timestamp);
        let accepted_at = read(event.accepted_at.as_ref()).unwrap_or(envelope.time);
        let happened = read(event.time.as_ref()).unwrap_or(accepted_at);
        Ok(Self {
            org: envelope.org,
            service,
            id: if event.id.is_empty() { envelope.id.to_string() } else { event.id },
            name: event.name,
            severity: Severity::from_wire(event.severity).unwrap_or(Severity::Info),
            value: event.value,
            attributes: event.attributes,
            dedup_key: event.dedup_key,
            time: happened.clamp(accepted_at - lateness, accepted_at),
            accepted_at,
        })
    }

    /// 128 bits that stand for the id.
    pub fn hash(&self) -> Uuid {
        hash([self.id.as_str()])
    }

    /// 128 bits that stand for the group: the values of these attributes.
    pub fn group(&self, group_by: &[String]) -> Uuid {
        hash(group_by.iter().map(|name| self.attribute(name)))
    }

    /// An attribute's value; empty when there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The event as expressions see it. What it does not have is missing and not null, so that
    /// `has(event.value)` tells and a comparison with it selects nothing.
    pub fn to_cel(&self, service_slug: &str) -> Value {
        Facts {
            id: &self.id,
            service: service_slug,
            name: &self.name,
            severity: self.severity,
            value: self.value,
            attributes: &self.attributes,
            dedup_key: &self.dedup_key,
            time: self.time,
        }
        .to_cel()
    }
}

struct Facts<'a> {
    id: &'a str,
    service: &'a str,
    name: &'a str,
    severity: Severity,
    value: Option<f64>,
    attributes: &'a BTreeMap<String, String>,
    dedup_key: &'a str,
    time: DateTime<Utc>,
}

impl Facts<'_> {
    fn to_cel(&self) -> Value {
        let attributes: HashMap<Key, Value> = self
            .attributes
            .iter()
            .map(|(name, value)| (Key::from(name.as_str()), Value::from(value.as_str())))
            .collect();
        let mut fields: HashMap<&str, Value> = HashMap::from([
            ("id", Value::from(self.id)),
            ("service", Value::from(self.service)),
            ("name", Value::from(self.name)),
            ("severity", Value::from(self.severity.as_str())),
            ("attributes", Value::from(attributes)),
            ("dedup_key", Value::from(self.dedup_key)),
            ("time", Value::Timestamp(self.time.fixed_offset())),
        ]);
        if let Some(value) = self.value {
            fields.insert("value", Value::Float(value));
        }
        let fields: HashMap<Key, Value> =
            fields.into_iter().map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value)).collect();
        Value::from(fields)
    }
}

/// A sample event of `ValidateRule` as expressions see it.
pub fn sample_to_cel(event: &SampleEvent, now: DateTime<Utc>) -> Value {
    Facts {
        id: "",
        service: "",
        name: &event.name,
        severity: Severity::from_wire(event.severity).unwrap_or(Severity::Info),
        value: event.value,
        attributes: &event.attributes,
        dedup_key: &event.dedup_key,
        time: now,
    }
    .to_cel()
}

/// An event that is nobody's, to try expressions on.
pub fn sample() -> Value {
    let event = SampleEvent { name: "sample".to_owned(), value: Some(1.0), ..SampleEvent::default() };
    sample_to_cel(&event, DateTime::UNIX_EPOCH)
}

/// 128 bits of SHA-256 over the parts; parts cannot flow into one another.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> Uuid {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&sha.finalize()[..16]);
    Uuid::from_bytes(first)
}
