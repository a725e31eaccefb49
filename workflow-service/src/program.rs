//! What a workflow or an escalation policy compiles to. A program is stored with each run, so that
//! a later change does not touch what has started.

mod compile;

use std::collections::BTreeMap;
use std::time::Duration;

use proto::api::v1::TargetKind;
use proto::workflow::v1 as pb;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backoff::Backoff;

pub use compile::fill_defaults;

/// Which of the two a program was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Steps, once.
    Workflow,
    /// Levels, `rounds` times, until somebody acknowledges.
    Policy,
}

impl Kind {
    /// The name in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Policy => "policy",
        }
    }
}

/// A list of operations, gone through `rounds` times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// What it was made from.
    pub kind: Kind,
    /// How often the operations are gone through; at least 1.
    pub rounds: u32,
    /// In order.
    pub ops: Vec<Op>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Calls an endpoint.
    Http(Http),
    /// Tells people, from a workflow.
    Notify {
        /// Who is told.
        targets: Vec<Target>,
        /// Template; a standard text when empty.
        message: String,
    },
    /// Waits.
    Wait {
        /// For how long.
        duration_ms: u64,
    },
    /// Ends the hold on paging, or asks the escalation for its next level.
    Escalate {
        /// Another policy than the service's.
        policy_id: Option<Uuid>,
    },
    /// Writes a note on the timeline.
    AddNote {
        /// Template.
        text: String,
    },
    /// Resolves the incident.
    Resolve {
        /// Template.
        note: String,
    },
    /// Sets the incident's severity.
    SetSeverity {
        /// Number of the contract's `Severity`.
        severity: i32,
    },
    /// Tells one level of a policy.
    Page {
        /// From 1.
        level: u32,
        /// Who is told.
        targets: Vec<Target>,
        /// The same for people.
        told: Vec<String>,
    },
    /// Waits for an acknowledgement.
    Await {
        /// The level that was told.
        level: u32,
        /// For how long.
        duration_ms: u64,
    },
}

/// A call of an endpoint, with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// Template.
    pub url: String,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Sent as they are.
    pub headers: BTreeMap<String, String>,
    /// Template; the incident as JSON when unset.
    pub body: Option<String>,
    /// Of one try.
    pub timeout_ms: u64,
    /// The first try counts.
    pub max_attempts: u32,
    /// Before the second try.
    pub initial_ms: u64,
    /// Longest wait.
    pub max_ms: u64,
    /// Share of the wait drawn at random.
    pub jitter: f64,
    /// 200 to 299 when empty.
    pub success_status: Vec<u16>,
    /// What success does to the run.
    pub on_success: Then,
    /// What the last failed try does to the run.
    pub on_failure: Then,
}

impl Http {
    /// The waits between its tries.
    pub fn backoff(&self) -> Backoff {
        Backoff {
            initial: Duration::from_millis(self.initial_ms),
            max: Duration::from_millis(self.max_ms),
            jitter: self.jitter,
        }
    }

    /// Whether an answer with this status is a success.
    pub fn succeeds(&self, status: u16) -> bool {
        if self.success_status.is_empty() {
            (200..300).contains(&status)
        } else {
            self.success_status.contains(&status)
        }
    }
}

/// What an outcome does to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The next operation.
    Continue,
    /// The run ends well.
    Stop,
    /// The run fails.
    Fail,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Number of the contract's `TargetKind`.
    pub kind: i32,
    /// Empty for `owners` and `service_team`.
    pub id: String,
}

impl Target {
    /// A target without an id.
    fn of(kind: TargetKind) -> Self {
        Self { kind: kind.into(), id: String::new() }
    }
}

impl From<&proto::api::v1::Target> for Target {
    fn from(target: &proto::api::v1::Target) -> Self {
        Self { kind: target.kind, id: target.id.clone() }
    }
}

impl From<&Target> for proto::api::v1::Target {
    fn from(target: &Target) -> Self {
        Self { kind: target.kind, id: target.id.clone() }
    }
}

impl Op {
    /// The name on timelines: http, notify, wait, escalate, add_note, resolve, set_severity.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Notify { .. } | Self::Page { .. } => "notify",
            Self::Wait { .. } | Self::Await { .. } => "wait",
            Self::Escalate { .. } => "escalate",
            Self::AddNote { .. } => "add_note",
            Self::Resolve { .. } => "resolve",
            Self::SetSeverity { .. } => "set_severity",
        }
    }

    /// Whether people are told by it, or right after it: such an operation goes before everything
    /// that can wait.
    pub const fn tells_people(&self) -> bool {
        matches!(self, Self::Notify { .. } | Self::Page { .. } | Self::Escalate { .. } | Self::Await { .. })
    }

    /// How long the run rests before the operation is performed.
    pub const fn rest(&self) -> Duration {
        match self {
            Self::Wait { duration_ms } | Self::Await { duration_ms, .. } => {
                Duration::from_millis(*duration_ms)
            }
            _ => Duration::ZERO,
        }
    }
}

impl Program {
    /// The steps of a workflow.
    pub fn of_workflow(steps: &[pb::Step]) -> Self {
        let ops = steps.iter().filter_map(|step| step.kind.as_ref()).map(compile::op).collect();
        Self { kind: Kind::Workflow, rounds: 1, ops }
    }

    /// The levels of a policy; `repeat` more rounds follow the first. `name` says who a target is.
    pub fn of_policy(
        levels: &[pb::Level],
        repeat: u32,
        name: impl Fn(&proto::api::v1::Target) -> String,
    ) -> Self {
        let levels = levels.iter().map(|level| {
            let targets = level.targets.iter().map(Target::from).collect();
            let told = level.targets.iter().map(&name).collect();
            (targets, told, compile::millis(level.timeout_ms))
        });
        Self::of_levels(levels, repeat)
    }

    /// The policy of services that have none: the owner team at once, the owner team and the
    /// organization's owners after `timeouts[0]`.
    pub fn built_in(timeouts: [Duration; 2], repeat: u32) -> Self {
        let team = Target::of(TargetKind::ServiceTeam);
        let owners = Target::of(TargetKind::Owners);
        let told = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let levels = [
            (vec![team.clone()], told(&[OWNER_TEAM]), timeouts[0].as_millis()),
            (vec![team, owners], told(&[OWNER_TEAM, OWNERS]), timeouts[1].as_millis()),
        ];
        let levels = levels.map(|(targets, told, ms)| (targets, told, u64::try_from(ms).unwrap_or(u64::MAX)));
        Self::of_levels(levels, repeat)
    }

    fn of_levels(levels: impl IntoIterator<Item = (Vec<Target>, Vec<String>, u64)>, repeat: u32) -> Self {
        let pairs = (1..).zip(levels).flat_map(|(level, (targets, told, duration_ms))| {
            [Op::Page { level, targets, told }, Op::Await { level, duration_ms }]
        });
        Self { kind: Kind::Policy, rounds: repeat.saturating_add(1), ops: pairs.collect() }
    }
}

/// How the team that owns the service is called when its name is not at hand.
pub const OWNER_TEAM: &str = "owner team";
/// How the owners of the organization are called.
pub const OWNERS: &str = "organization owners";

#[cfg(test)]
mod tests;
