//! Between rows and the contract.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use platform::error::{Error, Result};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Timestamp, Value};
use proto::api::v1 as api;
use proto::incident::v1 as wire;
use proto::time::{from_timestamp, to_timestamp};
use serde_json::Value as Json;

use crate::json::{Actor, ActorKind, Condition, ExternalRef, Image, Link, Source};
use crate::kinds::UrgencyRule;
use crate::store::alerts::Alert;
use crate::store::incidents::{Incident, State};
use crate::store::rules::Rule;
use crate::store::services::Service;
use crate::store::timeline::Entry;

/// Bytes of an incident's custom fields as JSON, at most.
const MAX_CUSTOM_FIELDS: usize = 16 * 1024;

fn time(time: Option<DateTime<Utc>>) -> Option<Timestamp> {
    time.map(to_timestamp)
}

/// Reads a time of the request.
///
/// # Errors
/// Invalid at `field`, code `out_of_range`.
pub fn read_time(field: &str, time: Option<&Timestamp>) -> Result<Option<DateTime<Utc>>> {
    let Some(time) = time else { return Ok(None) };
    let read = from_timestamp(time);
    read.map(Some).ok_or_else(|| Error::field(field, "out_of_range", "is no time that we can keep"))
}

pub fn actor(actor: &Actor) -> api::Actor {
    let kind = match actor.kind {
        ActorKind::User => api::ActorKind::User,
        ActorKind::ApiKey => api::ActorKind::ApiKey,
        ActorKind::Integration => api::ActorKind::Integration,
        ActorKind::Service => api::ActorKind::Service,
        ActorKind::Rule => api::ActorKind::Rule,
        ActorKind::Workflow => api::ActorKind::Workflow,
    };
    api::Actor { kind: kind as i32, id: actor.id.clone(), name: actor.name.clone() }
}

/// Who an automation says it is. Only our own services call with one, so an unknown kind is the
/// service itself.
pub fn read_actor(actor: api::Actor, caller: &Actor) -> Actor {
    let kind = match api::ActorKind::try_from(actor.kind) {
        Ok(api::ActorKind::User) => ActorKind::User,
        Ok(api::ActorKind::ApiKey) => ActorKind::ApiKey,
        Ok(api::ActorKind::Integration) => ActorKind::Integration,
        Ok(api::ActorKind::Service) => ActorKind::Service,
        Ok(api::ActorKind::Rule) => ActorKind::Rule,
        Ok(api::ActorKind::Workflow) => ActorKind::Workflow,
        Ok(api::ActorKind::Unspecified) | Err(_) => return caller.clone(),
    };
    Actor { kind, id: actor.id, name: actor.name }
}

pub fn source(source: &Source) -> wire::Source {
    wire::Source { kind: source.kind.wire(), id: source.id.to_string(), name: source.name.clone() }
}

fn links(links: &[Link]) -> Vec<api::Link> {
    links.iter().map(|link| api::Link { href: link.href.clone(), text: link.text.clone() }).collect()
}

pub fn read_links(links: Vec<api::Link>) -> Vec<Link> {
    links.into_iter().map(|link| Link { href: link.href, text: link.text }).collect()
}

pub fn read_images(images: Vec<wire::Image>) -> Vec<Image> {
    images.into_iter().map(|i| Image { src: i.src, href: i.href, alt: i.alt }).collect()
}

pub fn read_external_refs(refs: Vec<wire::ExternalRef>) -> Vec<ExternalRef> {
    refs.into_iter().map(|r| ExternalRef { system: r.system, id: r.id, url: r.url }).collect()
}

pub fn service(row: &Service) -> wire::Service {
    wire::Service {
        id: row.id.to_string(),
        slug: row.slug.clone(),
        name: row.name.clone(),
        description: row.description.clone(),
        team_id: row.team_id.map(|id| id.to_string()),
        escalation_policy_id: row.policy_id.map(|id| id.to_string()),
        labels: row.labels.0.clone(),
        runbook_url: row.runbook_url.clone(),
        links: links(&row.links.0),
        urgency_rule: row.urgency_rule.wire(),
        paused_until: time(row.paused_until),
        auto_resolve_ms: row.auto_resolve_ms,
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        archived_at: time(row.archived_at),
        version: row.version,
    }
}

