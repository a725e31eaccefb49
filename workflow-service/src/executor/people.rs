use chrono::{DateTime, Utc};
use platform::ctx::Ctx;
use platform::error::Result;
use proto::events::v1::IncidentEvent;
use proto::incident::v1::{EscalateIncidentRequest, EscalationData, IncidentState, IncidentStatus};
use proto::notification::v1::SendRequest;

use super::live::Live;
use super::{Executor, key};
use crate::convert;
use crate::engine::{self, Entry, Outcome, Record};
use crate::program::{OWNER_TEAM, Target};

/// How many names a detail holds before it only counts.
const NAMES: usize = 8;

/// What people are told.
struct Message {
    /// As the decision saw it.
    incident: IncidentEvent,
    /// A standard one when empty.
    text: String,
    decided_at: DateTime<Utc>,
}

impl Executor {
    /// Tells a level of a policy. From the second on the incident is escalated first, which also
    /// says whether anybody still needs to come; without an answer people are told all the same.
    pub(super) async fn page(
        &self,
        cx: &Ctx,
        live: &mut Live,
        level: u32,
        targets: &[Target],
        told: &[String],
    ) -> Outcome {
        if let Some(why) = live.taken() {
            return Outcome::Taken(why);
        }
        let mut decided_at = live.row.decided_at;
        if level > 1 || live.state.round > 1 {
            match self.escalate(cx, live, level, told).await {
                Ok(state) if state.status() != IncidentStatus::Triggered => return taken(&state),
                // Of a repeated call the answer may be the stored one, and as old.
                Ok(_) if live.state.attempt > 1 => {}
                Ok(_) => decided_at = self.source.now(),
                Err(error) => {
                    tracing::warn!(run.id = %live.row.id, error = %error.chain(), "people are told without the incident being escalated yet");
                    self.owe_escalation(live, level);
                }
            }
        }
        let incident = IncidentEvent {
            escalation: Some(escalation(live, (level, live.state.round), told)),
            ..live.incident.clone()
        };
        let message = Message { incident, text: String::new(), decided_at };
        self.send(cx, live, targets, message, &format!("level {level}: ")).await
    }

    /// Ends the wait for an acknowledgement. Before it is said that nobody came, the incident is asked
    /// about once more: somebody's word may be on its way here.
    pub(super) async fn awaited(&self, cx: &Ctx, live: &Live) -> Outcome {
        if let Some(why) = live.taken() {
            return Outcome::Taken(why);
        }
        if live.state.is_last(&live.program) {
            match self.peers.state(cx, live.row.incident_id.to_string()).await {
                Ok(Some(state)) if state.status() != IncidentStatus::Triggered => return taken(&state),
                Ok(_) => {}
                Err(error) => {
                    tracing::info!(run.id = %live.row.id, error = %error.chain(), "the escalation ends by what was heard so far");
                }
            }
        }
        Outcome::Done(String::new())
    }

    /// Tells people from a workflow.
    pub(super) async fn notify(&self, cx: &Ctx, live: &Live, targets: &[Target], message: &str) -> Outcome {
        match self.fill(cx, live, message).await {
            Ok(text) => {
                let incident = live.incident.clone();
                let message = Message { incident, text, decided_at: live.row.decided_at };
                self.send(cx, live, targets, message, "").await
            }
            Err(error) => self.peer_failed(&error),
        }
    }

    async fn send(
        &self,
        cx: &Ctx,
        live: &Live,
        targets: &[Target],
        message: Message,
        prefix: &str,
    ) -> Outcome {
        let request = SendRequest {
            key: key(live.row.id, live.path(), "send"),
            targets: targets.iter().map(Into::into).collect(),
            incident: Some(message.incident),
            message: message.text,
            decided_at: Some(proto::time::to_timestamp(message.decided_at)),
            run_id: live.row.id.to_string(),
            sequence: sequence(live),
            actor: Some(convert::run_actor(&live.row)),
        };
        match self.peers.send(cx, request).await {
            Ok(answer) if answer.nobody_reachable => Outcome::NobodyReachable(format!(
                "{prefix}nobody could be reached; told instead: {}",
                names(&answer.recipients)
            )),
            Ok(answer) => Outcome::Done(format!("{prefix}told {}", names(&answer.recipients))),
            Err(error) => self.peer_failed(&error),
        }
    }

    /// Says that a level is being told: timeline entry and event, once per level and round.
    pub(super) async fn escalate(
        &self,
        cx: &Ctx,
        live: &Live,
        level: u32,
        told: &[String],
    ) -> Result<IncidentState> {
        let path = format!("{}.{level}", live.state.round);
        self.escalate_at(cx, live, &path, (level, live.state.round), told).await
    }

    pub(super) async fn escalate_at(
        &self,
        cx: &Ctx,
        live: &Live,
        path: &str,
        place: (u32, u32),
        told: &[String],
    ) -> Result<IncidentState> {
        let request = EscalateIncidentRequest {
            incident_id: live.row.incident_id.to_string(),
            actor: Some(convert::run_actor(&live.row)),
            escalation: Some(escalation(live, place, told)),
        };
        self.peers.escalate(cx, &key(live.row.id, path, "escalate"), request).await
    }

    fn owe_escalation(&self, live: &mut Live, level: u32) {
        let record = Record {
            path: live.path().to_owned(),
            kind: "escalate",
            result: engine::Result::Succeeded,
            detail: format!("level {level}"),
            attempt: 1,
            level,
            round: live.state.round,
            entry: Some(Entry::Escalated),
        };
        let at = self.source.now();
        live.keep_record(record, at);
    }
}

/// That a level of a round is told.
fn escalation(live: &Live, (level, round): (u32, u32), told: &[String]) -> EscalationData {
    let team = live.incident.team.as_ref().map(|team| format!("team {}", team.name));
    let told = told.iter().map(|name| match &team {
        Some(team) if name == OWNER_TEAM => team.clone(),
        _ => name.clone(),
    });
    EscalationData {
        policy: live.row.name.clone(),
        level: i32::try_from(level).unwrap_or(i32::MAX),
        round: i32::try_from(round).unwrap_or(i32::MAX),
        told: told.collect(),
    }
}

fn taken(state: &IncidentState) -> Outcome {
    let status = convert::incident_status(state.status()).unwrap_or("gone");
    Outcome::Taken(format!("the incident is {status}"))
}

/// Later steps of one incident have higher numbers, those of later events higher ones still.
fn sequence(live: &Live) -> i64 {
    let ops = live.program.ops.len();
    let position = (live.state.round.saturating_sub(1) as usize) * ops + live.state.op;
    live.row.trigger_version.saturating_mul(10_000) + i64::try_from(position).unwrap_or(9_999).min(9_999)
}

fn names(recipients: &[String]) -> String {
    match recipients.split_at_checked(NAMES) {
        None if recipients.is_empty() => "nobody".to_owned(),
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => recipients.join(", "),
    }
}
