//! Beneath the code, the database keeps organizations apart.

use std::fmt::Write as _;

use platform::testing::{TestDb, unguarded_tables, watched_tables};
use pulseops::roles::migrations;
use tokio_postgres::Client as Admin;

use crate::fixture::Fixture;
use crate::world::TestPlatform;

const SCHEMAS: &str = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'pulseops\\_%' ORDER BY 1";
const TENANT_TABLES: &str = "SELECT c.oid::regclass::text FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname LIKE 'pulseops\\_%' AND c.relkind IN ('r', 'p') AND c.relrowsecurity ORDER BY 1";
/// A partition that is read by its own name is not under its parent's policy.
const OPEN_PARTITIONS: &str = "SELECT format('%s, read by %s', c.oid::regclass, r.rolname) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN pg_roles r \
    WHERE n.nspname LIKE 'pulseops\\_%' AND c.relispartition AND c.relkind IN ('r', 'p') \
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity) \
    AND r.rolname LIKE 'pulseops\\_%' AND r.rolname <> 'pulseops_owner' AND r.rolname NOT LIKE '%\\_sys' \
    AND has_table_privilege(r.oid, c.oid, 'SELECT') ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_guarded_or_listed() {
    let platform = TestPlatform::start().await;
    let admin = platform.admin().await;
    for schema in names(&admin, SCHEMAS).await {
        assert_eq!(unguarded_tables(&admin, &schema).await, Vec::<String>::new(), "{schema}");
    }
    assert_eq!(names(&admin, OPEN_PARTITIONS).await, Vec::<String>::new());
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
        // One view of the table for all looks, because the services go on writing.
        admin.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begun");
        let all: i64 = count(&admin, &format!("SELECT count(*) FROM {table}")).await;
        let of_ours = count(&admin, &format!("SELECT count(*) FROM {table} WHERE org_id = '{ours}'")).await;
        let role = table.split('.').next().expect("a schema").to_owned();
        let look = async |org: &str, filter: &str| {
            let opened = format!("SET LOCAL ROLE {role}; SET LOCAL pulseops.org = '{org}'");
            admin.batch_execute(&opened).await.expect("the role exists");
            count(&admin, &format!("SELECT count(*) FROM {table} {filter}")).await
        };
        assert_eq!(look("", "").await, 0, "{table}: without an organization");
        // With the code's own filter removed.
        assert_eq!(look(ours, "").await, of_ours, "{table}: all of ours and nothing else, of {all}");
        let filter = format!("WHERE org_id = '{ours}'");
        assert_eq!(look(theirs, &filter).await, 0, "{table}: ours, asked for by the others");
        admin.batch_execute("ROLLBACK").await.expect("rolled back");
        seen += i64::from(of_ours > 0);
    }
    assert!(seen >= 20, "the fixture fills most tables, or this shows nothing: {seen}");
    platform.forgive();
}

/// What `settle` and `left_behind` find by columns is everything that they must look at.
#[tokio::test(flavor = "multi_thread")]
async fn every_outbox_and_every_leased_table_is_watched() {
    let db = TestDb::with(&migrations()).await;
    let watched = [
        "pulseops_analytics.outbox",
        "pulseops_auth.outbox",
        "pulseops_incident.outbox",
        "pulseops_notification.outbox",
        "pulseops_workflow.outbox",
        "pulseops_incident.alerts",
        "pulseops_notification.notifications",
        "pulseops_workflow.runs",
    ];
    assert_eq!(watched_tables(&db.admin().await).await, watched);
}

async fn names(admin: &Admin, sql: &str) -> Vec<String> {
    admin.query(sql, &[]).await.expect("the catalog").iter().map(|row| row.get(0)).collect()
}

async fn count(admin: &Admin, sql: &str) -> i64 {
    admin.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}
