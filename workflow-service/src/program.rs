//! What a workflow or an escalation policy compiles to. A program is stored with each run, so that
//! a later change does not touch what has started.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::api::v1::TargetKind;
use proto::workflow::v1 as pb;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backoff::Backoff;

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
    /// The name on timelines: http, notify, wait, escalate, add_note, resolve.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Notify { .. } | Self::Page { .. } => "notify",
            Self::Wait { .. } | Self::Await { .. } => "wait",
            Self::Escalate { .. } => "escalate",
            Self::AddNote { .. } => "add_note",
            Self::Resolve { .. } => "resolve",
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
        let ops = steps.iter().filter_map(|step| step.kind.as_ref()).map(op).collect();
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
            (targets, told, millis(level.timeout_ms))
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

fn op(kind: &pb::step::Kind) -> Op {
    use pb::step::Kind as Step;
    match kind {
        Step::Http(step) => Op::Http(http(step)),
        Step::Notify(step) => Op::Notify {
            targets: step.targets.iter().map(Target::from).collect(),
            message: step.message.clone(),
        },
        Step::Wait(step) => Op::Wait { duration_ms: millis(step.duration_ms) },
        Step::Escalate(step) => {
            Op::Escalate { policy_id: step.policy_id.as_deref().and_then(|id| id.parse().ok()) }
        }
        Step::AddNote(step) => Op::AddNote { text: step.text.clone() },
        Step::Resolve(step) => Op::Resolve { note: step.note.clone() },
    }
}

fn http(step: &pb::HttpStep) -> Http {
    let retry = step.retry.unwrap_or_default();
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    Http {
        url: step.url.clone(),
        method: match step.method() {
            pb::HttpMethod::Get => "GET",
            pb::HttpMethod::Put => "PUT",
            pb::HttpMethod::Delete => "DELETE",
            pb::HttpMethod::Post | pb::HttpMethod::Unspecified => "POST",
        }
        .to_owned(),
        headers: step.headers.clone(),
        body: step.body.clone(),
        timeout_ms: or(millis(step.timeout_ms), 10_000),
        max_attempts: u32::try_from(retry.max_attempts).unwrap_or(0).max(1),
        initial_ms: or(millis(retry.initial_ms), 1_000),
        max_ms: or(millis(retry.max_ms), 60_000),
        jitter: retry.jitter.unwrap_or(0.2),
        success_status: step.success_status.iter().filter_map(|it| u16::try_from(*it).ok()).collect(),
        on_success: then(step.on_success()),
        on_failure: then(step.on_failure()),
    }
}

fn then(outcome: pb::OnOutcome) -> Then {
    match outcome {
        pb::OnOutcome::Unspecified | pb::OnOutcome::Continue => Then::Continue,
        pb::OnOutcome::Stop => Then::Stop,
        pb::OnOutcome::Fail => Then::Fail,
    }
}

fn millis(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_step_without_options_has_the_documented_defaults() {
        let http = http(&pb::HttpStep { url: "https://x".to_owned(), ..pb::HttpStep::default() });
        assert_eq!((http.method.as_str(), http.timeout_ms, http.max_attempts), ("POST", 10_000, 1));
        assert_eq!((http.initial_ms, http.max_ms), (1_000, 60_000));
        assert_eq!((http.on_success, http.on_failure), (Then::Continue, Then::Continue));
        assert!(http.succeeds(204) && !http.succeeds(302));
    }

    #[test]
    fn levels_become_pages_and_waits() {
        let program = Program::built_in([Duration::from_secs(300), Duration::from_secs(60)], 3);
        assert_eq!((program.rounds, program.ops.len()), (4, 4));
        assert!(matches!(&program.ops[2], Op::Page { level: 2, targets, .. } if targets.len() == 2));
        assert_eq!(program.ops[1].rest(), Duration::from_secs(300));
    }

    #[test]
    fn a_stored_program_reads_back() {
        let program = Program::built_in([Duration::from_secs(1); 2], 0);
        let json = serde_json::to_value(&program).expect("written");
        assert_eq!(serde_json::from_value::<Program>(json).expect("read"), program);
    }
}
