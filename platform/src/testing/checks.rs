//! Checks that every owner of tables runs over its migrations.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::server::{self, Server};
use crate::migrate::{self, Migrations};

/// The three tests that every owner of tables has: its `src/schema.rs` is what the migrations make
/// ([`assert_schema_current`](crate::testing::assert_schema_current)), they go down and up again
/// ([`assert_reversible`]), and every table is guarded ([`unguarded_tables`]). `$ours` is its
/// [`Migrations`].
#[macro_export]
macro_rules! schema_tests {
    ($ours:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn schema_is_current() {
            let db = $crate::testing::TestDb::with(&[$ours]).await;
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
            $crate::testing::assert_schema_current(&db, $ours.owner, path).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn migrations_go_down_and_up_again() {
            $crate::testing::assert_reversible(&[$ours]).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn every_table_is_guarded_or_listed() {
            let db = $crate::testing::TestDb::with(&[$ours]).await;
            let schema = format!("pulseops_{}", $ours.owner);
            let unguarded = $crate::testing::unguarded_tables(&db.admin().await, &schema).await;
            assert_eq!(unguarded, Vec::<String>::new());
        }
    };
}

/// Tables of `schema` that have no forced row-level security and do not stand in the list of
/// exemptions. Must be empty for every schema.
pub async fn unguarded_tables(admin: &Client, schema: &str) -> Vec<String> {
    let sql = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
        AND NOT (c.relrowsecurity AND c.relforcerowsecurity) \
        AND NOT EXISTS (SELECT FROM pulseops.exempt_tables e \
                        WHERE e.schema_name = n.nspname AND e.table_name = c.relname) \
        ORDER BY 1";
    let rows = admin.query(sql, &[&schema]).await.expect("the catalog");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Migrates an empty database up, all the way down and up again: down must leave nothing behind,
/// and both times up must make the same.
///
/// # Panics
/// When one of that does not hold.
pub async fn assert_reversible(services: &[Migrations]) {
    let server = Server::shared().await;
    let name = super::name_of_test();
    let admin = server::connect(&server.url("postgres")).await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("an empty database");
    let url = server.url(&name);
    let before = objects(&url).await;
    migrate::run(&url, services).await.expect("up");
    let first = objects(&url).await;
    migrate::revert(&url, services, true).await.expect("down");
    let left: Vec<String> = objects(&url).await.difference(&before).cloned().collect();
    assert!(left.is_empty(), "down leaves behind: {left:?}");
    migrate::run(&url, services).await.expect("up again");
    assert_eq!(objects(&url).await, first, "up again makes something else");
    server.drop_database(&name);
}

/// Every schema, relation, column, function, policy and constraint outside of the catalog.
async fn objects(url: &str) -> BTreeSet<String> {
    let sql = "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE 'pulseops%' \
        UNION ALL SELECT 'relation ' || oid::regclass::text || ' ' || relkind::text FROM pg_class \
            WHERE relnamespace::regnamespace::text LIKE 'pulseops%' AND relkind <> 't' \
        UNION ALL SELECT 'column ' || attrelid::regclass::text || '.' || attname || ' ' || \
            format_type(atttypid, atttypmod) || ' ' || attnotnull::text \
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
            WHERE c.relnamespace::regnamespace::text LIKE 'pulseops%' AND c.relkind <> 't' \
            AND attnum > 0 AND NOT attisdropped \
        UNION ALL SELECT 'function ' || oid::regprocedure::text FROM pg_proc \
            WHERE pronamespace::regnamespace::text LIKE 'pulseops%' \
        UNION ALL SELECT 'policy ' || polname || ' on ' || polrelid::regclass::text FROM pg_policy \
        UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) \
            FROM pg_constraint WHERE connamespace::regnamespace::text LIKE 'pulseops%'";
    let rows = server::connect(url).await.query(sql, &[]).await.expect("the catalog");
    rows.iter().map(|row| row.get(0)).collect()
}
