//! Queries, one file a noun. Row types are the domain's types.

use diesel::sql_types::{Array, BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::Result;
use platform::sql::sql;
use sha2::{Digest, Sha256};

/// `get`, `get_for_update`, `update` and `archive` of a table of destinations.
macro_rules! destinations {
    ($table:ident, $row:ident, $change:ident, $id:ident, $noun:literal) => {
        pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: $id) -> Result<$row> {
            let row = $table::table.find((org, id)).select($row::as_select()).first(conn).await.optional()?;
            row.ok_or_else(|| Error::not_found($noun))
        }

        /// Locks the row until the transaction ends.
        pub async fn get_for_update(conn: &mut AsyncPgConnection, org: OrgId, id: $id) -> Result<$row> {
            let query = $table::table.find((org, id)).select($row::as_select()).for_update();
            query.first(conn).await.optional()?.ok_or_else(|| Error::not_found($noun))
        }

        pub async fn update(
            conn: &mut AsyncPgConnection,
            org: OrgId,
            id: $id,
            change: &$change,
        ) -> Result<$row> {
            let row = diesel::update($table::table.find((org, id)))
                .set((change, $table::version.eq($table::version + 1)))
                .returning($row::as_returning())
                .get_result(conn)
                .await?;
            Ok(row)
        }

        pub async fn archive(
            conn: &mut AsyncPgConnection,
            org: OrgId,
            id: $id,
            at: DateTime<Utc>,
            by: Uuid,
        ) -> Result<()> {
            diesel::update($table::table.find((org, id)))
                .set((
                    $table::archived_at.eq(at),
                    $table::updated_at.eq(at),
                    $table::updated_by.eq(by),
                    $table::version.eq($table::version + 1),
                ))
                .execute(conn)
                .await?;
            Ok(())
        }
    };
}

pub mod attempts;
pub mod channels;
pub mod codes;
pub mod contact_methods;
pub mod messages;
pub mod notifications;
pub mod order;
pub mod people;
#[cfg(test)]
mod plans;

/// Makes transactions about `what` go one after the other, until each ends.
pub async fn lock(conn: &mut AsyncPgConnection, what: &str) -> Result<()> {
    lock_all(conn, std::iter::once(what.to_owned())).await
}

/// The same for several things, always in the same order.
async fn lock_all(conn: &mut AsyncPgConnection, what: impl Iterator<Item = String>) -> Result<()> {
    let mut keys: Vec<i64> = what.map(|what| lock_key(&what)).collect();
    keys.sort_unstable();
    let locks = sql("SELECT pg_advisory_xact_lock(key) FROM unnest($1) key");
    locks.bind::<Array<BigInt>, _>(keys).execute(conn).await?;
    Ok(())
}

fn lock_key(what: &str) -> i64 {
    let hash = Sha256::digest(format!("notification/{what}"));
    i64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 hash has 32 bytes"))
}
