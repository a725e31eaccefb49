//! The doors' inside: unpack, core, pack.

mod access;
mod api_keys;
mod sessions;
mod teams;
mod users;

use std::ops::Deref;
use std::sync::Arc;

use platform::access::AccessTable;
use platform::db::Db;
use platform::deps::Deps;
use platform::rpc::Transport;
use platform::token::Signer;
use proto::incident::v1::service_service_client::ServiceServiceClient;

use crate::config::{Config, Registration};
use crate::passwords::Passwords;

/// The service behind every RPC.
#[derive(Clone)]
pub struct Auth(Arc<Parts>);

pub struct Parts {
    pub db: Db,
    pub passwords: Passwords,
    pub signer: Signer,
    pub access: Arc<AccessTable>,
    pub registration: Registration,
    /// Keys the digests that stand for passwords in the hashes of requests.
    pub digest_key: [u8; 32],
    pub services: ServiceServiceClient<Transport>,
}

impl Auth {
    pub fn new(deps: &Deps, config: &Config, db: Db, signer: Signer) -> Self {
        Self(Arc::new(Parts {
            db,
            passwords: Passwords::new(config.password_hashes, deps.source.clone()),
            signer,
            access: deps.door.access.clone(),
            registration: config.registration,
            digest_key: deps.secret.derive("auth/request-digests"),
            services: ServiceServiceClient::new(deps.directory.transport("pulseops.incident.v1")),
        }))
    }
}

impl Deref for Auth {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
