use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::{Error, Result};

use super::{Told, record};
use crate::announce::{self, Step};
use crate::json::Actor;
use crate::lifecycle::{Action, Refused};
use crate::store::alerts;
use crate::store::incidents::{self as store, Incident, Named};

/// What somebody does about an incident.
#[derive(Clone, Debug)]
pub struct Response {
    pub action: Action,
    pub actor: Actor,
    /// Stands in the timeline entry.
    pub note: String,
}

impl Response {
    fn step(&self) -> Step {
        match self.action {
            Action::Acknowledge => Step::Acknowledged,
            Action::Resolve { .. } => Step::Resolved,
            Action::Reopen => Step::Reopened,
        }
    }
}

/// Acknowledges, resolves (with its alerts) or reopens. What changes nothing writes nothing.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Conflict `invalid_transition`; Forbidden
/// `not_a_person`.
pub async fn act(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    named: Named,
    response: &Response,
) -> Result<Incident> {
    let mut incident = store::lock(conn, cx.org, named).await?;
    cx.expect_version(incident.version)?;
    apply(cx, conn, &mut incident, response).await?;
    Ok(incident)
}

async fn apply(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    incident: &mut Incident,
    response: &Response,
) -> Result<()> {
    let after = incident.life.after(&response.action, &response.actor, cx.now).map_err(refused)?;
    let Some(life) = after else { return Ok(()) };
    incident.life = life;
    if matches!(response.action, Action::Resolve { .. }) {
        alerts::resolve_of(conn, incident.org_id, incident.id, cx.now).await?;
    }
    let step = response.step();
    record(cx, conn, incident, Told::new(step, &response.actor, announce::note(&response.note))).await?;
    metrics::counter!("pulseops_incident_steps_total", "step" => step.entry().as_str()).increment(1);
    Ok(())
}

pub(super) fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Transition { from } => Error::conflict(
            "invalid_transition",
            format!("this cannot be done with an incident that is {from}"),
        ),
        Refused::NotAPerson => Error::forbidden("not_a_person", "only people reopen incidents"),
    }
}