/// By severity when not said.
pub fn read_urgency_rule(number: i32) -> UrgencyRule {
    UrgencyRule::from_wire(number).unwrap_or(UrgencyRule::BySeverity)
}

pub fn rule(row: &Rule) -> wire::Rule {
    wire::Rule {
        id: row.id.to_string(),
        slug: row.slug.clone(),
        name: row.name.clone(),
        service_id: row.service_id.to_string(),
        selection: row.selection.clone(),
        condition: Some(condition(row.condition.0)),
        group_by: row.group_by.clone(),
        severity: row.severity.wire(),
        dedup_key: row.dedup_key.clone(),
        title: row.title.clone(),
        cooldown_ms: row.cooldown_ms,
        auto_resolve_ms: row.auto_resolve_ms,
        disabled: row.disabled,
        labels: row.labels.0.clone(),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        archived_at: time(row.archived_at),
        version: row.version,
    }
}

fn condition(condition: Condition) -> wire::Condition {
    use wire::condition::Kind;
    let kind = match condition {
        Condition::Each => Kind::Each(wire::Each {}),
        Condition::Count { at_least, window_ms } => Kind::Count(wire::CountInWindow { at_least, window_ms }),
    };
    wire::Condition { kind: Some(kind) }
}

/// # Errors
/// Invalid at `rule.condition`, code `required`.
pub fn read_condition(condition: Option<wire::Condition>) -> Result<Condition> {
    use wire::condition::Kind;
    match condition.and_then(|condition| condition.kind) {
        Some(Kind::Each(wire::Each {})) => Ok(Condition::Each),
        Some(Kind::Count(count)) => {
            Ok(Condition::Count { at_least: count.at_least, window_ms: count.window_ms })
        }
        None => Err(Error::field("rule.condition", "required", "must be set")),
    }
}

pub fn alert(row: &Alert) -> wire::Alert {
    wire::Alert {
        id: row.id.to_string(),
        service_id: row.service_id.to_string(),
        incident_id: row.incident_id.map(|id| id.to_string()),
        source: Some(source(&row.source())),
        dedup_key: row.dedup_key.clone(),
        status: row.status.wire(),
        severity: row.severity.wire(),
        title: row.title.clone(),
        labels: row.labels.0.clone(),
        count: row.count,
        started_at: Some(to_timestamp(row.started_at)),
        last_at: Some(to_timestamp(row.last_at)),
        resolved_at: time(row.resolved_at),
        version: row.version,
        attributes: row.attributes.0.clone(),
        value: row.value,
    }
}

pub fn incident(row: &Incident) -> wire::Incident {
    let life = &row.life;
    wire::Incident {
        id: row.id.to_string(),
        number: row.number,
        title: row.title.clone(),
        description: row.description.clone(),
        severity: row.severity.wire(),
        urgency: row.urgency.wire(),
        status: life.status.wire(),
        service_id: row.service_id.to_string(),
        team_id: row.team_id.map(|id| id.to_string()),
        assignee_ids: row.assignee_ids.iter().map(ToString::to_string).collect(),
        source: Some(source(&row.source.0)),
        labels: row.labels.0.clone(),
        custom_fields: row.custom_fields.as_ref().map(to_struct),
        links: links(&row.links.0),
        images: row.images.0.iter().map(image).collect(),
        runbook_url: row.runbook_url.clone(),
        conference_url: row.conference_url.clone(),
        external_refs: row.external_refs.0.iter().map(external_ref).collect(),
        created_at: Some(to_timestamp(row.created_at)),
        first_acknowledged_at: time(life.first_acknowledged_at),
        acknowledged_at: time(life.acknowledged_at),
        acknowledged_by: life.acknowledged_by.as_ref().map(|by| actor(&by.0)),
        resolved_at: time(life.resolved_at),
        resolved_by: life.resolved_by.as_ref().map(|by| actor(&by.0)),
        auto_resolved: life.auto_resolved,
        resolution_note: life.resolution_note.clone(),
        reopen_count: life.reopen_count,
        snoozed_until: time(row.snoozed_until),
        merged_into_id: row.merged_into_id.map(|id| id.to_string()),
        version: row.version,
    }
}

