//! An address on its way into a row and out of it: checked by its way out, sealed, digested,
//! shortened; opened again for whoever may see it or sends there.

use std::sync::Arc;

use platform::error::{Error, Result};
use platform::secret::Secret;
use platform::source::Source;

use crate::channels::{Destination, Registry, webhook};
use crate::endpoints::Endpoint;
use crate::kinds::Kind;
use crate::vault::{Row, Vault};

const UNPROVEN: &str = "the address is not verified: send-code mails a code to it, verify takes the code";
const ADDRESS_LOST: &str = "the address cannot be read with this deployment's secret: enter it again";
const SECRET_LOST: &str = "its secret cannot be read with this deployment's secret: create it anew";

/// The ways out and the vault for their addresses.
#[derive(Clone)]
pub struct Addresses {
    pub ways: Arc<Registry>,
    pub vault: Arc<Vault>,
}

/// An address for a row to keep.
#[derive(Clone, Debug)]
pub struct Kept {
    pub sealed: Vec<u8>,
    pub shown: String,
    pub digest: Vec<u8>,
    /// The checked form, for the answer.
    pub plain: String,
}

/// Address and signing secret of a new row.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub kept: Kept,
    pub secret: Option<Secret<String>>,
    pub secret_sealed: Option<Vec<u8>>,
}

impl Admitted {
    /// The secret for the one answer that shows it.
    pub fn shown_once(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| secret.expose().clone())
    }
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

    /// Address and secret of a row that begins. Without a given secret a new one is made where
    /// messages are signed.
    ///
    /// # Errors
    /// Invalid at field `address` or `secret`.
    pub fn admit(
        &self,
        row: Row,
        kind: Kind,
        address: &str,
        secret: Option<String>,
        source: &Source,
    ) -> Result<Admitted> {
        let kept = self.keep(row, kind, address)?;
        let secret = self.first_secret(kind, secret, source)?;
        let sealed = secret.as_ref().map(|secret| self.vault.seal_secret(row, secret)).transpose()?;
        Ok(Admitted { kept, secret, secret_sealed: sealed })
    }

    /// What `row` keeps after a change from `current`, as it was shown, to `wanted`. An untouched
    /// address is not checked again: what it points at may be refused by now.
    ///
    /// # Errors
    /// Invalid at field `address`.
    pub fn readdress(&self, row: &impl Endpoint, current: &str, wanted: &str) -> Result<Kept> {
        let at_rest = row.at_rest();
        if wanted != current {
            return self.keep(row.place(), at_rest.kind, wanted);
        }
        Ok(Kept {
            sealed: at_rest.sealed.to_vec(),
            shown: at_rest.shown.to_owned(),
            digest: at_rest.digest.to_vec(),
            plain: current.to_owned(),
        })
    }

    /// The whole address; its short form when it cannot be opened.
    pub fn whole(&self, row: &impl Endpoint) -> String {
        let at_rest = row.at_rest();
        let opened = self.vault.open_address(row.place(), at_rest.sealed);
        opened.unwrap_or_else(|_| at_rest.shown.to_owned())
    }

    /// Where a message to `row` goes; otherwise why it cannot be said.
    pub fn open(&self, row: &impl Endpoint) -> Result<Destination, &'static str> {
        let (place, at_rest) = (row.place(), row.at_rest());
        let lost = |why: &'static str| {
            move |error: Error| {
                tracing::warn!(row.id = %place.id, error = error.chain(), why);
                why
            }
        };
        let address = self.vault.open_address(place, at_rest.sealed).map_err(lost(ADDRESS_LOST))?;
        let secret = at_rest.secret.map(|secret| self.vault.open_secret(place, secret));
        Ok(Destination { address, secret: secret.transpose().map_err(lost(SECRET_LOST))? })
    }

    /// Where a page to `row` goes; otherwise why pages leave it out at present.
    pub fn reach(&self, row: &impl Endpoint) -> Result<Destination, &'static str> {
        let way = self.ways.of(row.at_rest().kind);
        match way.hindrance() {
            Some(why) => Err(why),
            None if way.needs_proof() && !row.is_proven() => Err(UNPROVEN),
            None => self.open(row),
        }
    }

    fn first_secret(
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

/// Refuses changes of what has ended.
///
/// # Errors
/// Conflict `archived`.
pub fn refuse_archived(row: &impl Endpoint) -> Result<()> {
    match row.archived_at() {
        Some(_) => Err(Error::conflict("archived", "it is archived and takes no changes")),
        None => Ok(()),
    }
}
