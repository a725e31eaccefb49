use platform::ctx::{Ctx, parse_ids};
use platform::error::Error;
use platform::rpc::unpack;
use proto::incident::v1 as wire;
use proto::incident::v1::response_service_server::ResponseService;
use tonic::{Request, Response, Status, async_trait};

use super::Doors;
use crate::incidents as core;
use crate::kinds::{IncidentId, Severity};
use crate::lifecycle::Action;
use crate::store::incidents::{self as store, Incident, Named};
use crate::timeline::actor_of;
use crate::{convert, timeline};

fn named(id: &str) -> Result<Named, Error> {
    IncidentId::parse("incident_id", id).map(Named::Id)
}

fn state(incident: &Incident) -> wire::IncidentState {
    convert::state(&incident.into())
}

/// The driver that calls does so again after a crash: without a key it would act twice.
fn demand_key(cx: &Ctx) -> Result<(), Error> {
    let missing = || Error::invalid("idempotency_key_required", "automation sends an Idempotency-Key");
    cx.idempotency_key.as_ref().map(|_| ()).ok_or_else(missing)
}

#[async_trait]
impl ResponseService for Doors {
    async fn record_step(&self, request: Request<wire::RecordStepRequest>) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        demand_key(&cx)?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            timeline::record_step(&cx, conn, request.clone()).await
        })?;
        Ok(answer)
    }

    async fn escalate_incident(
        &self,
        request: Request<wire::EscalateIncidentRequest>,
    ) -> Result<Response<wire::IncidentState>, Status> {
        let (cx, request) = unpack(request)?;
        demand_key(&cx)?;
        let (named, actor) = (named(&request.incident_id)?, actor_of(&cx, request.actor.clone()));
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            let escalation = request.escalation.clone().unwrap_or_default();
            Ok(state(&core::escalate(&cx, conn, named, escalation, &actor).await?))
        })?;
        Ok(answer)
    }

    async fn set_severity(
        &self,
        request: Request<wire::SetSeverityRequest>,
    ) -> Result<Response<wire::IncidentState>, Status> {
        let (cx, request) = unpack(request)?;
        demand_key(&cx)?;
        let (named, actor) = (named(&request.incident_id)?, actor_of(&cx, request.actor.clone()));
        let severity = Severity::from_wire(request.severity)
            .ok_or_else(|| Error::field("severity", "required", "must be set"))?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(state(&core::set_severity(&cx, conn, named, severity, &actor).await?))
        })?;
        Ok(answer)
    }

    async fn resolve_by_automation(
        &self,
        request: Request<wire::ResolveByAutomationRequest>,
    ) -> Result<Response<wire::IncidentState>, Status> {
        let (cx, request) = unpack(request)?;
        demand_key(&cx)?;
        let (named, actor) = (named(&request.incident_id)?, actor_of(&cx, request.actor.clone()));
        let action = Action::Resolve { note: request.note.clone() };
        let response = core::Response { action, actor, note: request.note.clone() };
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(state(&core::act(&cx, conn, named, &response).await?))
        })?;
        Ok(answer)
    }

    async fn get_states(
        &self,
        request: Request<wire::GetStatesRequest>,
    ) -> Result<Response<wire::GetStatesResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let ids = parse_ids("incident_ids", &request.incident_ids)?;
        let ids: Vec<IncidentId> = ids.into_iter().map(IncidentId).collect();
        let rows = platform::tx!(self.db, &cx, |conn| store::states(conn, cx.org, &ids).await)?;
        let states = rows.iter().map(convert::state).collect();
        Ok(Response::new(wire::GetStatesResponse { states }))
    }
}
