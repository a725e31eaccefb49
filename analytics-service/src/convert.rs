//! Rows and proto.

use chrono::{DateTime, Utc};
use proto::analytics::v1 as wire;
use proto::api::v1::Reference;

use crate::kinds::{Severity, Status, Urgency};
use crate::record::Record;
use crate::store::{CountRow, StatisticRow};

pub fn time(at: Option<&prost_types::Timestamp>) -> Option<DateTime<Utc>> {
    at.and_then(proto::time::from_timestamp)
}

/// Names of the enum values of a filter; the contract has refused what is not defined.
pub fn severities(values: &[i32]) -> Vec<&'static str> {
    values.iter().filter_map(|value| Severity::from_wire(*value)).map(Severity::as_str).collect()
}

pub fn urgencies(values: &[i32]) -> Vec<&'static str> {
    values.iter().filter_map(|value| Urgency::from_wire(*value)).map(Urgency::as_str).collect()
}

pub fn statuses(values: &[i32]) -> Vec<&'static str> {
    values.iter().filter_map(|value| Status::from_wire(*value)).map(Status::as_str).collect()
}

pub fn service(row: &CountRow) -> Reference {
    Reference { id: row.service_id.to_string(), name: row.service_name.clone() }
}

pub fn group(row: StatisticRow) -> wire::MttrGroup {
    wire::MttrGroup {
        key: row.key,
        name: row.name,
        incidents: row.incidents,
        acknowledged: row.acknowledged,
        resolved: row.resolved,
        mtta: Some(wire::Durations {
            mean_ms: row.mtta_mean_ms,
            p50_ms: row.mtta_p50_ms,
            p90_ms: row.mtta_p90_ms,
        }),
        mttr: Some(wire::Durations {
            mean_ms: row.mttr_mean_ms,
            p50_ms: row.mttr_p50_ms,
            p90_ms: row.mttr_p90_ms,
        }),
    }
}

pub fn record(row: Record) -> wire::IncidentRecord {
    let stamp = proto::time::to_timestamp;
    wire::IncidentRecord {
        incident_id: row.incident_id.to_string(),
        number: row.number,
        title: row.title,
        status: row.status.wire(),
        severity: row.severity.wire(),
        urgency: row.urgency.wire(),
        service_name: row.service_name.clone(),
        team_name: row.team_name.clone(),
        service: Some(Reference { id: row.service_id.to_string(), name: row.service_name }),
        team: row.team_id.map(|id| Reference { id: id.to_string(), name: row.team_name.unwrap_or_default() }),
        created_at: Some(stamp(row.created_at)),
        first_acknowledged_at: row.first_acknowledged_at.map(stamp),
        resolved_at: row.resolved_at.map(stamp),
        mtta_ms: row.mtta_ms,
        mttr_ms: row.mttr_ms,
        auto_resolved: row.auto_resolved,
        escalations: row.escalations,
        reopen_count: row.reopen_count,
    }
}
