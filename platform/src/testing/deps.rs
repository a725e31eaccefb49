//! What a service's `build` needs, over a test database: the real bus, pools, directory and doors.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prost_reflect::DescriptorPool;

use super::TestDb;
use crate::access::{AccessTable, OptionNames};
use crate::bus::postgres::PostgresBus;
use crate::consumer::Stopped;
use crate::ctx::{OrgId, Principal};
use crate::deps::{Databases, Deps};
use crate::door::DoorParts;
use crate::egress::{Egress, EgressConfig};
use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::rpc::Directory;
use crate::secret::DeploymentSecret;
use crate::source::Source;
use crate::token::{
    Claims, Exchange, KeySource, PublicKey, ServiceTokens, Signer, Verified, Verifier, VerifierParts,
};
use crate::wake::Wakes;

const SEED: [u8; 32] = [7; 32];
const TOKEN_TTL: Duration = Duration::from_secs(15 * 60);

/// Mints users' tokens that the doors of [`TestDb::deps`] accept. API keys it does not know: a test
/// that needs them starts auth-service.
#[derive(Clone)]
pub struct Issuer {
    signer: Signer,
    source: Source,
}

impl Issuer {
    /// An issuer with the clock of `source`; all of a test run have the same key.
    pub fn new(source: &Source) -> Self {
        let signer = Signer::from_seed(&SEED).expect("a key of 32 bytes");
        Self { signer, source: source.clone() }
    }

    /// A token that says who and for which organization.
    pub fn token(&self, principal: &Principal, org: OrgId) -> String {
        let claims = Claims::new(principal, org, TOKEN_TTL, &self.source);
        self.signer.sign(&claims).expect("claims can be signed")
    }
}

#[async_trait]
impl KeySource for Issuer {
    async fn jwks(&self) -> Result<Vec<PublicKey>> {
        Ok(vec![self.signer.public_key().clone()])
    }
}

#[async_trait]
impl Exchange for Issuer {
    async fn exchange(&self, _: &str) -> Result<String> {
        Err(Error::unauthenticated("unknown_key", "this issuer knows no keys"))
    }

    async fn confirm(&self, _: &Verified) -> Result<()> {
        Ok(())
    }
}

impl TestDb {
    /// [`deps`](Self::deps) with the access table of a contract that has our options.
    ///
    /// # Panics
    /// When it has not.
    pub fn deps_of(&self, contract: &DescriptorPool) -> Deps {
        self.deps(AccessTable::from_pool(contract, OptionNames::default()).expect("our options"))
    }

    /// What services are built from, in a process of its own on this database. Loopback may be
    /// called; end it with `deps.lifecycle.stop()`.
    pub fn deps(&self, access: AccessTable) -> Deps {
        let source = self.source().clone();
        let secret = DeploymentSecret::new(SEED);
        let issuer = Arc::new(Issuer::new(&source));
        let access = Arc::new(access);
        let parts = VerifierParts {
            access: access.clone(),
            secret: secret.clone(),
            keys: issuer.clone(),
            exchange: issuer,
            source: source.clone(),
        };
        let verifier = Verifier::new(parts).expect("a verifier");
        let tokens = ServiceTokens::new(&secret, source.clone()).expect("service tokens");
        let allow = vec!["127.0.0.0/8".to_owned()];
        let egress = EgressConfig { allow, ..EgressConfig::default() };
        let wakes = Wakes::default();
        Deps {
            bus: Arc::new(PostgresBus::new(self.db("bus"), source.clone(), wakes.clone())),
            databases: Databases::new(self.config()),
            directory: Directory::new(tokens),
            door: DoorParts {
                access,
                verifier,
                source: source.clone(),
                max_time: Duration::from_secs(10),
                max_message: 1 << 20,
            },
            lifecycle: Lifecycle::new(),
            secret,
            egress: Egress::new(&egress).expect("readable"),
            wakes,
            stopped: Stopped::default(),
            source,
        }
    }
}
