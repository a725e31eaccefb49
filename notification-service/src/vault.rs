//! Addresses and signing secrets at rest: sealed for exactly the row and column that holds them; and the
//! codes that prove addresses.

use hmac::{Hmac, Mac};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::secret::{DeploymentSecret, Sealer, Secret};
use sha2::Sha256;
use uuid::Uuid;

use crate::kinds::Kind;

/// The table whose row holds a sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Channels,
    ContactMethods,
}

/// A row that holds sealed values.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub org: OrgId,
    pub table: Table,
    pub id: Uuid,
}

/// Seals, opens and compares addresses and secrets.
pub struct Vault {
    sealer: Sealer,
    digest_key: [u8; 32],
    code_key: [u8; 32],
}

impl Vault {
    /// `sealer` is the service's own; the digests' key is derived from `secret`.
    pub fn new(sealer: Sealer, secret: &DeploymentSecret) -> Self {
        let digest_key = secret.derive("notification/digests");
        Self { sealer, digest_key, code_key: secret.derive("notification/codes") }
    }

    pub fn seal_address(&self, row: Row, address: &str) -> Result<Vec<u8>> {
        self.sealer.seal(&place(row, "address"), address.as_bytes())
    }

    pub fn open_address(&self, row: Row, sealed: &[u8]) -> Result<String> {
        text(self.sealer.open(&place(row, "address"), sealed)?)
    }

    pub fn seal_secret(&self, row: Row, secret: &Secret<String>) -> Result<Vec<u8>> {
        self.sealer.seal(&place(row, "secret"), secret.expose().as_bytes())
    }

    pub fn open_secret(&self, row: Row, sealed: &[u8]) -> Result<Secret<String>> {
        text(self.sealer.open(&place(row, "secret"), sealed)?).map(Secret::new)
    }

    /// Tells whether two addresses are the same without showing either. Keyed, because the set of
    /// likely addresses is small enough to try them all.
    pub fn digest(&self, kind: Kind, address: &str) -> Vec<u8> {
        let parts = [kind.as_str().as_bytes(), &[0], address.as_bytes()];
        hmac(&self.digest_key, &parts).to_vec()
    }

    /// The six digits that `message` carries. Whoever does not know the deployment's secret can only guess.
    pub fn code(&self, org: OrgId, message: Uuid) -> Secret<String> {
        let hash = hmac(&self.code_key, &[org.uuid().as_bytes(), message.as_bytes()]);
        let number = u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 hash has 32 bytes"));
        Secret::new(format!("{:06}", number % 1_000_000))
    }
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn place(row: Row, column: &str) -> Vec<u8> {
    let table = match row.table {
        Table::Channels => "channels",
        Table::ContactMethods => "contact_methods",
    };
    format!("{}/{table}/{}/{column}", row.org, row.id).into_bytes()
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use platform::source::Source;

    use super::*;

    fn vault() -> Vault {
        Vault::new(Sealer::new([7; 32], Source::system()), &DeploymentSecret::new([3; 32]))
    }

    #[test]
    fn sealed_values_open_only_in_their_place() {
        let row = Row { org: OrgId::nil(), table: Table::Channels, id: Uuid::from_u128(1) };
        let sealed = vault().seal_address(row, "https://example.com/hook").expect("sealed");
        assert!(!sealed.windows(7).any(|part| part == b"example"));
        assert_eq!(vault().open_address(row, &sealed).expect("opened"), "https://example.com/hook");
        let elsewhere = [
            Row { org: OrgId(Uuid::from_u128(9)), ..row },
            Row { table: Table::ContactMethods, ..row },
            Row { id: Uuid::from_u128(2), ..row },
        ];
        for other in elsewhere {
            assert!(vault().open_address(other, &sealed).is_err());
        }
        assert!(vault().open_secret(row, &sealed).is_err(), "another column");
    }

    #[test]
    fn a_code_is_six_digits_of_one_message() {
        let (org, other) = (OrgId(Uuid::from_u128(1)), OrgId(Uuid::from_u128(2)));
        let code = |org, message| vault().code(org, Uuid::from_u128(message)).expose().clone();
        assert!(
            (0..200).all(|n| code(org, n).len() == 6 && code(org, n).bytes().all(|b| b.is_ascii_digit()))
        );
        assert_eq!(code(org, 1), code(org, 1));
        let apart: std::collections::HashSet<_> = (0..200).map(|n| code(org, n)).collect();
        assert!(apart.len() > 190, "{}", apart.len());
        assert_ne!(code(org, 1), code(other, 1));
    }

    #[test]
    fn digests_compare_addresses_of_one_kind() {
        let (one, same) = (vault().digest(Kind::Email, "a@b.c"), vault().digest(Kind::Email, "a@b.c"));
        assert_eq!(one, same);
        assert_ne!(one, vault().digest(Kind::Webhook, "a@b.c"));
        assert_ne!(one, vault().digest(Kind::Email, "a@b.d"));
    }
}
