use platform::ctx::parse_id;
use platform::rpc::unpack;
use platform::tx;
use proto::auth::v1 as pb;
use proto::auth::v1::api_key_service_server::ApiKeyService;
use tonic::{Request, Response, Status};

use super::Auth;
use crate::api_keys::{self, Made};
use crate::convert;
use crate::store::api_keys::{ApiKey, Which};
use crate::words::KeyId;

#[tonic::async_trait]
impl ApiKeyService for Auth {
    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let new = request.api_key.unwrap_or_default();
        let made = tx!(self.db, &cx, |conn| api_keys::create(&cx, conn, &self.access, &new).await)?;
        Ok(shown_once(&made))
    }

    async fn get_api_key(
        &self,
        request: Request<pb::GetApiKeyRequest>,
    ) -> Result<Response<pb::ApiKey>, Status> {
        let (cx, request) = unpack(request)?;
        let id = KeyId::parse("id", &request.id)?;
        let key = tx!(self.db, &cx, |conn| api_keys::get(&cx, conn, id).await)?;
        Ok(Response::new(convert::api_key(&key)))
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let which = Which::Api { revoked: request.revoked };
        let page = platform::page!(&request, "created_at")?;
        let keys = tx!(self.db, &cx, |conn| api_keys::list(&cx, conn, which, &page).await)?;
        Ok(listed(keys))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        let id = KeyId::parse("id", &request.id)?;
        tx!(self.db, &cx, |conn| api_keys::revoke(&cx, conn, id, None).await)?;
        Ok(Response::new(()))
    }

    async fn create_integration_key(
        &self,
        request: Request<pb::CreateIntegrationKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let made = self.make_integration_key(&cx, &request).await?;
        Ok(shown_once(&made))
    }

    async fn list_integration_keys(
        &self,
        request: Request<pb::ListIntegrationKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page = self.integration_keys(&cx, &request).await?;
        Ok(listed(page))
    }

    async fn revoke_integration_key(
        &self,
        request: Request<pb::RevokeIntegrationKeyRequest>,
    ) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        let id = KeyId::parse("id", &request.id)?;
        let service = Some(parse_id("service_id", &request.service_id)?);
        tx!(self.db, &cx, |conn| api_keys::revoke(&cx, conn, id, service).await)?;
        Ok(Response::new(()))
    }
}

fn shown_once(made: &Made) -> Response<pb::CreateApiKeyResponse> {
    Response::new(pb::CreateApiKeyResponse {
        key: made.key.expose().clone(),
        api_key: Some(convert::api_key(&made.row)),
    })
}

fn listed((page, next_page_token): (Vec<ApiKey>, String)) -> Response<pb::ListApiKeysResponse> {
    let items = page.iter().map(convert::api_key).collect();
    Response::new(pb::ListApiKeysResponse { items, next_page_token })
}
