//! How incident events become one record per incident: pure, no I/O.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use proto::events::v1::IncidentEvent;
use uuid::Uuid;

use crate::kinds::{Severity, Status, Urgency};
use crate::schema::incident_records;

/// What history keeps of one incident.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = incident_records, check_for_backend(diesel::pg::Pg))]
pub struct Record {
    pub org_id: OrgId,
    pub incident_id: Uuid,
    /// Version of the incident that was applied last.
    pub version: i64,
    pub number: i64,
    pub title: String,
    pub status: Status,
    pub severity: Severity,
    pub urgency: Urgency,
    pub service_id: Uuid,
    pub service_name: String,
    pub team_id: Option<Uuid>,
    pub team_name: Option<String>,
    pub created_at: DateTime<Utc>,
    pub first_acknowledged_at: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub auto_resolved: bool,
    pub escalations: i32,
    pub reopen_count: i32,
    /// Merged into another incident: outside every number.
    pub merged: bool,
    /// first_acknowledged_at − created_at; never acknowledged: none.
    pub mtta_ms: Option<i64>,
    /// resolved_at − created_at, while it is resolved.
    pub mttr_ms: Option<i64>,
}

/// One incident event, decoded.
#[derive(Clone, Debug)]
pub struct Step {
    pub org: OrgId,
    pub incident_id: Uuid,
    pub version: i64,
    pub happened: Happened,
    pub event: IncidentEvent,
}

/// What a step did, as far as the incident after it does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    Escalation,
    Resolution,
    Other,
}

impl Happened {
    /// By the type of the event.
    pub fn of(ty: &str) -> Self {
        match ty {
            "pulseops.incident.escalated.v1" => Self::Escalation,
            "pulseops.incident.resolved.v1" => Self::Resolution,
            _ => Self::Other,
        }
    }
}

/// Key of a record: an id alone is not trusted to be of one organization.
pub type Key = (OrgId, Uuid);

/// Applies `steps` in order to what is `stored`; versions already applied change nothing. Returns the
/// records that changed, by key.
///
/// A `replay` is of events that were never applied, so an older one than what is stored still adds what
/// it alone says.
///
/// # Errors
/// Invalid, when an event lacks what every incident has.
pub fn fold(stored: &HashMap<Key, Record>, steps: &[Step], replay: bool) -> Result<BTreeMap<Key, Record>> {
    let mut changed: BTreeMap<Key, Record> = BTreeMap::new();
    for step in steps {
        let key = (step.org, step.incident_id);
        let before = changed.get(&key).or_else(|| stored.get(&key));
        let after = match before {
            Some(before) if before.version > step.version && replay => apply_late(before, step)?,
            Some(before) if before.version >= step.version => continue,
            before => apply(before, step)?,
        };
        changed.insert(key, after);
    }
    Ok(changed)
}

/// What later events could not say: that it was escalated, and how things stood at the resolution that
/// still holds.
fn apply_late(before: &Record, step: &Step) -> Result<Record> {
    let then = apply(None, step)?;
    let mut record = Record { escalations: before.escalations + then.escalations, ..before.clone() };
    if step.happened == Happened::Resolution && then.resolved_at == before.resolved_at {
        keep_as_resolved(&mut record, &then);
    }
    Ok(record)
}

fn apply(before: Option<&Record>, step: &Step) -> Result<Record> {
    let (event, incident) = (&step.event, of(step.event.incident.as_ref(), "incident")?);
    let created_at = of(time(incident.created_at.as_ref()), "created_at")?;
    let first_acknowledged_at = time(incident.first_acknowledged_at.as_ref());
    let status = of(Status::from_wire(incident.status), "status")?;
    let resolved_at = time(incident.resolved_at.as_ref()).filter(|_| status == Status::Resolved);
    let service = of(event.service.as_ref(), "service")?;
    let mut record = Record {
        org_id: step.org,
        incident_id: step.incident_id,
        version: step.version,
        number: incident.number,
        title: incident.title.clone(),
        status,
        severity: of(Severity::from_wire(incident.severity), "severity")?,
        urgency: of(Urgency::from_wire(incident.urgency), "urgency")?,
        service_id: id(&service.id)?,
        service_name: service.name.clone(),
        team_id: event.team.as_ref().map(|team| id(&team.id)).transpose()?,
        team_name: event.team.as_ref().map(|team| team.name.clone()),
        created_at,
        first_acknowledged_at,
        resolved_at,
        auto_resolved: incident.auto_resolved,
        escalations: before.map_or(0, |record| record.escalations)
            + i32::from(step.happened == Happened::Escalation),
        reopen_count: incident.reopen_count,
        merged: incident.merged_into_id.is_some(),
        mtta_ms: first_acknowledged_at.map(|at| millis_between(created_at, at)),
        mttr_ms: resolved_at.map(|at| millis_between(created_at, at)),
    };
    if let Some(before) = before.filter(|before| before.resolved_at.is_some() && record.resolved_at.is_some())
    {
        keep_as_resolved(&mut record, before);
    }
    Ok(record)
}

/// What is filtered by stands as it was at resolution, whatever is edited afterwards.
fn keep_as_resolved(record: &mut Record, before: &Record) {
    record.severity = before.severity;
    record.urgency = before.urgency;
    record.service_id = before.service_id;
    record.service_name.clone_from(&before.service_name);
    record.team_id = before.team_id;
    record.team_name.clone_from(&before.team_name);
}

/// Whole milliseconds between two times as a client reads them: each is cut to its millisecond.
fn millis_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    to.timestamp_millis() - from.timestamp_millis()
}

fn of<T>(value: Option<T>, field: &'static str) -> Result<T> {
    value.ok_or_else(|| Error::invalid("undecodable_event", format!("an incident event without {field}")))
}

fn id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::invalid("undecodable_event", format!("{text:?} is not a UUID")))
}

fn time(at: Option<&prost_types::Timestamp>) -> Option<DateTime<Utc>> {
    at.and_then(proto::time::from_timestamp)
}

#[cfg(test)]
mod tests;
