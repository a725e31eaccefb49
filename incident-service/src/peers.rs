//! What this service asks others: references are checked when they are written, before the
//! transaction.

use platform::ctx::Ctx;
use platform::error::{Error, Kind, Result};
use platform::rpc::{self, Directory, Transport};
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::{CheckPermissionRequest, GetTeamRequest, PermissionCheck};
use proto::incident::v1 as wire;
use proto::workflow::v1::GetEscalationPolicyRequest;
use proto::workflow::v1::escalation_policy_service_client::EscalationPolicyServiceClient;

use crate::NAME;
use crate::services::References;

/// Code at a field that refers to what is not there.
pub const UNKNOWN_REFERENCE: &str = "unknown_reference";

/// A thing of another service, with its name as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub id: String,
    pub name: String,
}

/// Clients of the other services.
#[derive(Clone)]
pub struct Peers {
    auth: AccessServiceClient<Transport>,
    teams: TeamServiceClient<Transport>,
    policies: EscalationPolicyServiceClient<Transport>,
}

impl Peers {
    pub fn new(directory: &Directory) -> Self {
        Self {
            auth: AccessServiceClient::new(directory.transport("pulseops.auth.v1")),
            teams: TeamServiceClient::new(directory.transport("pulseops.auth.v1")),
            policies: EscalationPolicyServiceClient::new(directory.transport("pulseops.workflow.v1")),
        }
    }

    /// Looks up what a service is to refer to, among the fields that `named` lets through.
    ///
    /// # Errors
    /// Invalid at the field: `unknown_reference` or `archived`; those of the call.
    pub async fn references(
        &self,
        cx: &Ctx,
        service: &wire::Service,
        named: impl Fn(&str) -> bool,
    ) -> Result<References> {
        let mut references = References::default();
        if let Some(team) = service.team_id.as_ref().filter(|_| named("team_id")) {
            references.team = Some(self.team(cx, team).await?);
        }
        let policy = service.escalation_policy_id.as_ref().filter(|_| named("escalation_policy_id"));
        if let Some(policy) = policy {
            references.policy = Some(self.policy(cx, policy).await?);
        }
        Ok(references)
    }

    async fn team(&self, cx: &Ctx, id: &str) -> Result<Reference> {
        let request = rpc::request(cx, GetTeamRequest { id: id.to_owned() });
        let answer = self.teams.clone().get_team(request).await;
        let team = answer.map_err(|status| unknown("service.team_id", status.into()))?.into_inner();
        refuse_archived("service.team_id", team.archived_at.is_some())?;
        Ok(Reference { id: team.id, name: team.name })
    }

    async fn policy(&self, cx: &Ctx, id: &str) -> Result<Reference> {
        let request = rpc::request(cx, GetEscalationPolicyRequest { id: id.to_owned() });
        let answer = self.policies.clone().get_escalation_policy(request).await;
        let policy =
            answer.map_err(|status| unknown("service.escalation_policy_id", status.into()))?.into_inner();
        refuse_archived("service.escalation_policy_id", policy.archived_at.is_some())?;
        Ok(Reference { id: policy.id, name: policy.name })
    }

    /// Whether each of these users may respond to incidents, in their order.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn responders(&self, cx: &Ctx, user_ids: Vec<String>) -> Result<Vec<PermissionCheck>> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        // The question is ours and not the caller's: he need not be allowed to see permissions.
        let own = Ctx::service(NAME, cx.org, cx.source.clone(), cx.trace, cx.cause);
        let own = Ctx { deadline: cx.deadline, request_id: cx.request_id, ..own };
        let permission = "incidents_respond".to_owned();
        let request = rpc::request(&own, CheckPermissionRequest { user_ids, permission });
        let answer = self.auth.clone().check_permission(request).await;
        Ok(answer.map_err(Error::from)?.into_inner().checks)
    }
}

fn unknown(field: &str, error: Error) -> Error {
    match error.kind {
        Kind::NotFound => Error::field(field, UNKNOWN_REFERENCE, "does not exist"),
        _ => error,
    }
}

fn refuse_archived(field: &str, archived: bool) -> Result<()> {
    if archived { Err(Error::field(field, "archived", "is archived")) } else { Ok(()) }
}
