use platform::ctx::Ctx;
use platform::error::Result;
use platform::idempotency;
use platform::rpc::unpack;
use proto::incident::v1 as wire;
use proto::incident::v1::alert_service_server::AlertService;
use proto::incident::v1::incident_service_server::IncidentService;
use tonic::{Request, Response, Status, async_trait};

use super::Doors;
use crate::incidents as core;
use crate::json::Actor;
use crate::lifecycle::Action;
use crate::store::incidents::Named;
use crate::{alerts, convert, timeline};

impl Doors {
    async fn respond<M: prost::Message>(
        &self,
        cx: &Ctx,
        request: &M,
        (id, action, note): (&str, Action, &str),
    ) -> Result<Response<wire::Incident>, Status> {
        let named = Named::parse(id)?;
        let response = core::Response { action, actor: Actor::of(cx), note: note.to_owned() };
        let answer = platform::mutation!(self.db, cx, request, |conn| {
            Ok(convert::incident(&core::act(cx, conn, named, &response).await?))
        })?;
        Ok(answer)
    }
}

#[async_trait]
impl IncidentService for Doors {
    async fn create_incident(
        &self,
        request: Request<wire::CreateIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        let draft = request.incident.clone().unwrap_or_default();
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(convert::incident(&core::create(&cx, conn, draft.clone()).await?))
        })?;
        Ok(answer)
    }

    async fn get_incident(
        &self,
        request: Request<wire::GetIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        let row = platform::tx!(self.db, &cx, |conn| core::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(convert::incident(&row)))
    }

    async fn list_incidents(
        &self,
        request: Request<wire::ListIncidentsRequest>,
    ) -> Result<Response<wire::ListIncidentsResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.db, &cx, |conn| core::list(&cx, conn, &request).await)?;
        Ok(Response::new(page))
    }

    async fn update_incident(
        &self,
        request: Request<wire::UpdateIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(convert::incident(&core::update(&cx, conn, &request).await?))
        })?;
        Ok(answer)
    }

    async fn acknowledge_incident(
        &self,
        request: Request<wire::AcknowledgeIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        self.respond(&cx, &request, (&request.id, Action::Acknowledge, &request.note)).await
    }

    async fn resolve_incident(
        &self,
        request: Request<wire::ResolveIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        let action = Action::Resolve { note: request.note.clone() };
        self.respond(&cx, &request, (&request.id, action, &request.note)).await
    }

    async fn reopen_incident(
        &self,
        request: Request<wire::ReopenIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        self.respond(&cx, &request, (&request.id, Action::Reopen, &request.note)).await
    }

    async fn assign_incident(
        &self,
        request: Request<wire::AssignIncidentRequest>,
    ) -> Result<Response<wire::Incident>, Status> {
        let (cx, request) = unpack(request)?;
        if let Some(answer) = idempotency::replayed(&self.db, &cx, &request).await? {
            return Ok(answer);
        }
        core::check_assignees(&self.peers.responders(&cx, request.assignee_ids.clone()).await?)?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(convert::incident(&core::assign(&cx, conn, &request).await?))
        })?;
        Ok(answer)
    }

    async fn create_note(
        &self,
        request: Request<wire::CreateNoteRequest>,
    ) -> Result<Response<wire::TimelineEntry>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            timeline::create_note(&cx, conn, &request).await
        })?;
        Ok(answer)
    }

    async fn list_timeline(
        &self,
        request: Request<wire::ListTimelineRequest>,
    ) -> Result<Response<wire::ListTimelineResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.db, &cx, |conn| timeline::list(&cx, conn, &request).await)?;
        Ok(Response::new(page))
    }

    async fn list_incident_alerts(
        &self,
        request: Request<wire::ListIncidentAlertsRequest>,
    ) -> Result<Response<wire::ListAlertsResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page =
            platform::tx!(self.db, &cx, |conn| { alerts::list_of_incident(&cx, conn, &request).await })?;
        Ok(Response::new(page))
    }
}

#[async_trait]
impl AlertService for Doors {
    async fn get_alert(
        &self,
        request: Request<wire::GetAlertRequest>,
    ) -> Result<Response<wire::Alert>, Status> {
        let (cx, request) = unpack(request)?;
        let row = platform::tx!(self.db, &cx, |conn| alerts::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(convert::alert(&row)))
    }

    async fn list_alerts(
        &self,
        request: Request<wire::ListAlertsRequest>,
    ) -> Result<Response<wire::ListAlertsResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.db, &cx, |conn| alerts::list(&cx, conn, &request).await)?;
        Ok(Response::new(page))
    }
}
