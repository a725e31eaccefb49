//! Between rows and the contract's messages.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use platform::ctx::Actor;
use platform::ctx::PrincipalKind;
use platform::error::{Error, Result};
use prost_types::Timestamp;
use proto::api::v1 as api;
use proto::notification::v1 as wire;
use serde_json::Value;

use crate::kinds::{AttemptOutcome, Kind, Status};
use crate::store::attempts::Attempt;
use crate::store::channels::Channel;
use crate::store::contact_methods::ContactMethod;
use crate::store::notifications::Notification;

/// `address` is the whole one or the short one: what the reader may see. `warning` says why nothing
/// reaches it.
pub fn channel(
    row: Channel,
    address: String,
    secret: Option<String>,
    warning: Option<&str>,
) -> wire::Channel {
    wire::Channel {
        id: row.id.to_string(),
        slug: row.slug,
        name: row.name,
        team_id: row.team_id.map(|id| id.to_string()),
        kind: kind(row.kind).into(),
        address,
        secret,
        disabled: row.disabled,
        labels: labels(&row.labels),
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
        archived_at: row.archived_at.and_then(time),
        version: row.version,
        warning: warning.map(ToOwned::to_owned),
    }
}

/// As [`channel`].
pub fn contact_method(
    row: ContactMethod,
    address: String,
    secret: Option<String>,
    warning: Option<&str>,
) -> wire::ContactMethod {
    wire::ContactMethod {
        id: row.id.to_string(),
        user_id: row.user_id.to_string(),
        kind: kind(row.kind).into(),
        address,
        secret,
        disabled: row.disabled,
        verified_at: row.verified_at.and_then(time),
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
        version: row.version,
        archived_at: row.archived_at.and_then(time),
        warning: warning.map(ToOwned::to_owned),
    }
}

pub fn notification(row: Notification, subject: String, attempts: Vec<Attempt>) -> wire::Notification {
    // An ended one stays due until its incident's timeline has it; nobody is tried again then.
    let due_at = row.due_at.filter(|_| row.status == Status::Pending);
    wire::Notification {
        id: row.id.to_string(),
        key: row.key,
        status: status(row.status).into(),
        kind: kind(row.kind).into(),
        address: row.address_shown,
        user_id: row.user_id.map(|id| id.to_string()),
        channel_id: row.channel_id.map(|id| id.to_string()),
        incident_id: row.incident_id.map(|id| id.to_string()),
        run_id: row.run_id.map(|id| id.to_string()),
        subject,
        created_at: time(row.created_at),
        delivered_at: row.delivered_at.and_then(time),
        due_at: due_at.and_then(time),
        attempts: attempts.into_iter().map(attempt).collect(),
        recipient: row.recipient,
    }
}

fn attempt(row: Attempt) -> wire::Attempt {
    let outcome = match row.outcome {
        AttemptOutcome::Started => wire::AttemptOutcome::Started,
        AttemptOutcome::Delivered => wire::AttemptOutcome::Delivered,
        AttemptOutcome::Failed => wire::AttemptOutcome::Failed,
        AttemptOutcome::Refused => wire::AttemptOutcome::Refused,
        AttemptOutcome::Cancelled => wire::AttemptOutcome::Cancelled,
    };
    wire::Attempt {
        number: row.number,
        started_at: time(row.started_at),
        ended_at: row.ended_at.and_then(time),
        outcome: outcome.into(),
        status: row.status,
        detail: row.detail,
    }
}

pub fn kind(kind: Kind) -> wire::ChannelKind {
    match kind {
        Kind::Webhook => wire::ChannelKind::Webhook,
        Kind::Email => wire::ChannelKind::Email,
        Kind::Log => wire::ChannelKind::Log,
    }
}

/// # Errors
/// Invalid, code `required`, at `field`.
pub fn read_kind(kind: wire::ChannelKind, field: &str) -> Result<Kind> {
    match kind {
        wire::ChannelKind::Webhook => Ok(Kind::Webhook),
        wire::ChannelKind::Email => Ok(Kind::Email),
        wire::ChannelKind::Log => Ok(Kind::Log),
        wire::ChannelKind::Unspecified => Err(Error::field(field, "required", "is required")),
    }
}

fn status(status: Status) -> wire::NotificationStatus {
    match status {
        Status::Pending => wire::NotificationStatus::Pending,
        Status::Delivered => wire::NotificationStatus::Delivered,
        Status::Dead => wire::NotificationStatus::Dead,
        Status::Cancelled => wire::NotificationStatus::Cancelled,
    }
}

/// The filter's word; `None` for "unspecified", which filters nothing.
pub fn read_status(status: wire::NotificationStatus) -> Option<Status> {
    match status {
        wire::NotificationStatus::Pending => Some(Status::Pending),
        wire::NotificationStatus::Delivered => Some(Status::Delivered),
        wire::NotificationStatus::Dead => Some(Status::Dead),
        wire::NotificationStatus::Cancelled => Some(Status::Cancelled),
        wire::NotificationStatus::Unspecified => None,
    }
}

fn labels(labels: &Value) -> BTreeMap<String, String> {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

pub fn labels_json(labels: BTreeMap<String, String>) -> Value {
    Value::Object(labels.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
}

fn time(time: DateTime<Utc>) -> Option<Timestamp> {
    Some(proto::time::to_timestamp(time))
}

/// # Errors
/// Invalid, code `out_of_range`, at `field`.
pub fn read_time(timestamp: &Timestamp, field: &str) -> Result<DateTime<Utc>> {
    proto::time::from_timestamp(timestamp)
        .ok_or_else(|| Error::field(field, "out_of_range", "is no time that can be kept"))
}

/// Who acts, for a timeline.
pub fn actor(actor: &Actor) -> api::Actor {
    let kind = match actor.kind {
        PrincipalKind::User => api::ActorKind::User,
        PrincipalKind::ApiKey => api::ActorKind::ApiKey,
        PrincipalKind::IntegrationKey => api::ActorKind::Integration,
        PrincipalKind::Service => api::ActorKind::Service,
        PrincipalKind::Anonymous => api::ActorKind::Unspecified,
    };
    let id = match actor.kind {
        PrincipalKind::Service => actor.name.clone(),
        _ => actor.id.to_string(),
    };
    api::Actor { kind: kind.into(), id, name: actor.name.clone() }
}
