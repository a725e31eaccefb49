//! Beneath the code, the database keeps organizations apart.

use std::fmt::Write as _;

use platform::testing::unguarded_tables;
use tokio_postgres::Client as Admin;

use crate::fixture::Fixture;
use crate::support::left::names;
use crate::world::TestPlatform;

const SCHEMAS: &str = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'pulseops\\_%' ORDER BY 1";
const TENANT_TABLES: &str = "SELECT c.oid::regclass::text FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname LIKE 'pulseops\\_%' AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
    AND c.relrowsecurity ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_guarded_or_listed() {
    let platform = TestPlatform::start().await;
    let admin = platform.admin().await;
    for schema in names(&admin, SCHEMAS).await {
        assert_eq!(unguarded_tables(&admin, &schema).await, Vec::<String>::new(), "{schema}");
    }
    let sql = "SELECT schema_name || '.' || table_name, reason FROM pulseops.exempt_tables ORDER BY 1";
    let mut list = String::new();
    for row in admin.query(sql, &[]).await.expect("the list") {
        writeln!(list, "{:<44} {}", row.get::<_, String>(0), row.get::<_, String>(1))
            .expect("a string grows");
    }
    insta::assert_snapshot!("exempt_tables", list);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_role_sees_its_organization_and_nothing_else() {
    let mut platform = TestPlatform::start().await;
    let fixture = Fixture::make(&platform).await;
    let admin = platform.admin().await;
    let (ours, theirs) = (&fixture.owner.org, &fixture.other.org);
    let mut seen = 0;
    for table in names(&admin, TENANT_TABLES).await {
        let all: i64 = count(&admin, &format!("SELECT count(*) FROM {table}")).await;
        let of_ours = count(&admin, &format!("SELECT count(*) FROM {table} WHERE org_id = '{ours}'")).await;
        let role = table.split('.').next().expect("a schema").to_owned();
        let look = async |org: &str, filter: &str| {
            let opened = format!("BEGIN; SET LOCAL ROLE {role}; SET LOCAL pulseops.org = '{org}'");
            admin.batch_execute(&opened).await.expect("the role exists");
            let found = count(&admin, &format!("SELECT count(*) FROM {table} {filter}")).await;
            admin.batch_execute("ROLLBACK").await.expect("rolled back");
            found
        };
        assert_eq!(look("", "").await, 0, "{table}: without an organization");
        // With the code's own filter removed.
        assert_eq!(look(ours, "").await, of_ours, "{table}: all of ours and nothing else, of {all}");
        let filter = format!("WHERE org_id = '{ours}'");
        assert_eq!(look(theirs, &filter).await, 0, "{table}: ours, asked for by the others");
        seen += i64::from(of_ours > 0);
    }
    assert!(seen >= 20, "the fixture fills most tables, or this shows nothing: {seen}");
    platform.forgive();
}

async fn count(admin: &Admin, sql: &str) -> i64 {
    admin.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}
