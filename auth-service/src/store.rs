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
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::Result;

/// The database's clock, which leases and expiries are compared with.
pub fn database_now() -> SqlLiteral<Timestamptz> {
    sql("pulseops.now()")
}

/// The time at which this is asked. Under a lock it is later than all that was signed under the locks
/// that it waited for, whichever process signed it: both times are of one clock.
pub async fn now(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>> {
    Ok(diesel::select(database_now()).get_result(conn).await?)
}
