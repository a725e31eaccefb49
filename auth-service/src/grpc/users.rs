use platform::rpc::unpack;
use platform::tx;
use proto::auth::v1 as pb;
use proto::auth::v1::user_service_server::UserService;
use tonic::{Request, Response, Status};

use super::Auth;
use crate::words::UserId;
use crate::{convert, users};

#[tonic::async_trait]
impl UserService for Auth {
    async fn create_user(
        &self,
        request: Request<pb::CreateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let (cx, request) = unpack(request)?;
        Ok(self.add_user(&cx, &request).await?)
    }

    async fn get_user(&self, request: Request<pb::GetUserRequest>) -> Result<Response<pb::User>, Status> {
        let (cx, request) = unpack(request)?;
        let id = UserId::parse("id", &request.id)?;
        let user = tx!(self.db, &cx, |conn| users::get(&cx, conn, id).await)?;
        Ok(Response::new(convert::user(&user)))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let (page, next_page_token) = tx!(self.db, &cx, |conn| users::list(&cx, conn, &request).await)?;
        let items = page.iter().map(convert::user).collect();
        Ok(Response::new(pb::ListUsersResponse { items, next_page_token }))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let (cx, request) = unpack(request)?;
        let password = self.changed_password(&request).await?;
        let user = tx!(self.db, &cx, |conn| {
            users::update(&cx, conn, &self.access, &request, password.as_ref()).await
        })?;
        Ok(Response::new(convert::user(&user)))
    }

    async fn delete_user(&self, request: Request<pb::DeleteUserRequest>) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        let id = UserId::parse("id", &request.id)?;
        tx!(self.db, &cx, |conn| users::archive(&cx, conn, &self.access, id).await)?;
        Ok(Response::new(()))
    }
}
