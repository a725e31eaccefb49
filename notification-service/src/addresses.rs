//! An address on its way into a row: checked by its way out, sealed, digested, shortened.

use std::sync::Arc;

use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::secret::Secret;
use platform::source::Source;

use crate::channels::{Destination, Registry, webhook};
use crate::kinds::Kind;
use crate::targets::{Sealed, Via};
use crate::vault::{Row, Table, Vault};

/// The ways out and the vault for their addresses.
#[derive(Clone)]
pub struct Addresses {
    pub ways: Arc<Registry>,
    pub vault: Arc<Vault>,
}

/// An address as a row keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub sealed: Vec<u8>,
    pub shown: String,
    pub digest: Vec<u8>,
    /// The checked form, for the answer.
    pub plain: String,
}

impl Addresses {
    /// Checks `address` and makes what `row` keeps of it.
    ///
    /// # Errors
    /// Invalid at field `address`.
    pub fn keep(&self, row: Row, kind: Kind, address: &str) -> Result<Kept> {
        let way = self.ways.of(kind);
        let plain = way.check(address)?;
        Ok(Kept {
            sealed: self.vault.seal_address(row, &plain)?,
            shown: way.shorten(&plain),
            digest: self.vault.digest(kind, &plain),
            plain,
        })
    }

    /// Where a message over `via` goes, from what the row of `org` keeps.
    ///
    /// # Errors
    /// Internal, when it was sealed with another deployment's secret.
    pub fn open(&self, org: OrgId, via: Via, sealed: &Sealed) -> Result<Destination> {
        let row = match via {
            Via::Channel(id) => Row { org, table: Table::Channels, id: id.uuid() },
            Via::Method(id) => Row { org, table: Table::ContactMethods, id: id.uuid() },
            Via::ServerLog => return Ok(Destination { address: String::new(), secret: None }),
        };
        let secret = sealed.secret.as_ref().map(|secret| self.vault.open_secret(row, secret)).transpose()?;
        Ok(Destination { address: self.vault.open_address(row, &sealed.address)?, secret })
    }

    /// The signing secret of a new destination: the given one or a new one; `None` where nothing is
    /// signed.
    ///
    /// # Errors
    /// Invalid at field `secret`: it has another form, or the kind signs nothing.
    pub fn first_secret(
        &self,
        kind: Kind,
        given: Option<String>,
        source: &Source,
    ) -> Result<Option<Secret<String>>> {
        match (self.ways.of(kind).signs(), given) {
            (true, None) => Ok(Some(webhook::new_secret(source))),
            (true, Some(secret)) if webhook::is_secret(&secret) => Ok(Some(Secret::new(secret))),
            (true, Some(_)) => {
                Err(Error::field("secret", "pattern", "must be whsec_ and base64 of 24 to 64 bytes"))
            }
            (false, None) => Ok(None),
            (false, Some(_)) => Err(Error::field("secret", "not_allowed", "this kind signs nothing")),
        }
    }
}
