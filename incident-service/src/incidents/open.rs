use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, OrgId};
use platform::error::{Error, Result};
use platform::outbox;
use proto::incident::v1 as wire;

use crate::announce::{self, Extra, Step};
use crate::convert;
use crate::json::{Actor, Json, Source};
use crate::kinds::{
    AlertId, AlertStatus, IncidentId, ServiceId, Severity, SourceKind, TimelineKind, Urgency,
};
use crate::lifecycle::Life;
use crate::peers::UNKNOWN_REFERENCE;
use crate::store::alerts::{self, Alert};
use crate::store::incidents::{self as store, Incident};
use crate::store::services::{self, Service};
use crate::store::timeline;

/// An incident to be opened, and why.
#[derive(Clone, Debug)]
pub struct Opening {
    pub cx: Ctx,
    /// Without a number.
    pub incident: Incident,
    pub service: Arc<Service>,
    pub actor: Actor,
    /// The alert that opens it; its row is the caller's to write, after this.
    pub alert: Alert,
    /// What the event says beside the labels.
    pub attributes: BTreeMap<String, String>,
}

impl Opening {
    /// The incident that `alert` opens.
    pub fn of_alert(
        cx: Ctx,
        service: Arc<Service>,
        actor: Actor,
        alert: &Alert,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        let incident = Incident {
            org_id: alert.org_id,
            id: alert.incident_id.unwrap_or(IncidentId(cx.id())),
            number: 0,
            title: alert.title.clone(),
            description: String::new(),
            severity: alert.severity,
            urgency: service.urgency_rule.urgency(alert.severity),
            life: Life::born(),
            service_id: service.id,
            team_id: service.team_id,
            team_name: service.team_name.clone(),
            assignee_ids: Vec::new(),
            source: Json(alert.source()),
            labels: alert.labels.clone(),
            custom_fields: None,
            links: Json(service.links.0.clone()),
            images: Json(Vec::new()),
            runbook_url: service.runbook_url.clone(),
            conference_url: None,
            external_refs: Json(Vec::new()),
            created_at: cx.now,
            snoozed_until: None,
            merged_into_id: None,
            version: 1,
        };
        Self { cx, incident, service, actor, alert: alert.clone(), attributes }
    }

    fn extra(&self) -> Extra {
        let mut attributes = self.alert.labels.0.clone();
        attributes.extend(self.attributes.clone());
        Extra { escalation: None, attributes }
    }
}

/// Opens incidents: numbers, rows, timelines and events, each as one statement for the slice.
/// Returns them in the same order.
pub async fn open(conn: &mut AsyncPgConnection, mut openings: Vec<Opening>) -> Result<Vec<Incident>> {
    if openings.is_empty() {
        return Ok(Vec::new());
    }
    number(conn, &mut openings).await?;
    let incidents: Vec<Incident> = openings.iter().map(|o| o.incident.clone()).collect();
    store::insert(conn, &incidents).await?;
    let mut entries = Vec::with_capacity(openings.len());
    let mut events = Vec::with_capacity(openings.len());
    for opening in &openings {
        let Opening { cx, incident, service, actor, alert, .. } = opening;
        entries.push(announce::entry(cx, incident, TimelineKind::Created, actor, announce::alert(alert)));
        events.push(announce::event(cx, Step::Created, incident, service, actor, opening.extra()));
        count(incident);
    }
    timeline::append(conn, &entries).await?;
    outbox::append(conn, &events).await?;
    Ok(incidents)
}

fn count(incident: &Incident) {
    let (severity, source) = (incident.severity.as_str(), incident.source.0.kind.as_str());
    metrics::counter!("pulseops_incident_opened_total", "severity" => severity, "source" => source)
        .increment(1);
}

