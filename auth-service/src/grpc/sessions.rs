use platform::rpc::unpack;
use platform::tx;
use proto::auth::v1 as pb;
use proto::auth::v1::me_service_server::MeService;
use proto::auth::v1::session_service_server::SessionService;
use tonic::{Request, Response, Status};

use super::Auth;
use crate::{convert, sessions, signing, users};

#[tonic::async_trait]
impl SessionService for Auth {
    async fn register(&self, request: Request<pb::RegisterRequest>) -> Result<Response<pb::Session>, Status> {
        let (cx, request) = unpack(request)?;
        let signed = self.sign_up(&cx, request).await?;
        Ok(Response::new(convert::session(signed)))
    }

    async fn login(&self, request: Request<pb::LoginRequest>) -> Result<Response<pb::Session>, Status> {
        let (cx, request) = unpack(request)?;
        let signed = self.sign_in(&cx, request).await?;
        Ok(Response::new(convert::session(signed)))
    }

    async fn refresh(&self, request: Request<pb::RefreshRequest>) -> Result<Response<pb::Session>, Status> {
        let (cx, request) = unpack(request)?;
        let signed = self.renew(&cx, request).await?;
        Ok(Response::new(convert::session(signed)))
    }

    async fn logout(&self, request: Request<pb::LogoutRequest>) -> Result<Response<()>, Status> {
        let (cx, _) = unpack(request)?;
        tx!(self.db, &cx, |conn| sessions::logout(&cx, conn).await)?;
        Ok(Response::new(()))
    }

    async fn get_jwks(&self, request: Request<pb::GetJwksRequest>) -> Result<Response<pb::Jwks>, Status> {
        let (cx, _) = unpack(request)?;
        let keys = tx!(self.db, &cx, |conn| signing::public_keys(conn, cx.now).await)?;
        Ok(Response::new(pb::Jwks { keys: keys.iter().map(convert::jwk).collect() }))
    }
}

#[tonic::async_trait]
impl MeService for Auth {
    async fn get_me(&self, request: Request<pb::GetMeRequest>) -> Result<Response<pb::Me>, Status> {
        let (cx, _) = unpack(request)?;
        let (organization, user) = tx!(self.db, &cx, |conn| users::me(&cx, conn).await)?;
        Ok(Response::new(convert::me(&cx.principal, &organization, user.as_ref())))
    }
}
