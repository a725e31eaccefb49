//! How a run goes on: pure. A program and a state say what to do now; what came of it makes the
//! next state. Between two calls a run is always due at a time, or it has ended.

mod outcome;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use outcome::{Effects, End, EndStatus, Entry, Outcome, Record, Result};

use crate::backoff::Backoff;
use crate::program::{Http, Kind, Op, Program, Then};

/// Tries of one http step whose outcome nobody knows (the process was killed meanwhile) before it
/// counts as failed: an endpoint that takes us down with it must not do so for ever.
const MAX_LOST: u32 = 5;
/// An endpoint may ask for patience, but not for more than this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Index of the operation.
    pub op: usize,
    /// Its position as people read it: `2`, or `round.level` of a policy; empty behind the last.
    pub path: String,
    /// From 1.
    pub round: u32,
    /// Tries of the operation that have begun.
    pub attempt: u32,
    /// Those of them whose outcome nobody knows.
    pub lost: u32,
    /// The lease under which a try has begun that has no outcome yet.
    pub begun: Option<i64>,
    /// Times in a row that it was put off because another service, whose answer it needs before a try,
    /// was away.
    pub put_off: u32,
    /// Requests for the next level that have been heeded: one brings one level.
    pub nudges: i32,
    /// The run has resolved the incident: there is nobody left to page, so a hold does not end by it.
    /// What is held ends with the event `resolved`.
    pub resolved: bool,
    /// When the operation is performed; `None` once the run has ended.
    pub due: Option<DateTime<Utc>>,
    /// How it ended.
    pub end: Option<End>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next<'p> {
    /// Perform this operation.
    Perform(&'p Op),
    /// Come back then.
    Rest(DateTime<Utc>),
    /// Nothing any more.
    Ended,
}

impl State {
    /// At the beginning of `program`.
    pub fn start(program: &Program, now: DateTime<Utc>) -> Self {
        let mut state = Self {
            op: 0,
            path: String::new(),
            round: 1,
            attempt: 0,
            lost: 0,
            begun: None,
            put_off: 0,
            nudges: 0,
            resolved: false,
            due: None,
            end: None,
        };
        state.enter(program, now);
        state
    }

