//! What is told about an incident: events on `pulseops.incidents.v1` and timeline entries.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use platform::bus::{Envelope, Record};
use platform::ctx::{Ctx, OrgId};
use platform::outbox;
use prost::Message;
use proto::api::v1::Reference;
use proto::events::v1::IncidentEvent;
use proto::incident::v1::timeline_entry::Data;
use proto::incident::v1::{AlertData, ChangeData, EscalationData, FieldChange, NoteData, TimelineEntry};
use proto::time::to_timestamp;

use crate::json::{Actor, Json};
use crate::kinds::{IncidentId, TimelineKind};
use crate::store::alerts::Alert;
use crate::store::incidents::Incident;
use crate::store::services::Service;
use crate::store::timeline::Entry;
use crate::{INCIDENTS, NAME};

/// A step of an incident's life, as the type of its event says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Created,
    Acknowledged,
    Escalated,
    Resolved,
    Reopened,
    Assigned,
    SeverityChanged,
    Updated,
}

impl Step {
    /// Type of the event.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Created => "pulseops.incident.created.v1",
            Self::Acknowledged => "pulseops.incident.acknowledged.v1",
            Self::Escalated => "pulseops.incident.escalated.v1",
            Self::Resolved => "pulseops.incident.resolved.v1",
            Self::Reopened => "pulseops.incident.reopened.v1",
            Self::Assigned => "pulseops.incident.assigned.v1",
            Self::SeverityChanged => "pulseops.incident.severity_changed.v1",
            Self::Updated => "pulseops.incident.updated.v1",
        }
    }

    /// Kind of its timeline entry.
    pub const fn entry(self) -> TimelineKind {
        match self {
            Self::Created => TimelineKind::Created,
            Self::Acknowledged => TimelineKind::Acknowledged,
            Self::Escalated => TimelineKind::Escalated,
            Self::Resolved => TimelineKind::Resolved,
            Self::Reopened => TimelineKind::Reopened,
            Self::Assigned => TimelineKind::Assigned,
            Self::SeverityChanged => TimelineKind::SeverityChanged,
            Self::Updated => TimelineKind::Updated,
        }
    }
}

/// The event of `step`: the incident as it stands after it, with its service, team and policy by
/// name, so that no consumer has to ask back.
pub fn event(
    cx: &Ctx,
    step: Step,
    incident: &Incident,
    service: &Service,
    actor: &Actor,
    extra: Extra,
) -> outbox::Message {
    let payload = IncidentEvent {
        incident: Some(crate::convert::incident(incident)),
        service: Some(reference(service.id, &service.name)),
        team: incident.team_id.map(|id| reference(id, &incident.team_name)),
        policy: service.policy_id.map(|id| reference(id, &service.policy_name)),
        actor: Some(crate::convert::actor(actor)),
        at: Some(to_timestamp(cx.now)),
        escalation: extra.escalation,
        attributes: extra.attributes,
    };
    let envelope = Envelope::new(cx, NAME, step.event_type(), incident.id, incident.version);
    outbox::Message::new(&INCIDENTS, Record::new(incident.id.to_string(), envelope, &payload))
}

/// What only some events carry.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// On `escalated`.
    pub escalation: Option<EscalationData>,
    /// On `created`: the alert's labels and the last event's attributes.
    pub attributes: BTreeMap<String, String>,
}

fn reference(id: impl ToString, name: &str) -> Reference {
    Reference { id: id.to_string(), name: name.to_owned() }
}

/// An entry of the incident's timeline, now.
pub fn entry(cx: &Ctx, incident: &Incident, kind: TimelineKind, actor: &Actor, data: Option<Data>) -> Entry {
    entry_of(cx, (incident.org_id, incident.id), cx.now, kind, actor, data)
}

/// An entry of the timeline of `incident`, about what happened at `at`.
pub fn entry_of(
    cx: &Ctx,
    (org_id, incident_id): (OrgId, IncidentId),
    at: DateTime<Utc>,
    kind: TimelineKind,
    actor: &Actor,
    data: Option<Data>,
) -> Entry {
    Entry {
        org_id,
        incident_id,
        id: cx.id(),
        at,
        kind,
        actor: Json(actor.clone()),
        data: TimelineEntry { data, ..TimelineEntry::default() }.encode_to_vec(),
    }
}

/// A note, when there is one.
pub fn note(text: &str) -> Option<Data> {
    (!text.is_empty()).then(|| Data::Note(NoteData { text: text.to_owned() }))
}

/// What an entry says about an alert.
pub fn alert(alert: &Alert) -> Option<Data> {
    Some(Data::Alert(AlertData {
        alert_id: alert.id.to_string(),
        dedup_key: alert.dedup_key.clone(),
        title: alert.title.clone(),
        count: alert.count,
    }))
}

/// Changes of fields, from and to.
pub fn changes(changes: Vec<FieldChange>) -> Option<Data> {
    Some(Data::Change(ChangeData { changes }))
}

/// One changed field.
pub fn change(field: &str, from: impl ToString, to: impl ToString) -> FieldChange {
    FieldChange { field: field.to_owned(), from: from.to_string(), to: to.to_string() }
}
