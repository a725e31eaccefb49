use platform::rpc::unpack;
use proto::incident::v1 as wire;
use proto::incident::v1::rule_service_server::RuleService;
use tonic::{Request, Response, Status, async_trait};

use super::Doors;
use crate::{convert, rules};

#[async_trait]
impl RuleService for Doors {
    async fn create_rule(
        &self,
        request: Request<wire::CreateRuleRequest>,
    ) -> Result<Response<wire::Rule>, Status> {
        let (cx, request) = unpack(request)?;
        let draft = request.rule.clone().unwrap_or_default();
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(convert::rule(&rules::create(&cx, conn, draft.clone()).await?))
        })?;
        Ok(answer)
    }

    async fn get_rule(&self, request: Request<wire::GetRuleRequest>) -> Result<Response<wire::Rule>, Status> {
        let (cx, request) = unpack(request)?;
        let row = platform::tx!(self.db, &cx, |conn| rules::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(convert::rule(&row)))
    }

    async fn list_rules(
        &self,
        request: Request<wire::ListRulesRequest>,
    ) -> Result<Response<wire::ListRulesResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.db, &cx, |conn| rules::list(&cx, conn, &request).await)?;
        Ok(Response::new(page))
    }

    async fn update_rule(
        &self,
        request: Request<wire::UpdateRuleRequest>,
    ) -> Result<Response<wire::Rule>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(convert::rule(&rules::update(&cx, conn, &request).await?))
        })?;
        Ok(answer)
    }

    async fn delete_rule(&self, request: Request<wire::DeleteRuleRequest>) -> Result<Response<()>, Status> {
        let (cx, request) = unpack(request)?;
        platform::tx!(self.db, &cx, |conn| rules::archive(&cx, conn, &request.id).await)?;
        Ok(Response::new(()))
    }

    async fn validate_rule(
        &self,
        request: Request<wire::ValidateRuleRequest>,
    ) -> Result<Response<wire::ValidateRuleResponse>, Status> {
        let (cx, request) = unpack(request)?;
        Ok(Response::new(rules::validate(&cx, request).await?))
    }
}
