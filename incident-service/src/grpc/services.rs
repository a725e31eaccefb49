use platform::ctx::Ctx;
use platform::error::Result;
use platform::idempotency;
use platform::rpc::unpack;
use proto::incident::v1 as wire;
use proto::incident::v1::service_service_server::ServiceService;
use tonic::{Request, Response, Status, async_trait};

use super::Doors;
use crate::convert;
use crate::services::{self, References};

impl Doors {
    /// Only references that change are looked up: what they refer to may be archived by now.
    async fn changed_references(&self, cx: &Ctx, request: &wire::UpdateServiceRequest) -> Result<References> {
        let (Some(patch), Some(mask)) = (&request.service, &request.update_mask) else {
            return Ok(References::default());
        };
        let masked = |field: &str| mask.paths.iter().any(|path| path == field);
        if !masked("team_id") && !masked("escalation_policy_id") {
            return Ok(References::default());
        }
        let row = platform::tx!(self.db, cx, |conn| services::get(cx, conn, &request.id).await)?;
        let current = convert::service(&row);
        let changed = |field: &str| match field {
            "team_id" => masked(field) && patch.team_id != current.team_id,
            _ => masked(field) && patch.escalation_policy_id != current.escalation_policy_id,
        };
        self.peers.references(cx, patch, changed).await
    }
}

#[async_trait]
impl ServiceService for Doors {
    async fn create_service(
        &self,
        request: Request<wire::CreateServiceRequest>,
    ) -> Result<Response<wire::Service>, Status> {
        let (cx, request) = unpack(request)?;
        if let Some(answer) = idempotency::replayed(&self.db, &cx, &request).await? {
            return Ok(answer);
        }
        let draft = request.service.clone().unwrap_or_default();
        let references = self.peers.references(&cx, &draft, |_| true).await?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            let row = services::create(&cx, conn, draft.clone(), references.clone()).await?;
            Ok(convert::service(&row))
        })?;
        Ok(answer)
    }

    async fn get_service(
        &self,
        request: Request<wire::GetServiceRequest>,
    ) -> Result<Response<wire::Service>, Status> {
        let (cx, request) = unpack(request)?;
        let row = platform::tx!(self.db, &cx, |conn| services::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(convert::service(&row)))
    }

    async fn list_services(
        &self,
        request: Request<wire::ListServicesRequest>,
    ) -> Result<Response<wire::ListServicesResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.db, &cx, |conn| services::list(&cx, conn, &request).await)?;
        Ok(Response::new(page))
    }

    async fn update_service(
        &self,
        request: Request<wire::UpdateServiceRequest>,
    ) -> Result<Response<wire::Service>, Status> {
        let (cx, request) = unpack(request)?;
        let references = self.changed_references(&cx, &request).await?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            let row = services::update(&cx, conn, &request, references.clone()).await?;
            Ok(convert::service(&row))
        })?;
        Ok(answer)
    }

    async fn delete_service(
        &self,
        request: Request<wire::DeleteServiceRequest>,
    ) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        platform::tx!(self.db, &cx, |conn| services::archive(&cx, conn, &request.id).await)?;
        Ok(Response::new(()))
    }

    async fn resolve_services(
        &self,
        request: Request<wire::ResolveServicesRequest>,
    ) -> Result<Response<wire::ResolveServicesResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let found =
            platform::tx!(self.db, &cx, |conn| { services::resolve(&cx, conn, &request.names).await })?;
        Ok(Response::new(found))
    }
}
