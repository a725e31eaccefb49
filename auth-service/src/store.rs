//! The queries. Each takes the connection of the caller's transaction.

pub mod api_keys;
pub mod audit;
pub mod organizations;
pub mod sessions;
pub mod signing_keys;
pub mod teams;
pub mod users;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types::Timestamptz;
use platform::error::Result;
use platform::page::{Fingerprint, PageToken, Sort};
use uuid::Uuid;

/// What lists of users and teams can be sorted by; the oldest first when nothing is said.
pub const SORTS: &[&str] = &["created_at", "name"];
pub const DEFAULT_SORT: &str = "created_at";

/// The database's clock, which leases and expiries are compared with.
pub fn database_now() -> SqlLiteral<Timestamptz> {
    sql("pulseops.now()")
}

/// The last row of the page before, as far as the order goes.
#[derive(Clone, Debug)]
pub enum Seek {
    Created(DateTime<Utc>, Uuid),
    Name(String, Uuid),
}

impl Seek {
    /// Reads a page token of a list in this order.
    pub fn decode(token: &str, list: Fingerprint, sort: Sort) -> Result<Option<Self>> {
        Ok(match sort.field {
            "name" => PageToken::decode(token, list)?.map(|(name, id)| Self::Name(name, id)),
            _ => PageToken::decode(token, list)?.map(|(at, id)| Self::Created(at, id)),
        })
    }
}

/// Where a page ends that ends with this row.
pub fn seek_key(sort: Sort, created_at: DateTime<Utc>, name: &str, id: Uuid) -> Seek {
    match sort.field {
        "name" => Seek::Name(name.to_owned(), id),
        _ => Seek::Created(created_at, id),
    }
}

/// The limit that shows whether another page follows.
pub fn one_more(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX - 1) + 1
}

impl serde::Serialize for Seek {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Created(at, id) => (at, id).serialize(serializer),
            Self::Name(name, id) => (name, id).serialize(serializer),
        }
    }
}

/// Orders a boxed query of `$table` and lets it begin behind the row of `$after`.
macro_rules! seek {
    ($query:expr, $table:ident, $sort:expr, $after:expr) => {{
        use $crate::store::Seek;
        let query = $query;
        let query =
            match ($after, $sort.descending) {
                (None, _) => query,
                (Some(Seek::Created(at, id)), false) => query
                    .filter($table::created_at.gt(at).or($table::created_at.eq(at).and($table::id.gt(id)))),
                (Some(Seek::Created(at, id)), true) => query
                    .filter($table::created_at.lt(at).or($table::created_at.eq(at).and($table::id.lt(id)))),
                (Some(Seek::Name(name, id)), false) => query
                    .filter($table::name.gt(name.clone()).or($table::name.eq(name).and($table::id.gt(id)))),
                (Some(Seek::Name(name, id)), true) => query
                    .filter($table::name.lt(name.clone()).or($table::name.eq(name).and($table::id.lt(id)))),
            };
        match ($sort.field, $sort.descending) {
            ("name", false) => query.order(($table::name.asc(), $table::id.asc())),
            ("name", true) => query.order(($table::name.desc(), $table::id.desc())),
            (_, false) => query.order(($table::created_at.asc(), $table::id.asc())),
            (_, true) => query.order(($table::created_at.desc(), $table::id.desc())),
        }
    }};
}
pub(crate) use seek;
