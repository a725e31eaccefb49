//! What comes of operations and of runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// With which status.
    pub status: EndStatus,
    /// Why, for people.
    pub detail: String,
}

/// Status of a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndStatus {
    /// It came to its end.
    Succeeded,
    /// A step said that the run fails.
    Failed,
    /// Somebody took the incident.
    Cancelled,
}

impl EndStatus {
    /// The name in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What came of performing an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done(String),
    /// It is done, but none of those who were meant could be told.
    NobodyReachable(String),
    /// It did not work; another try may.
    Failed {
        /// For people.
        detail: String,
        /// The least wait that the other side asks for before it.
        after: Option<Duration>,
    },
    /// It did not work and never will.
    Refused(String),
    /// Somebody has taken the incident: nothing is to be done any more.
    Taken(String),
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// It worked.
    Succeeded,
    /// It did not, for good.
    Failed,
    /// It did not, and is tried again.
    Retrying,
    /// It is not wanted any more.
    Cancelled,
}

impl Result {
    /// The name in rows and on timelines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The timeline entry that is owed for a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The step and its outcome.
    Step,
    /// A note with the detail as its text.
    Note,
    /// Nobody could be told.
    NobodyReachable,
    /// The event `escalated`, which could not be said before people were told.
    Escalated,
}

impl Entry {
    const ALL: [Self; 4] = [Self::Step, Self::Note, Self::NobodyReachable, Self::Escalated];

    /// The name in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Note => "note",
            Self::NobodyReachable => "nobody_reachable",
            Self::Escalated => "escalated",
        }
    }

    /// The entry of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.as_str() == name)
    }
}

/// What is written down of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the program: `2`, or `round.level` of a policy.
    pub path: String,
    /// Kind of the operation.
    pub kind: &'static str,
    /// What it came to.
    pub result: Result,
    /// For people.
    pub detail: String,
    /// Number of the try, from 1.
    pub attempt: u32,
    /// Level of a policy, else 0.
    pub level: u32,
    /// Round of a policy, else 0.
    pub round: u32,
    /// Its timeline entry.
    pub entry: Option<Entry>,
}

/// What settling an outcome brings beside the new state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To be written down.
    pub record: Option<Record>,
    /// The run's hold on paging ends.
    pub releases: bool,
    /// The escalation starts now or tells its next level: the service's, or this policy's.
    pub escalates: Option<Option<Uuid>>,
}