fn image(image: &Image) -> wire::Image {
    wire::Image { src: image.src.clone(), href: image.href.clone(), alt: image.alt.clone() }
}

fn external_ref(known: &ExternalRef) -> wire::ExternalRef {
    wire::ExternalRef { system: known.system.clone(), id: known.id.clone(), url: known.url.clone() }
}

pub fn state(row: &State) -> wire::IncidentState {
    wire::IncidentState {
        incident_id: row.id.to_string(),
        status: row.status.wire(),
        acknowledged_at: time(row.acknowledged_at),
        resolved_at: time(row.resolved_at),
        version: row.version,
    }
}

/// # Errors
/// Internal, when the row's `data` is not what we wrote.
pub fn entry(row: Entry) -> Result<wire::TimelineEntry> {
    let data: wire::TimelineEntry = prost::Message::decode(row.data.as_slice()).map_err(Error::internal)?;
    Ok(wire::TimelineEntry {
        id: row.id.to_string(),
        at: Some(to_timestamp(row.at)),
        kind: row.kind.wire(),
        actor: Some(actor(&row.actor.0)),
        data: data.data,
    })
}

/// # Errors
/// Invalid at `incident.custom_fields`, code `too_large`.
pub fn read_custom_fields(fields: Option<Struct>) -> Result<Option<Json>> {
    let Some(fields) = fields else { return Ok(None) };
    let json = from_struct(fields);
    if json.to_string().len() > MAX_CUSTOM_FIELDS {
        let detail = format!("has more than {MAX_CUSTOM_FIELDS} bytes");
        return Err(Error::field("incident.custom_fields", "too_large", detail));
    }
    Ok(Some(json))
}

fn from_struct(fields: Struct) -> Json {
    fields.fields.into_iter().map(|(name, value)| (name, from_value(value))).collect()
}

fn from_value(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => value.into(),
        Some(Kind::StructValue(value)) => from_struct(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_value).collect(),
    }
}

/// Whole numbers stay whole in the database's JSON.
#[expect(clippy::cast_possible_truncation, reason = "compared with what came back")]
fn number(value: f64) -> Json {
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared below 2^53")]
    if whole.unsigned_abs() < (1 << 53) && whole as f64 == value {
        return whole.into();
    }
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

fn to_struct(json: &Json) -> Struct {
    let Json::Object(fields) = json else { return Struct::default() };
    let fields: BTreeMap<String, Value> =
        fields.iter().map(|(name, value)| (name.clone(), to_value(value))).collect();
    Struct { fields }
}

fn to_value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(0.0)),
        Json::String(value) => Kind::StringValue(value.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() }),
        Json::Object(_) => Kind::StructValue(to_struct(json)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_fields_come_back_as_they_went() {
        let json = serde_json::json!({
            "text": "a", "whole": 3, "part": 0.5, "yes": true, "none": null, "list": [1, "b", {"c": []}],
        });
        let back = read_custom_fields(Some(to_struct(&json))).expect("small");
        assert_eq!(back, Some(json));
    }

    #[test]
    fn custom_fields_have_a_limit() {
        let json = serde_json::json!({ "text": "a".repeat(MAX_CUSTOM_FIELDS) });
        let error = read_custom_fields(Some(to_struct(&json))).expect_err("too large");
        assert_eq!((error.code, error.fields[0].field.as_str()), ("too_large", "incident.custom_fields"));
    }
}