/// Numbers of one organization are taken as a block and given in the slice's order.
async fn number(conn: &mut AsyncPgConnection, openings: &mut [Opening]) -> Result<()> {
    let mut sizes: BTreeMap<OrgId, i64> = BTreeMap::new();
    for opening in openings.iter() {
        *sizes.entry(opening.incident.org_id).or_default() += 1;
    }
    let blocks: Vec<(OrgId, i64)> = sizes.iter().map(|(org, size)| (*org, *size)).collect();
    let taken = store::take_numbers(conn, &blocks).await?;
    let mut next: HashMap<OrgId, i64> = taken
        .iter()
        .map(|block| (block.org_id, block.number - sizes.get(&block.org_id).copied().unwrap_or(0) + 1))
        .collect();
    for opening in openings {
        let number = next
            .get_mut(&opening.incident.org_id)
            .ok_or_else(|| Error::internal("an organization got no numbers"))?;
        opening.incident.number = *number;
        *number += 1;
    }
    Ok(())
}

/// Opens an incident by hand: with an alert whose source is the caller. A paused service stops
/// detectors, not people.
pub async fn create(cx: &Ctx, conn: &mut AsyncPgConnection, draft: wire::Incident) -> Result<Incident> {
    let service_id = ServiceId::parse("incident.service_id", &draft.service_id)?;
    let service = services::find(conn, cx.org, service_id)
        .await?
        .ok_or_else(|| Error::field("incident.service_id", UNKNOWN_REFERENCE, "there is no such service"))?;
    if service.archived_at.is_some() {
        return Err(Error::field("incident.service_id", "archived", "this service is archived"));
    }
    let severity = Severity::from_wire(draft.severity)
        .ok_or_else(|| Error::field("incident.severity", "required", "must be set"))?;
    let mut alert = manual_alert(cx, &service, severity, &draft);
    let mut opening =
        Opening::of_alert(cx.clone(), Arc::new(service), Actor::of(cx), &alert, BTreeMap::new());
    fill(&mut opening.incident, draft)?;
    alert.incident_id = Some(opening.incident.id);
    let mut opened = open(conn, vec![opening]).await?;
    alerts::insert(conn, std::slice::from_ref(&alert)).await?;
    if alert.due_at.is_some() {
        platform::leased::wake_on_commit(conn, crate::alerts::TABLE);
    }
    opened.pop().ok_or_else(|| Error::internal("one opening opens one incident"))
}

fn manual_alert(cx: &Ctx, service: &Service, severity: Severity, draft: &wire::Incident) -> Alert {
    let Source { id, name, .. } = Source::of(cx);
    let alert_id = AlertId(cx.id());
    Alert {
        org_id: cx.org,
        id: alert_id,
        service_id: service.id,
        incident_id: None,
        source_kind: SourceKind::Person,
        source_id: id,
        source_name: name,
        dedup_key: format!("manual:{alert_id}"),
        status: AlertStatus::Firing,
        severity,
        title: draft.title.clone(),
        labels: Json(draft.labels.clone()),
        attributes: Json::default(),
        value: None,
        count: 1,
        started_at: cx.now,
        last_at: cx.now,
        resolved_at: None,
        auto_resolve_ms: service.auto_resolve_ms,
        version: 1,
        due_at: crate::alerts::due_at(cx.now, service.auto_resolve_ms),
    }
}

/// What a person says about the incident; what is not said comes from the service.
fn fill(incident: &mut Incident, draft: wire::Incident) -> Result<()> {
    incident.custom_fields = convert::read_custom_fields(draft.custom_fields)?;
    incident.description = draft.description;
    incident.urgency = Urgency::from_wire(draft.urgency).unwrap_or(incident.urgency);
    if !draft.links.is_empty() {
        incident.links = Json(convert::read_links(draft.links));
    }
    incident.images = Json(convert::read_images(draft.images));
    incident.runbook_url = draft.runbook_url.or(incident.runbook_url.take());
    incident.conference_url = draft.conference_url;
    incident.external_refs = Json(convert::read_external_refs(draft.external_refs));
    Ok(())
}
