//! What we ask of other services. On the way to a page nobody is waited for longer than
//! `peer_timeout_ms`, and no answer never means no page.

use std::future::Future;
use std::time::Duration;

use platform::ctx::Ctx;
use platform::error::{Error, Kind, Result};
use platform::rpc::{self, Directory, Transport};
use proto::auth::v1 as auth;
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::team_service_client::TeamServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::incident::v1 as incident;
use proto::incident::v1::response_service_client::ResponseServiceClient;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::ids::{TeamId, UserId};
use crate::kinds::Progress;
use crate::targets::Person;

/// For calls that nobody's page waits for.
const PATIENT: Duration = Duration::from_secs(3);
/// Members asked for at once.
const PAGE: i32 = 200;

/// Clients of auth- and incident-service.
#[derive(Clone)]
pub struct Peers {
    teams: TeamServiceClient<Transport>,
    users: UserServiceClient<Transport>,
    access: AccessServiceClient<Transport>,
    responses: ResponseServiceClient<Transport>,
    urgent: Duration,
}

impl Peers {
    /// `urgent` is how long a page waits for an answer.
    pub fn new(directory: &Directory, urgent: Duration) -> Self {
        let auth = directory.transport("pulseops.auth.v1");
        Self {
            teams: TeamServiceClient::new(auth.clone()),
            users: UserServiceClient::new(auth.clone()),
            access: AccessServiceClient::new(auth),
            responses: ResponseServiceClient::new(directory.transport("pulseops.incident.v1")),
            urgent,
        }
    }

    /// The members of a team who are not disabled.
    pub async fn team_members(&self, cx: &Ctx, team: TeamId, limit: Duration) -> Result<Vec<Person>> {
        let cx = background(cx).with_timeout(limit);
        let members = async {
            let mut members = Vec::new();
            let mut page_token = String::new();
            loop {
                let message =
                    auth::ListTeamMembersRequest { team_id: team.to_string(), page_size: PAGE, page_token };
                let page =
                    self.teams.clone().list_team_members(rpc::request(&cx, message)).await?.into_inner();
                for member in page.items.into_iter().filter(is_reachable) {
                    let id = UserId::parse("user_id", &member.user_id)?;
                    members.push(Person { id, name: member.name });
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(members);
                }
            }
        };
        tokio::time::timeout(limit, members).await.unwrap_or_else(|_| Err(silent("auth-service")))
    }

    /// The owners of the organization; auth does not say their names.
    pub async fn owners(&self, cx: &Ctx, limit: Duration) -> Result<Vec<Person>> {
        let cx = background(cx).with_timeout(limit);
        let mut client = self.access.clone();
        let call = client.list_owners(rpc::request(&cx, auth::ListOwnersRequest {}));
        let answer = within(limit, "auth-service", call).await?;
        let person = |id: &String| Ok(Person { id: UserId::parse("user_id", id)?, name: String::new() });
        answer.user_ids.iter().map(person).collect()
    }

    /// Whether the organization has this user, disabled and archived ones too.
    pub async fn is_user(&self, cx: &Ctx, user: UserId) -> Result<bool> {
        let cx = background(cx).with_timeout(PATIENT);
        let message = auth::GetUserRequest { id: user.to_string() };
        let mut client = self.users.clone();
        match within(PATIENT, "auth-service", client.get_user(rpc::request(&cx, message))).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a team exists that new things may refer to.
    pub async fn is_team(&self, cx: &Ctx, team: TeamId) -> Result<bool> {
        let cx = background(cx).with_timeout(PATIENT);
        let message = auth::GetTeamRequest { id: team.to_string() };
        let mut client = self.teams.clone();
        match within(PATIENT, "auth-service", client.get_team(rpc::request(&cx, message))).await {
            Ok(team) => Ok(team.archived_at.is_none()),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How far an incident is; `None` when it is unknown.
    pub async fn progress(&self, cx: &Ctx, incident: Uuid) -> Result<Option<Progress>> {
        let cx = cx.clone().with_timeout(self.urgent);
        let message = incident::GetStatesRequest { incident_ids: vec![incident.to_string()] };
        let mut client = self.responses.clone();
        let call = client.get_states(rpc::request(&cx, message));
        let answer = within(self.urgent, "incident-service", call).await?;
        Ok(answer.states.first().and_then(|state| progress_of(state.status())))
    }

    /// Writes on an incident's timeline, once for each `key`.
    pub async fn record_step(&self, cx: &Ctx, key: &str, step: incident::RecordStepRequest) -> Result<()> {
        let cx = cx.clone().with_timeout(PATIENT);
        let mut client = self.responses.clone();
        let call = client.record_step(rpc::keyed(&cx, key, step)?);
        within(PATIENT, "incident-service", call).await
    }
}

/// How far a status is on an incident's way.
pub fn progress_of(status: incident::IncidentStatus) -> Option<Progress> {
    match status {
        incident::IncidentStatus::Triggered => Some(Progress::Triggered),
        incident::IncidentStatus::Acknowledged => Some(Progress::Acknowledged),
        incident::IncidentStatus::Resolved => Some(Progress::Resolved),
        incident::IncidentStatus::Unspecified => None,
    }
}

/// Whoever cannot sign in is not told either.
fn is_reachable(member: &auth::TeamMember) -> bool {
    member.status() != auth::UserStatus::Disabled
}

/// We ask on our own behalf: the caller may be a person who may not read what we need to know.
fn background(cx: &Ctx) -> Ctx {
    let mut own = Ctx::service(crate::NAME, cx.org, cx.source.clone(), cx.trace, cx.cause);
    own.deadline = cx.deadline;
    own
}

async fn within<R>(
    limit: Duration,
    peer: &str,
    call: impl Future<Output = Result<Response<R>, Status>>,
) -> Result<R> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(silent(peer)),
    }
}

fn silent(peer: &str) -> Error {
    Error::timeout("peer_silent", format!("{peer} did not answer in time"))
}
