use platform::rpc::unpack;
use platform::{system_tx, tx};
use proto::auth::v1 as pb;
use proto::auth::v1::access_service_server::AccessService;
use proto::time::to_timestamp;
use tonic::{Request, Response, Status};

use super::Auth;
use crate::{access, api_keys, users};

#[tonic::async_trait]
impl AccessService for Auth {
    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let exchanged = system_tx!(self.db, "key exchange", |conn| {
            api_keys::exchange(&cx, conn, &self.access, &self.signer, &request.key).await
        });
        let outcome = if exchanged.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("pulseops_auth_key_exchanges_total", "outcome" => outcome).increment(1);
        let exchanged = exchanged?;
        Ok(Response::new(pb::AuthenticateResponse {
            token: exchanged.token.expose().clone(),
            expires_at: Some(to_timestamp(exchanged.expires_at)),
        }))
    }

    async fn check_permission(
        &self,
        request: Request<pb::CheckPermissionRequest>,
    ) -> Result<Response<pb::CheckPermissionResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let checks =
            tx!(self.db, &cx, |conn| { access::check_permission(&cx, conn, &self.access, &request).await })?;
        Ok(Response::new(pb::CheckPermissionResponse { checks }))
    }

    async fn confirm_token(
        &self,
        request: Request<pb::ConfirmTokenRequest>,
    ) -> Result<Response<pb::ConfirmTokenResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let valid = tx!(self.db, &cx, |conn| access::confirm(&cx, conn, &request).await)?;
        Ok(Response::new(pb::ConfirmTokenResponse { valid }))
    }

    async fn list_owners(
        &self,
        request: Request<pb::ListOwnersRequest>,
    ) -> Result<Response<pb::ListOwnersResponse>, Status> {
        let (cx, _) = unpack(request)?;
        let owners = tx!(self.db, &cx, |conn| users::owners(&cx, conn).await)?;
        let user_ids = owners.iter().map(ToString::to_string).collect();
        Ok(Response::new(pb::ListOwnersResponse { user_ids }))
    }
}
