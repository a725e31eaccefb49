//! What the doors of every process need from auth-service, over its contract: the published keys,
//! the exchange of API keys, and the revocations that its topic tells.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use platform::access::AccessTable;
use platform::bus::{Bus, Delivered, TailFrom};
use platform::ctx::{Ctx, OrgId, Trace};
use platform::error::{Error, Kind, Result};
use platform::rpc::{self, Transport};
use platform::secret::DeploymentSecret;
use platform::source::Source;
use platform::token::{
    Exchange, KeySource, PublicKey, Revocation, Revoked, Verified, Verifier, VerifierParts,
};
use prost::Message;
use proto::auth::v1 as pb;
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::events::v1::AccessRevoked;
use proto::events::v1::access_revoked::Subject;
use proto::time::{from_timestamp, to_timestamp};
use tokio_util::sync::CancellationToken;

use crate::api_keys::{INVALID_KEY, invalid_key};
use crate::events::{ACCESS_REVOKED, TOPIC};
use crate::words::Role;

/// How long a door waits for auth-service before it says so.
const PATIENCE: Duration = Duration::from_secs(2);
/// A process that starts hears what was revoked while tokens that still last were signed.
const LOOK_BACK: TimeDelta = TimeDelta::minutes(20);
const POLL: Duration = Duration::from_millis(250);
const POLL_RECORDS: usize = 500;
const RETRY: Duration = Duration::from_secs(1);

/// auth-service as a [`platform::token::Verifier`] asks it.
#[derive(Clone)]
pub struct AuthPeer {
    transport: Transport,
    role: &'static str,
    source: Source,
}

impl AuthPeer {
    /// For the process or service `role`; `transport` leads to `pulseops.auth.v1`.
    pub fn new(transport: Transport, role: &'static str, source: Source) -> Self {
        Self { transport, role, source }
    }

    /// What verifies the callers of the doors of a process that knows `access` and `secret`.
    ///
    /// # Errors
    /// Internal, when no service key can be derived from the secret.
    pub fn verifier(self, access: Arc<AccessTable>, secret: DeploymentSecret) -> Result<Verifier> {
        let source = self.source.clone();
        let peer = Arc::new(self);
        Verifier::new(VerifierParts { access, secret, keys: peer.clone(), exchange: peer, source })
    }

    fn cx(&self, org: OrgId) -> Ctx {
        let trace = Trace::new(&self.source);
        Ctx::service(self.role, org, self.source.clone(), trace, None).with_timeout(PATIENCE)
    }
}

#[async_trait]
impl KeySource for AuthPeer {
    async fn jwks(&self) -> Result<Vec<PublicKey>> {
        let mut client = SessionServiceClient::new(self.transport.clone());
        let request = rpc::request(&self.cx(OrgId::nil()), pb::GetJwksRequest {});
        let keys = client.get_jwks(request).await?.into_inner().keys;
        keys.iter().map(|key| PublicKey::from_jwk(&key.kid, &key.x)).collect()
    }
}

#[async_trait]
impl Exchange for AuthPeer {
    async fn exchange(&self, key: &str) -> Result<String> {
        let mut client = AccessServiceClient::new(self.transport.clone());
        let request = pb::AuthenticateRequest { key: key.to_owned() };
        let answer = client.authenticate(rpc::request(&self.cx(OrgId::nil()), request)).await;
        answer.map(|answer| answer.into_inner().token).map_err(|status| match Error::from(status) {
            error if error.code == INVALID_KEY => error,
            // No key is as long as that.
            error if error.kind == Kind::Invalid => invalid_key(),
            error => unsaid(error),
        })
    }

    async fn confirm(&self, verified: &Verified) -> Result<()> {
        let principal = &verified.principal;
        let refused = || Error::unauthenticated("revoked_token", "the token was revoked");
        let role = principal.role.as_deref().and_then(Role::parse).ok_or_else(refused)?;
        let request = pb::ConfirmTokenRequest {
            user_id: principal.id.to_string(),
            session_id: principal.session.ok_or_else(refused)?.to_string(),
            role: role.wire(),
            issued_at: Some(to_timestamp(verified.issued_at)),
        };
        let mut client = AccessServiceClient::new(self.transport.clone());
        let answer = client.confirm_token(rpc::request(&self.cx(verified.org), request)).await;
        let answer = answer.map_err(|status| unsaid(status.into()))?;
        if answer.into_inner().valid { Ok(()) } else { Err(refused()) }
    }
}

/// auth-service did not answer what it was asked. A refusal is then one of our own token, and must not
/// be taken for one of the caller's.
fn unsaid(error: Error) -> Error {
    if error.is_retryable() {
        return error;
    }
    let detail = "auth-service does not say whether this is good";
    Error::unavailable("auth_unavailable", detail).with_retry_after(RETRY).with_source(error)
}

/// Tells `verifier` what is revoked, until `shutdown`: one task a process. While the bus does not
/// answer it tries again, and the verifier confirms users' tokens with auth-service instead.
///
/// # Errors
/// None; a task of the lifecycle returns a result.
pub async fn follow_revocations(
    bus: Arc<dyn Bus>,
    verifier: Verifier,
    source: Source,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut from = TailFrom::Time(source.now() - LOOK_BACK);
    while !shutdown.is_cancelled() {
        let followed = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            followed = follow(bus.as_ref(), &verifier, from) => followed,
        };
        tracing::warn!(error = followed.chain(), "revocations are not heard");
        from = TailFrom::Time(source.now() - LOOK_BACK);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    Ok(())
}

/// Reads on until it cannot; the error is why.
async fn follow(bus: &dyn Bus, verifier: &Verifier, from: TailFrom) -> Error {
    let mut reader = match open(bus, from).await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    loop {
        match reader.poll(POLL_RECORDS, POLL).await {
            Err(error) => return error,
            Ok(batches) => {
                let caught_up = batches.iter().all(|batch| batch.records.len() < POLL_RECORDS);
                for delivered in batches.iter().flat_map(|batch| &batch.records) {
                    apply(verifier, delivered);
                }
                if caught_up {
                    verifier.revocations_heard();
                }
            }
        }
    }
}

async fn open(bus: &dyn Bus, from: TailFrom) -> Result<Box<dyn platform::bus::Reader>> {
    bus.ensure_topic(&TOPIC).await?;
    bus.tail(TOPIC.name, from).await
}

fn apply(verifier: &Verifier, delivered: &Delivered) {
    let record = &delivered.record;
    if record.envelope.ty != ACCESS_REVOKED {
        return;
    }
    match revocation(&record.data) {
        Some(revocation) => verifier.revoke(revocation),
        None => tracing::error!(event.id = %record.envelope.id, "a revocation cannot be read"),
    }
}

fn revocation(data: &[u8]) -> Option<Revocation> {
    let event = AccessRevoked::decode(data).ok()?;
    let what = match event.subject? {
        Subject::SessionId(id) => Revoked::Session(id.parse().ok()?),
        Subject::KeyId(id) => Revoked::Key(id.parse().ok()?),
        Subject::UserId(id) => Revoked::User(id.parse().ok()?),
    };
    Some(Revocation { what, at: from_timestamp(&event.at?)? })
}
