//! The doors of both gRPC services: unpack, core, pack.

use platform::ctx::Ctx;
use platform::db::Db;
use platform::egress::Egress;
use platform::idempotency;
use platform::rpc::unpack;
use platform::{mutation, tx};
use proto::workflow::v1 as pb;
use proto::workflow::v1::escalation_policy_service_server::EscalationPolicyService;
use proto::workflow::v1::workflow_service_server::WorkflowService;
use tonic::{Request, Response, Status};

use crate::peers::Peers;
use crate::references::{self, References};
use crate::vault::Vault;
use crate::{definitions, policies, runs, workflows};

type Answer<T> = Result<Response<T>, Status>;

/// Both services.
#[derive(Clone)]
pub struct Grpc {
    /// Our tables.
    pub db: Db,
    /// Who knows what we refer to.
    pub peers: Peers,
    /// What says which addresses may be called.
    pub egress: Egress,
    /// What seals the headers of http steps.
    pub vault: Vault,
}

impl Grpc {
    async fn check_update(&self, cx: &Ctx, request: &pb::UpdateWorkflowRequest) -> Result<(), Status> {
        let current = tx!(self.db, cx, |conn| workflows::get(cx, conn, &request.id).await)?;
        cx.expect_version(current.version)?;
        let merged = workflows::merged(&current, request)?;
        definitions::check_workflow(&merged, &self.egress)?;
        let new = References::of_workflow(&merged).beyond(&References::of_workflow(&current));
        new.check(cx, &self.peers).await?;
        Ok(())
    }
}

#[tonic::async_trait]
impl WorkflowService for Grpc {
    async fn create_workflow(&self, request: Request<pb::CreateWorkflowRequest>) -> Answer<pb::Workflow> {
        let (cx, request) = unpack(request)?;
        if let Some(answer) = idempotency::replayed(&self.db, &cx, &request).await? {
            return Ok(answer);
        }
        let mut input = request.workflow.clone().unwrap_or_default();
        references::normalize_workflow(&mut input);
        definitions::check_workflow(&input, &self.egress)?;
        References::of_workflow(&input).check(&cx, &self.peers).await?;
        Ok(mutation!(self.db, &cx, &request, |conn| workflows::create(&cx, conn, &self.vault, &input).await)?)
    }

    async fn get_workflow(&self, request: Request<pb::GetWorkflowRequest>) -> Answer<pb::Workflow> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| workflows::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(answer))
    }

    async fn list_workflows(
        &self,
        request: Request<pb::ListWorkflowsRequest>,
    ) -> Answer<pb::ListWorkflowsResponse> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| workflows::list(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn update_workflow(&self, request: Request<pb::UpdateWorkflowRequest>) -> Answer<pb::Workflow> {
        let (cx, request) = unpack(request)?;
        self.check_update(&cx, &request).await?;
        Ok(mutation!(self.db, &cx, &request, |conn| workflows::update(&cx, conn, &self.vault, &request)
            .await)?)
    }

    async fn delete_workflow(&self, request: Request<pb::DeleteWorkflowRequest>) -> Answer<()> {
        let (cx, request) = unpack(request)?;
        Ok(mutation!(self.db, &cx, &request, |conn| workflows::archive(&cx, conn, &request.id).await)?)
    }

    async fn list_workflow_runs(
        &self,
        request: Request<pb::ListWorkflowRunsRequest>,
    ) -> Answer<pb::ListRunsResponse> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| runs::list_of_workflow(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Answer<pb::ListRunsResponse> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| runs::list(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Answer<pb::Run> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| runs::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl EscalationPolicyService for Grpc {
    async fn create_escalation_policy(
        &self,
        request: Request<pb::CreateEscalationPolicyRequest>,
    ) -> Answer<pb::EscalationPolicy> {
        let (cx, request) = unpack(request)?;
        if let Some(answer) = idempotency::replayed(&self.db, &cx, &request).await? {
            return Ok(answer);
        }
        let mut input = request.escalation_policy.clone().unwrap_or_default();
        references::normalize_policy(&mut input);
        definitions::check_policy(&input)?;
        let names = References::of_policy(&input).check(&cx, &self.peers).await?;
        Ok(mutation!(self.db, &cx, &request, |conn| policies::create(&cx, conn, &input, &names).await)?)
    }

    async fn get_escalation_policy(
        &self,
        request: Request<pb::GetEscalationPolicyRequest>,
    ) -> Answer<pb::EscalationPolicy> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| policies::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(answer))
    }

    async fn list_escalation_policies(
        &self,
        request: Request<pb::ListEscalationPoliciesRequest>,
    ) -> Answer<pb::ListEscalationPoliciesResponse> {
        let (cx, request) = unpack(request)?;
        let answer = tx!(self.db, &cx, |conn| policies::list(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn update_escalation_policy(
        &self,
        request: Request<pb::UpdateEscalationPolicyRequest>,
    ) -> Answer<pb::EscalationPolicy> {
        let (cx, request) = unpack(request)?;
        let current = tx!(self.db, &cx, |conn| policies::get(&cx, conn, &request.id).await)?;
        cx.expect_version(current.version)?;
        let merged = policies::merged(&current, &request)?;
        definitions::check_policy(&merged)?;
        let new = References::of_policy(&merged).beyond(&References::of_policy(&current));
        let names = new.check(&cx, &self.peers).await?;
        Ok(mutation!(self.db, &cx, &request, |conn| policies::update(&cx, conn, &request, &names).await)?)
    }

    async fn delete_escalation_policy(
        &self,
        request: Request<pb::DeleteEscalationPolicyRequest>,
    ) -> Answer<()> {
        let (cx, request) = unpack(request)?;
        Ok(mutation!(self.db, &cx, &request, |conn| policies::archive(&cx, conn, &request.id).await)?)
    }
}
