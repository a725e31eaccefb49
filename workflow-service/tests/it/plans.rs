//! The statements on the way from an event to a page use their indexes.

use platform::testing::TestDb;
use workflow_service::store::{policies, workflows};

use crate::world::OURS;

/// Many tenants; in each a live workflow among archived ones.
const CROWD: &str = "
INSERT INTO escalation_policies
SELECT gen_random_uuid(), gen_random_uuid(), 'p', 'P', '', '{}', 0, '{}', now(), '', now(), '', 1, NULL
FROM generate_series(1, 1000);
INSERT INTO workflows
SELECT org, gen_random_uuid(), 'w-' || n, 'W', '{created}', '', 0, '{}', 0, '', false, '{}', now(), '', now(), '', 1,
    CASE WHEN n > 1 THEN now() END
FROM (SELECT gen_random_uuid() AS org FROM generate_series(1, 20)) o, generate_series(1, 50) n;
ANALYZE";

/// The plan of `sql` with these values, among the rows of a crowd.
async fn plan(sql: &str, values: &[&str]) -> String {
    let db = TestDb::with(&[OURS]).await;
    let admin = db.admin().await;
    admin.batch_execute("SET search_path TO pulseops_workflow").await.expect("our schema");
    admin.batch_execute(CROWD).await.expect("inserted");
    let filled =
        (1..).zip(values).fold(sql.to_owned(), |sql, (n, value)| sql.replace(&format!("${n}"), value));
    let rows = admin.query(&format!("EXPLAIN {filled}"), &[]).await.expect("a plan");
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

const IDS: &str = "'{00000000-0000-0000-0000-000000000001}'::uuid[]";

#[tokio::test]
async fn policies_are_found_by_organization_and_id() {
    let plan = plan(policies::OF_ALL, &[IDS, IDS]).await;
    assert!(plan.contains("Index Cond: ((org_id = k.org_id) AND (id = k.id))"), "{plan}");
}

#[tokio::test]
async fn workflows_are_found_among_the_live_ones_of_their_organization() {
    let plan = plan(workflows::TRIGGERED, &[IDS, "'{created}'::text[]", IDS]).await;
    assert!(plan.contains("workflows_live_idx"), "{plan}");
}
