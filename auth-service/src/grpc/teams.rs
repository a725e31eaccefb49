use platform::rpc::unpack;
use platform::{mutation, tx};
use proto::auth::v1 as pb;
use proto::auth::v1::team_service_server::TeamService;
use tonic::{Request, Response, Status};

use super::Auth;
use crate::words::{TeamId, UserId};
use crate::{convert, teams};

#[tonic::async_trait]
impl TeamService for Auth {
    async fn create_team(
        &self,
        request: Request<pb::CreateTeamRequest>,
    ) -> Result<Response<pb::Team>, Status> {
        let (cx, request) = unpack(request)?;
        let new = request.team.clone().unwrap_or_default();
        Ok(mutation!(self.db, &cx, &request, |conn| {
            let team = teams::create(&cx, conn, &new).await?;
            Ok(convert::team(&team))
        })?)
    }

    async fn get_team(&self, request: Request<pb::GetTeamRequest>) -> Result<Response<pb::Team>, Status> {
        let (cx, request) = unpack(request)?;
        let id = TeamId::parse("id", &request.id)?;
        let team = tx!(self.db, &cx, |conn| teams::get(&cx, conn, id).await)?;
        Ok(Response::new(convert::team(&team)))
    }

    async fn list_teams(
        &self,
        request: Request<pb::ListTeamsRequest>,
    ) -> Result<Response<pb::ListTeamsResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let (page, next_page_token) = tx!(self.db, &cx, |conn| teams::list(&cx, conn, &request).await)?;
        let items = page.iter().map(convert::team).collect();
        Ok(Response::new(pb::ListTeamsResponse { items, next_page_token }))
    }

    async fn update_team(
        &self,
        request: Request<pb::UpdateTeamRequest>,
    ) -> Result<Response<pb::Team>, Status> {
        let (cx, request) = unpack(request)?;
        let team = tx!(self.db, &cx, |conn| teams::update(&cx, conn, &request).await)?;
        Ok(Response::new(convert::team(&team)))
    }

    async fn delete_team(&self, request: Request<pb::DeleteTeamRequest>) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        let id = TeamId::parse("id", &request.id)?;
        tx!(self.db, &cx, |conn| teams::archive(&cx, conn, id).await)?;
        Ok(Response::new(()))
    }

    async fn add_team_member(
        &self,
        request: Request<pb::AddTeamMemberRequest>,
    ) -> Result<Response<pb::TeamMember>, Status> {
        let (cx, request) = unpack(request)?;
        Ok(mutation!(self.db, &cx, &request, |conn| {
            let (member, user) = teams::put_member(&cx, conn, &request).await?;
            Ok(convert::team_member(&member, &user))
        })?)
    }

    async fn list_team_members(
        &self,
        request: Request<pb::ListTeamMembersRequest>,
    ) -> Result<Response<pb::ListTeamMembersResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let (page, next_page_token) =
            tx!(self.db, &cx, |conn| teams::list_members(&cx, conn, &request).await)?;
        let items = page.iter().map(|(member, user)| convert::team_member(member, user)).collect();
        Ok(Response::new(pb::ListTeamMembersResponse { items, next_page_token }))
    }

    async fn remove_team_member(
        &self,
        request: Request<pb::RemoveTeamMemberRequest>,
    ) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        let team = TeamId::parse("team_id", &request.team_id)?;
        let user = UserId::parse("user_id", &request.user_id)?;
        tx!(self.db, &cx, |conn| teams::remove_member(&cx, conn, team, user).await)?;
        Ok(Response::new(()))
    }
}
