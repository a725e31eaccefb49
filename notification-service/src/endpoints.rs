//! What channels and contact methods have in common: an address at rest, with what guards it.

use chrono::{DateTime, Utc};

use crate::kinds::Kind;
use crate::store::channels::Channel;
use crate::store::contact_methods::ContactMethod;
use crate::targets::Via;
use crate::vault::{Row, Table};

/// A row that holds an address.
pub trait Endpoint {
    /// How a delivery refers to it.
    fn via(&self) -> Via;

    /// Where it stands; what is sealed opens nowhere else.
    fn place(&self) -> Row;

    /// What it keeps.
    fn at_rest(&self) -> AtRest<'_>;

    /// Whether the address is known to belong to its person, where that is asked for.
    fn is_proven(&self) -> bool;

    /// Since when it takes no changes.
    fn archived_at(&self) -> Option<DateTime<Utc>>;
}

/// An address as a row keeps it.
#[derive(Clone, Copy, Debug)]
pub struct AtRest<'r> {
    pub kind: Kind,
    pub sealed: &'r [u8],
    pub shown: &'r str,
    pub digest: &'r [u8],
    pub secret: Option<&'r [u8]>,
}

macro_rules! endpoint {
    ($row:ident, $table:expr, $via:expr, $proven:expr) => {
        impl Endpoint for $row {
            fn via(&self) -> Via {
                $via(self.id)
            }

            fn place(&self) -> Row {
                Row { org: self.org_id, table: $table, id: self.id.uuid() }
            }

            fn at_rest(&self) -> AtRest<'_> {
                AtRest {
                    kind: self.kind,
                    sealed: &self.address_sealed,
                    shown: &self.address_shown,
                    digest: &self.address_digest,
                    secret: self.secret_sealed.as_deref(),
                }
            }

            fn is_proven(&self) -> bool {
                $proven(self)
            }

            fn archived_at(&self) -> Option<DateTime<Utc>> {
                self.archived_at
            }
        }
    };
}

// Who may change channels answers for their addresses; test messages have a limit.
endpoint!(Channel, Table::Channels, Via::Channel, |_: &Channel| true);
endpoint!(ContactMethod, Table::ContactMethods, Via::Method, |row: &ContactMethod| {
    row.verified_at.is_some()
});
