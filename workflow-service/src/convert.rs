//! Rows and messages, and the names of the contract's enums as rows and texts have them.

use std::collections::BTreeMap;

use platform::error::{Error, Result};
use prost::Message;
use proto::api::v1::{Actor, ActorKind, Severity, Urgency};
use proto::incident::v1::IncidentStatus;
use proto::workflow::v1 as pb;
use uuid::Uuid;

use crate::engine;
use crate::program::{self, Kind};
use crate::store::policies::Policy;
use crate::store::runs::{Outline, Run};
use crate::store::steps::RunStep;
use crate::store::workflows::Workflow;
use crate::vault;

/// `critical`, …; empty when unset.
pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Unspecified => "",
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
    }
}

/// `high` or `low`; empty when unset.
pub fn urgency_name(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Unspecified => "",
        Urgency::High => "high",
        Urgency::Low => "low",
    }
}

/// The name in rows.
pub fn incident_status(status: IncidentStatus) -> Option<&'static str> {
    match status {
        IncidentStatus::Unspecified => None,
        IncidentStatus::Triggered => Some("triggered"),
        IncidentStatus::Acknowledged => Some("acknowledged"),
        IncidentStatus::Resolved => Some("resolved"),
    }
}

/// The name in rows and in event types.
pub fn trigger_name(trigger: pb::TriggerEvent) -> &'static str {
    match trigger {
        pb::TriggerEvent::Unspecified => "",
        pb::TriggerEvent::Created => "created",
        pb::TriggerEvent::Acknowledged => "acknowledged",
        pb::TriggerEvent::Escalated => "escalated",
        pb::TriggerEvent::Resolved => "resolved",
        pb::TriggerEvent::Reopened => "reopened",
    }
}

fn trigger(name: &str) -> i32 {
    use pb::TriggerEvent as T;
    let all = [T::Created, T::Acknowledged, T::Escalated, T::Resolved, T::Reopened];
    all.into_iter().find(|it| trigger_name(*it) == name).unwrap_or_default().into()
}

/// Whether workflows can start on what events of this name say.
pub fn is_trigger(name: &str) -> bool {
    trigger(name) != i32::from(pb::TriggerEvent::Unspecified)
}

/// The name in rows.
pub fn run_status_name(status: pb::RunStatus) -> Option<&'static str> {
    match status {
        pb::RunStatus::Unspecified => None,
        pb::RunStatus::Held => Some("held"),
        pb::RunStatus::Running => Some("running"),
        pb::RunStatus::Succeeded => Some("succeeded"),
        pb::RunStatus::Failed => Some("failed"),
        pb::RunStatus::Cancelled => Some("cancelled"),
    }
}

fn run_status(name: &str) -> i32 {
    use pb::RunStatus as S;
    let all = [S::Held, S::Running, S::Succeeded, S::Failed, S::Cancelled];
    all.into_iter().find(|it| run_status_name(*it) == Some(name)).unwrap_or_default().into()
}

/// Who acts when a run does.
pub fn run_actor(run: &Run) -> Actor {
    Actor { kind: ActorKind::Workflow.into(), id: run.program_id.to_string(), name: run.name.clone() }
}

/// What a workflow row holds of its steps.
pub fn steps_bytes(steps: &[pb::Step]) -> Vec<u8> {
    pb::Workflow { steps: steps.to_vec(), ..pb::Workflow::default() }.encode_to_vec()
}

/// What a policy row holds of its levels.
pub fn levels_bytes(levels: &[pb::Level]) -> Vec<u8> {
    let policy = pb::EscalationPolicy { levels: levels.to_vec(), ..pb::EscalationPolicy::default() };
    policy.encode_to_vec()
}

/// Labels as a row holds them.
pub fn labels_json(labels: &BTreeMap<String, String>) -> serde_json::Value {
    let pairs = labels.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    serde_json::Value::Object(pairs.collect())
}

