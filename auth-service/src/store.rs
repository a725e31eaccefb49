//! The queries. Each takes the connection of the caller's transaction.

pub mod api_keys;
pub mod audit;
pub mod organizations;
pub mod sessions;
pub mod signing_keys;
pub mod teams;
pub mod users;

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types::Timestamptz;

/// The database's clock, which leases and expiries are compared with.
pub fn database_now() -> SqlLiteral<Timestamptz> {
    sql("pulseops.now()")
}