    /// What to do at `now`; `nudges` is how often the next level has been asked for so far.
    pub fn next<'p>(&self, program: &'p Program, nudges: i32, now: DateTime<Utc>) -> Next<'p> {
        match (self.due, program.ops.get(self.op)) {
            (Some(due), Some(op)) if due <= now || self.is_nudged(op, nudges) => Next::Perform(op),
            (Some(due), Some(_)) => Next::Rest(due),
            _ => Next::Ended,
        }
    }

    /// Counts a try under the lease `epoch`. A try that had begun under an earlier one is lost.
    /// Returns false when too many were lost to dare another.
    pub fn begin(&mut self, epoch: i64) -> bool {
        match self.begun {
            Some(begun) if begun == epoch => return true,
            Some(_) => self.lost += 1,
            None => {}
        }
        self.attempt += 1;
        self.put_off = 0;
        self.begun = Some(epoch);
        self.lost < MAX_LOST
    }

    /// Comes back later without a try: what it needs first is away. A try counted under `epoch` has not
    /// been made. `random` is in `[0, 1)`.
    pub fn put_off(&mut self, epoch: i64, now: DateTime<Utc>, random: f64) {
        if self.has_begun(epoch) {
            self.begun = None;
            self.attempt = self.attempt.saturating_sub(1);
        }
        self.put_off += 1;
        self.due = Some(now + delta(Backoff::PEER.delay(self.put_off, random)));
    }

    /// Whether the run was waiting for an acknowledgement at `at` and still does, by the same wait: who
    /// asks for the next level then gets one. Any other run is about to tell a level anyway.
    pub fn has_awaited_since(&self, program: &Program, at: DateTime<Utc>) -> bool {
        match (program.ops.get(self.op), self.due) {
            (Some(op @ Op::Await { .. }), Some(due)) => due - delta(op.rest()) < at,
            _ => false,
        }
    }

    /// Whether nothing comes behind the operation.
    pub fn is_last(&self, program: &Program) -> bool {
        self.op + 1 >= program.ops.len() && self.round >= program.rounds
    }

    /// Whether the try that is to be made has already been counted under `epoch`.
    pub fn has_begun(&self, epoch: i64) -> bool {
        self.begun == Some(epoch)
    }

    /// Goes on after the current operation came to `outcome`. `random` is in `[0, 1)`.
    pub fn settle(
        &mut self,
        program: &Program,
        outcome: Outcome,
        nudges: i32,
        now: DateTime<Utc>,
        random: f64,
    ) -> Effects {
        let Some(op) = program.ops.get(self.op).filter(|_| self.end.is_none()) else {
            return Effects::default();
        };
        let mut effects =
            Effects { releases: matches!(op, Op::Notify { .. } | Op::Escalate { .. }), ..Effects::default() };
        if let Op::Escalate { policy_id } = op
            && matches!(outcome, Outcome::Done(_))
        {
            effects.escalates = Some(*policy_id);
        }
        if self.is_nudged(op, nudges) {
            self.nudges += 1;
        }
        self.resolved |= matches!((op, &outcome), (Op::Resolve { .. }, Outcome::Done(_)));
        effects.record = self.apply(program, op, outcome, now, random);
        effects.releases = !self.resolved && (effects.releases || self.end.is_some());
        effects
    }

    /// Ends the run because somebody took the incident. `None` when it had ended before.
    pub fn cancel(&mut self, program: &Program, why: &str) -> Option<Record> {
        let op = program.ops.get(self.op).filter(|_| self.end.is_none())?;
        let record = self.record(op, Result::Cancelled, why.to_owned());
        self.finish(EndStatus::Cancelled, why.to_owned());
        Some(record)
    }

    fn apply(
        &mut self,
        program: &Program,
        op: &Op,
        outcome: Outcome,
        now: DateTime<Utc>,
        random: f64,
    ) -> Option<Record> {
        match outcome {
            Outcome::Done(detail) => self.done(program, op, detail, Some(Entry::Step), now),
            Outcome::NobodyReachable(detail) => {
                self.done(program, op, detail, Some(Entry::NobodyReachable), now)
            }
            Outcome::Failed { detail, after } => match self.retry(op, after, random) {
                Some(wait) => self.try_again(op, detail, now + wait),
                None => Some(self.failed(program, op, detail, now)),
            },
            Outcome::Refused(detail) => Some(self.failed(program, op, detail, now)),
            Outcome::Taken(why) => self.cancel(program, &why),
        }
    }

    fn done(
        &mut self,
        program: &Program,
        op: &Op,
        detail: String,
        entry: Option<Entry>,
        now: DateTime<Utc>,
    ) -> Option<Record> {
        let entry = if matches!(op, Op::AddNote { .. }) { Some(Entry::Note) } else { entry };
        let record = self.record(op, Result::Succeeded, detail);
        let last_wait = matches!(op, Op::Await { .. }) && self.is_last(program);
        match op {
            Op::Http(Http { on_success, .. }) => self.then(*on_success, program, &record.detail, now),
            _ => self.advance(program, now),
        }
        match op {
            Op::Await { .. } if last_wait => {
                let detail = self.end.as_ref().map(|end| end.detail.clone()).unwrap_or_default();
                Some(Record { result: Result::Failed, detail, entry: Some(Entry::Note), ..record })
            }
            Op::Await { .. } => None,
            _ => Some(Record { entry, ..record }),
        }
    }

    fn failed(&mut self, program: &Program, op: &Op, detail: String, now: DateTime<Utc>) -> Record {
        let record = self.record(op, Result::Failed, detail);
        match op {
            Op::Http(Http { on_failure, .. }) => self.then(*on_failure, program, &record.detail, now),
            // Whoever comes next is told all the more.
            _ => self.advance(program, now),
        }
        record
    }

    /// The wait before another try; `None` when there is none. A try whose outcome nobody knows may
    /// have been made and counts; only in place of a lost last one there is one more.
    fn retry(&self, op: &Op, after: Option<Duration>, random: f64) -> Option<TimeDelta> {
        let backoff = match op {
            Op::Http(http) if self.attempt >= http.max_attempts => return None,
            Op::Http(http) => http.backoff(),
            _ => Backoff::PEER,
        };
        let asked = after.unwrap_or_default().min(MAX_RETRY_AFTER);
        Some(delta(backoff.delay(self.attempt.max(1), random).max(asked)))
    }

    /// Every failed try of an endpoint is written down; of our own services' absence the first is
    /// enough.
    fn try_again(&mut self, op: &Op, detail: String, at: DateTime<Utc>) -> Option<Record> {
        let record = self.record(op, Result::Retrying, detail);
        self.due = Some(at);
        self.begun = None;
        (matches!(op, Op::Http(_)) || record.attempt == 1).then_some(record)
    }

    fn then(&mut self, then: Then, program: &Program, detail: &str, now: DateTime<Utc>) {
        match then {
            Then::Continue => self.advance(program, now),
            Then::Stop => self.finish(EndStatus::Succeeded, detail.to_owned()),
            Then::Fail => self.finish(EndStatus::Failed, detail.to_owned()),
        }
    }

    fn advance(&mut self, program: &Program, now: DateTime<Utc>) {
        self.op += 1;
        if self.op >= program.ops.len() && self.round < program.rounds {
            self.round += 1;
            self.op = 0;
        }
        self.enter(program, now);
    }

    fn enter(&mut self, program: &Program, now: DateTime<Utc>) {
        (self.attempt, self.lost, self.begun, self.put_off) = (0, 0, None, 0);
        self.path = match (program.kind, program.ops.get(self.op)) {
            (_, None) => String::new(),
            (Kind::Workflow, _) => (self.op + 1).to_string(),
            (Kind::Policy, Some(Op::Page { level, .. } | Op::Await { level, .. })) => {
                format!("{}.{level}", self.round)
            }
            (Kind::Policy, _) => self.round.to_string(),
        };
        match program.ops.get(self.op) {
            Some(op) => self.due = Some(now + delta(op.rest())),
            None => {
                let detail = match (program.kind, program.rounds) {
                    (Kind::Workflow, _) => String::new(),
                    (Kind::Policy, 1) => "nobody acknowledged after 1 round".to_owned(),
                    (Kind::Policy, n) => format!("nobody acknowledged after {n} rounds"),
                };
                self.finish(EndStatus::Succeeded, detail);
            }
        }
    }

    fn finish(&mut self, status: EndStatus, detail: String) {
        (self.due, self.begun) = (None, None);
        self.end = Some(End { status, detail });
    }

    fn is_nudged(&self, op: &Op, nudges: i32) -> bool {
        matches!(op, Op::Await { .. }) && nudges > self.nudges
    }

    fn record(&self, op: &Op, result: Result, detail: String) -> Record {
        let (level, round) = match op {
            Op::Page { level, .. } | Op::Await { level, .. } => (*level, self.round),
            _ => (0, 0),
        };
        Record {
            path: self.path.clone(),
            kind: op.kind(),
            result,
            detail,
            attempt: self.attempt.max(1),
            level,
            round,
            entry: Some(Entry::Step),
        }
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(3650))
}

#[cfg(test)]
mod tests;