fn labels(json: serde_json::Value) -> Result<BTreeMap<String, String>> {
    serde_json::from_value(json).map_err(Error::internal)
}

/// The steps of a workflow, the values of their headers sealed.
///
/// # Errors
/// Internal, when the row cannot be read.
pub fn sealed_steps(row: &Workflow) -> Result<Vec<pb::Step>> {
    Ok(pb::Workflow::decode(row.steps.as_slice()).map_err(Error::internal)?.steps)
}

/// A workflow as the contract has it, the values of its headers masked and what it does not say filled in.
///
/// # Errors
/// Internal, when the row cannot be read.
pub fn workflow(row: Workflow) -> Result<pb::Workflow> {
    let mut steps = sealed_steps(&row)?;
    vault::mask(&mut steps);
    steps.iter_mut().for_each(program::fill_defaults);
    Ok(pb::Workflow {
        id: row.id.to_string(),
        slug: row.slug,
        name: row.name,
        triggers: row.triggers.iter().map(|name| trigger(name)).collect(),
        condition: row.condition,
        service_ids: row.service_ids.iter().map(Uuid::to_string).collect(),
        hold_paging_ms: row.hold_paging_ms,
        steps,
        disabled: row.disabled,
        labels: labels(row.labels)?,
        created_at: Some(proto::time::to_timestamp(row.created_at)),
        updated_at: Some(proto::time::to_timestamp(row.updated_at)),
        archived_at: row.archived_at.map(proto::time::to_timestamp),
        version: row.version,
    })
}

/// A policy as the contract has it.
///
/// # Errors
/// Internal, when the row cannot be read.
pub fn policy(row: Policy) -> Result<pb::EscalationPolicy> {
    let stored = pb::EscalationPolicy::decode(row.levels.as_slice()).map_err(Error::internal)?;
    Ok(pb::EscalationPolicy {
        id: row.id.to_string(),
        slug: row.slug,
        name: row.name,
        levels: stored.levels,
        repeat: row.repeat,
        labels: labels(row.labels)?,
        created_at: Some(proto::time::to_timestamp(row.created_at)),
        updated_at: Some(proto::time::to_timestamp(row.updated_at)),
        archived_at: row.archived_at.map(proto::time::to_timestamp),
        version: row.version,
    })
}

/// A run as the contract has it.
pub fn run(row: Outline, steps: Vec<RunStep>) -> pb::Run {
    // One whose state nobody can read must not hide the others of its list.
    let state = serde_json::from_value::<engine::State>(row.state).ok();
    let reference = (!row.program_id.is_nil()).then(|| row.program_id.to_string());
    let live = matches!(row.status.as_str(), "held" | "running");
    let is_workflow = row.kind == Kind::Workflow.as_str();
    let (workflow_id, escalation_policy_id) = if is_workflow { (reference, None) } else { (None, reference) };
    pb::Run {
        id: row.id.to_string(),
        workflow_id,
        escalation_policy_id,
        name: row.name,
        incident_id: row.incident_id.to_string(),
        incident_number: row.incident_number,
        status: run_status(&row.status),
        attempt: state.as_ref().map_or(0, |state| i32::try_from(state.attempt).unwrap_or(i32::MAX)),
        path: state.map_or_else(String::new, |state| state.path),
        due_at: row.due_at.filter(|_| live).map(proto::time::to_timestamp),
        started_at: row.started_at.map(proto::time::to_timestamp),
        ended_at: row.ended_at.map(proto::time::to_timestamp),
        detail: row.detail,
        steps: steps.into_iter().map(step_outcome).collect(),
    }
}

fn step_outcome(row: RunStep) -> pb::StepOutcome {
    pb::StepOutcome {
        path: row.path,
        kind: row.kind,
        outcome: row.outcome,
        detail: row.detail,
        attempts: row.attempt,
        started_at: Some(proto::time::to_timestamp(row.started_at)),
        ended_at: Some(proto::time::to_timestamp(row.ended_at)),
    }
}
