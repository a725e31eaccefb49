//! Name resolution that answers only with addresses that may be called.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Policy;

/// None of a host's addresses may be called.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{host} leads to a private or reserved address, which egress.allow does not open")]
pub(super) struct Refused {
    pub(super) host: String,
}

/// The system's resolver behind the policy.
pub(super) struct Guarded(Arc<Policy>);

impl Guarded {
    pub(super) fn new(policy: Arc<Policy>) -> Arc<Self> {
        Arc::new(Self(policy))
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses = allowed(&policy, name.as_str(), found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Those of `found` that may be called.
pub(super) fn allowed(
    policy: &Policy,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Refused> {
    let addresses: Vec<_> = found.filter(|address| policy.permits(address.ip())).collect();
    if addresses.is_empty() {
        return Err(Refused { host: host.to_owned() });
    }
    Ok(addresses)
}
