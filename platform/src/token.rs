//! Tokens: who says who a caller is. Users' and keys' tokens are signed by auth-service and verified
//! here by its published keys; service tokens are signed and verified by a key that every process
//! derives from the deployment's secret.

mod claims;
mod keys;
mod revocations;
mod signer;
mod verifier;

pub use claims::{Audience, Claims};
pub use keys::{KeySource, PublicKey};
pub use revocations::{Revocation, Revoked};
pub use signer::{ServiceTokens, Signer};
pub use verifier::{Exchange, Verified, Verifier, VerifierParts};

/// Prefix of API keys.
pub const API_KEY_PREFIX: &str = "pok_";
/// Prefix of integration keys.
pub const INTEGRATION_KEY_PREFIX: &str = "pik_";
