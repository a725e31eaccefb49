//! An event of the bus as the engine works with it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use expression::Value;
use platform::bus::Delivered;
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use prost::Message;
use proto::events::v1 as wire;
use proto::incident::v1::SampleEvent;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::selection::Scope;
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

    /// When the event of a record was accepted, even if the rest of it cannot be read.
    pub fn accepted_at(delivered: &Delivered) -> DateTime<Utc> {
        let event = wire::Event::decode(delivered.record.data.clone()).unwrap_or_default();
        read(event.accepted_at.as_ref()).unwrap_or(delivered.record.envelope.time)
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
    pub fn scope<'a>(&'a self, service_slug: &'a str) -> Scope<'a> {
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
        .scope()
    }
}

fn read(time: Option<&prost_types::Timestamp>) -> Option<DateTime<Utc>> {
    time.and_then(proto::time::from_timestamp)
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

impl<'a> Facts<'a> {
    fn scope(self) -> Scope<'a> {
        let fields = [
            ("id", Value::Text(self.id)),
            ("service", Value::Text(self.service)),
            ("name", Value::Text(self.name)),
            ("severity", Value::Text(self.severity.as_str())),
            ("attributes", Value::Map(self.attributes)),
            ("dedup_key", Value::Text(self.dedup_key)),
            ("time", Value::Time(self.time)),
        ];
        let value = self.value.map(|value| ("value", Value::Double(value)));
        Scope::new(fields.into_iter().chain(value))
    }
}

/// A sample event of `ValidateRule` as expressions see it.
pub fn sample_scope(event: &SampleEvent, now: DateTime<Utc>) -> Scope<'_> {
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
    .scope()
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
