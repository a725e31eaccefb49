//! Rows and queries. Every query names the organization, though row-level security would do.

pub mod alerts;
pub mod incidents;
pub mod rules;
pub mod services;
pub mod timeline;
pub mod windows;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Timestamptz, Uuid as SqlUuid};
use platform::page::{Fingerprint, PageToken, Sort};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use platform::error::Result;

/// One page of a list: where it begins, in which order, how many rows are read (one more than the
/// page has, to know whether there is another).
#[derive(Clone, Debug)]
pub struct Page<K> {
    pub sort: Sort,
    pub after: Option<K>,
    pub size: usize,
    pub list: Fingerprint,
}

impl<K: DeserializeOwned> Page<K> {
    /// Reads `page_size`, `page_token` and `sort` of a request. `list` is the request with the
    /// first two cleared: what the token is bound to.
    ///
    /// # Errors
    /// Invalid at `sort` or `page_token`.
    pub fn read(
        (page_size, page_token): (i32, &str),
        (sort, fields, default): (&str, &[&'static str], &'static str),
        list: &impl prost::Message,
    ) -> Result<Self> {
        let list = Fingerprint::of_message(list);
        Ok(Self {
            sort: Sort::parse(sort, fields, default)?,
            after: PageToken::decode(page_token, list)?,
            size: platform::page::size(page_size),
            list,
        })
    }

    /// Rows to read.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).map_or(i64::MAX, |size| size + 1)
    }
}

/// The key of a list by time.
pub type TimeKey = (DateTime<Utc>, Uuid);
/// The key of a list by name.
pub type NameKey = (String, Uuid);

/// A page of `$query`: behind `$key`, in the page's order.
macro_rules! keyset {
    ($query:expr, $page:expr, $column:expr, $id:expr, $key:expr) => {{
        let query = $query.limit($page.limit());
        platform::keyset!(query, $column, $id, $page.sort.descending, $key)
    }};
}
pub(crate) use keyset;

#[derive(QueryableByName)]
pub(crate) struct Number {
    #[diesel(sql_type = BigInt)]
    pub number: i64,
}

#[derive(QueryableByName)]
pub(crate) struct Id {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
}

#[derive(QueryableByName)]
pub(crate) struct When {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub at: Option<DateTime<Utc>>,
}
