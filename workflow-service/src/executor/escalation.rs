//! What a workflow's step does to the incident's escalation.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::leased;
use uuid::Uuid;

use super::Executor;
use super::live::Live;
use crate::engine::State;
use crate::policies::{self, BUILT_IN};
use crate::program::{Kind, Program};
use crate::response;
use crate::store::policies as policy_rows;
use crate::store::runs::{self, Run, TABLE};
use crate::store::states;
use crate::store::steps::RunStep;

impl Executor {
    /// Starts the escalation now, or asks it for its next level if it has been waiting since before the
    /// step `began`; answers which, for people.
    pub(super) async fn start_escalation(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        own: &Run,
        live: &Live,
        policy: Option<Uuid>,
        step: &RunStep,
    ) -> Result<&'static str> {
        let now = self.source.now();
        let of_service = live.incident.policy.as_ref().and_then(|it| it.id.parse().ok());
        let program_id = policy.or(of_service).unwrap_or(Uuid::nil());
        let others = runs::lock_incident(conn, own.org_id, own.incident_id).await?;
        match others.iter().find(|it| is_escalation_of(it, program_id)) {
            Some(run) if run.status == "held" => {
                runs::make_due(conn, run.org_id, run.id, now).await?;
                return Ok("escalation starts now");
            }
            Some(run) if can_be_nudged(run, step.started_at) => {
                runs::nudge(conn, run.org_id, run.id, now).await?;
                return Ok("the next level is told now");
            }
            Some(_) => return Ok("people are being told already"),
            None => {}
        }
        let heard = states::find(conn, own.org_id, own.incident_id).await?;
        if heard.is_some_and(|heard| heard.status != "triggered") {
            return Ok("nothing to escalate: somebody has taken the incident");
        }
        let (name, program) = self.policy_program(conn, own.org_id, program_id).await?;
        let id = cx.id();
        let run = response::escalation_run(own, &step.path, program_id, &name, &program, id, now)?;
        runs::insert(conn, &[run]).await?;
        leased::wake_on_commit(conn, TABLE);
        Ok("escalation starts now")
    }

    async fn policy_program(
        &self,
        conn: &mut AsyncPgConnection,
        org: Uuid,
        id: Uuid,
    ) -> Result<(String, Program)> {
        match policy_rows::find(conn, org, id).await? {
            Some(row) => Ok((row.name.clone(), policies::program(&row)?)),
            None => Ok((BUILT_IN.to_owned(), self.config.builtin_policy.program())),
        }
    }
}

/// Whether a run that has not ended is that of this policy. One that has told its last level, and
/// only owes timeline entries, escalates nothing any more.
fn is_escalation_of(run: &Run, program_id: Uuid) -> bool {
    run.kind == Kind::Policy.as_str() && run.program_id == program_id && run.state["end"].is_null()
}

/// Whether an escalation waits for an acknowledgement since before `at`. When it cannot be read, the
/// request waits for whoever can.
fn can_be_nudged(run: &Run, at: DateTime<Utc>) -> bool {
    let state = serde_json::from_value::<State>(run.state.clone());
    let program = serde_json::from_value::<Program>(run.program.clone());
    match (state, program) {
        (Ok(state), Ok(program)) => state.has_awaited_since(&program, at),
        _ => true,
    }
}

/// Ends the run's hold on paging. The escalation that it held starts now, unless another workflow
/// holds it longer.
pub(super) async fn release(conn: &mut AsyncPgConnection, own: &Run, now: DateTime<Utc>) -> Result<()> {
    if own.hold_until.is_none() {
        return Ok(());
    }
    runs::end_hold(conn, own.org_id, own.id).await?;
    let others = runs::lock_incident(conn, own.org_id, own.incident_id).await?;
    let siblings = || others.iter().filter(|it| it.origin == own.origin && it.id != own.id);
    let holds = siblings().filter_map(|it| it.hold_until).filter(|until| *until > now);
    let due = holds.max().unwrap_or(now);
    for held in siblings().filter(|it| it.status == "held" && it.due_at.is_none_or(|at| at > due)) {
        runs::make_due(conn, held.org_id, held.id, due).await?;
    }
    Ok(())
}
