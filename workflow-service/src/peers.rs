//! The other services, as this one calls them.

use std::time::Duration;

use platform::ctx::Ctx;
use platform::error::{Error, Kind, Result};
use platform::rpc::{self, Directory, Transport};
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::{CheckPermissionRequest, CheckPermissionResponse, GetTeamRequest, Team};
use proto::incident::v1::response_service_client::ResponseServiceClient;
use proto::incident::v1::service_service_client::ServiceServiceClient;
use proto::incident::v1::{
    EscalateIncidentRequest, GetStatesRequest, IncidentState, RecordStepRequest, ResolveByAutomationRequest,
    ResolveServicesRequest, ResolvedService, SetSeverityRequest,
};
use proto::notification::v1::send_service_client::SendServiceClient;
use proto::notification::v1::{CheckChannelsRequest, SendRequest, SendResponse};

/// Our name as a caller.
pub const ROLE: &str = "workflow";

/// Clients of the other services.
#[derive(Clone, Debug)]
pub struct Peers {
    access: AccessServiceClient<Transport>,
    teams: TeamServiceClient<Transport>,
    services: ServiceServiceClient<Transport>,
    response: ResponseServiceClient<Transport>,
    send: SendServiceClient<Transport>,
    timeout: Duration,
}

impl Peers {
    /// Clients that find their services in `directory`; no call takes longer than `timeout`.
    pub fn new(directory: &Directory, timeout: Duration) -> Self {
        let transport = |package| directory.transport(package);
        Self {
            access: AccessServiceClient::new(transport("pulseops.auth.v1")),
            teams: TeamServiceClient::new(transport("pulseops.auth.v1")),
            services: ServiceServiceClient::new(transport("pulseops.incident.v1")),
            response: ResponseServiceClient::new(transport("pulseops.incident.v1")),
            send: SendServiceClient::new(transport("pulseops.notification.v1")),
            timeout,
        }
    }

    /// The context in which this service asks on behalf of `cx`: as itself, with its deadline.
    pub fn asking(&self, cx: &Ctx) -> Ctx {
        let asking = Ctx::service(ROLE, cx.org, cx.source.clone(), cx.trace, cx.cause);
        Ctx { deadline: cx.deadline, request_id: cx.request_id, ..asking }.with_timeout(self.timeout)
    }

    /// Whether these users hold `permission`, in the order of the ids.
    ///
    /// # Errors
    /// Those of auth-service.
    pub async fn check_permission(
        &self,
        cx: &Ctx,
        user_ids: Vec<String>,
        permission: &str,
    ) -> Result<CheckPermissionResponse> {
        let request = CheckPermissionRequest { user_ids, permission: permission.to_owned() };
        let request = rpc::request(&self.asking(cx), request);
        Ok(self.access.clone().check_permission(request).await?.into_inner())
    }

    /// The team with this id.
    ///
    /// # Errors
    /// NotFound; those of auth-service.
    pub async fn team(&self, cx: &Ctx, id: String) -> Result<Team> {
        let request = rpc::request(&self.asking(cx), GetTeamRequest { id });
        Ok(self.teams.clone().get_team(request).await?.into_inner())
    }

    /// The services with these slugs or ids; unknown ones are left out.
    ///
    /// # Errors
    /// Those of incident-service.
    pub async fn services(&self, cx: &Ctx, names: Vec<String>) -> Result<Vec<ResolvedService>> {
        let request = rpc::request(&self.asking(cx), ResolveServicesRequest { names });
        Ok(self.services.clone().resolve_services(request).await?.into_inner().services)
    }

    /// Those of the channels that exist and are not archived.
    ///
    /// # Errors
    /// Those of notification-service.
    pub async fn channels(&self, cx: &Ctx, channel_ids: Vec<String>) -> Result<Vec<String>> {
        let request = rpc::request(&self.asking(cx), CheckChannelsRequest { channel_ids });
        Ok(self.send.clone().check_channels(request).await?.into_inner().channel_ids)
    }

    /// Tells targets.
    ///
    /// # Errors
    /// Those of notification-service.
    pub async fn send(&self, cx: &Ctx, message: SendRequest) -> Result<SendResponse> {
        let request = rpc::request(&self.asking(cx), message);
        Ok(self.send.clone().send(request).await?.into_inner())
    }

    /// Writes on an incident's timeline, once per `key`.
    ///
    /// # Errors
    /// Those of incident-service.
    pub async fn record_step(&self, cx: &Ctx, key: &str, message: RecordStepRequest) -> Result<()> {
        let request = rpc::keyed(&self.asking(cx), key, message)?;
        self.response.clone().record_step(request).await?;
        Ok(())
    }

    /// Says that the next level is being told, once per `key`; answers the incident's state.
    ///
    /// # Errors
    /// Those of incident-service.
    pub async fn escalate(
        &self,
        cx: &Ctx,
        key: &str,
        message: EscalateIncidentRequest,
    ) -> Result<IncidentState> {
        let request = rpc::keyed(&self.asking(cx), key, message)?;
        Ok(self.response.clone().escalate_incident(request).await?.into_inner())
    }

    /// The state of an incident, as committed now; `None` without such an incident.
    ///
    /// # Errors
    /// Those of incident-service.
    pub async fn state(&self, cx: &Ctx, incident_id: String) -> Result<Option<IncidentState>> {
        let request = rpc::request(&self.asking(cx), GetStatesRequest { incident_ids: vec![incident_id] });
        Ok(self.response.clone().get_states(request).await?.into_inner().states.pop())
    }

    /// Sets the severity of an incident, once per `key`; answers the incident's state.
    ///
    /// # Errors
    /// Those of incident-service.
    pub async fn set_severity(
        &self,
        cx: &Ctx,
        key: &str,
        message: SetSeverityRequest,
    ) -> Result<IncidentState> {
        let request = rpc::keyed(&self.asking(cx), key, message)?;
        Ok(self.response.clone().set_severity(request).await?.into_inner())
    }

    /// Resolves an incident, once per `key`.
    ///
    /// # Errors
    /// Those of incident-service.
    pub async fn resolve(
        &self,
        cx: &Ctx,
        key: &str,
        message: ResolveByAutomationRequest,
    ) -> Result<IncidentState> {
        let request = rpc::keyed(&self.asking(cx), key, message)?;
        Ok(self.response.clone().resolve_by_automation(request).await?.into_inner())
    }
}

/// Whether the same call may work later: everything but what the peer says about the call itself.
pub fn may_pass(error: &Error) -> bool {
    let final_word =
        matches!(error.kind, Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::Precondition);
    !final_word || error.code == "idempotency_in_progress"
}
