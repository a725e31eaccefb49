//! Addresses and signing secrets at rest: sealed for exactly the row and column that holds them.

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
}

impl Vault {
    /// `sealer` is the service's own; the digests' key is derived from `secret`.
    pub fn new(sealer: Sealer, secret: &DeploymentSecret) -> Self {
        Self { sealer, digest_key: secret.derive("notification/digests") }
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
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.digest_key).expect("HMAC takes keys of any length");
        mac.update(kind.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(address.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
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
    fn digests_compare_addresses_of_one_kind() {
        let (one, same) = (vault().digest(Kind::Email, "a@b.c"), vault().digest(Kind::Email, "a@b.c"));
        assert_eq!(one, same);
        assert_ne!(one, vault().digest(Kind::Webhook, "a@b.c"));
        assert_ne!(one, vault().digest(Kind::Email, "a@b.d"));
    }
}
