//! The statements on the way from an event to a page, and those beside it that go over all
//! organizations, use their indexes.

use platform::testing::TestDb;
use workflow_service::store::{policies, runs, workflows};

use crate::world::OURS;

/// Many tenants; in each a live workflow among archived ones, and runs of resolved incidents that ended one a day.
const CROWD: &str = "
INSERT INTO escalation_policies
SELECT gen_random_uuid(), gen_random_uuid(), 'p', 'P', '', '{}', 0, '{}', now(), '', now(), '', 1, NULL
FROM generate_series(1, 1000);
INSERT INTO workflows
SELECT org, gen_random_uuid(), 'w-' || n, 'W', '{created}', '', 0, '{}', 0, '', false, '{}', now(), '', now(), '', 1,
    CASE WHEN n > 1 THEN now() END
FROM (SELECT gen_random_uuid() AS org FROM generate_series(1, 20)) o, generate_series(1, 50) n;
INSERT INTO runs
SELECT org, gen_random_uuid(), 'policy', gen_random_uuid(), 'R', gen_random_uuid(), 1, 'event:1', gen_random_uuid(), 1, 0, '',
    'succeeded', '{}', '{}', '', 0, NULL, now(), now(), now(), now() - n * interval '1 day', '', NULL, NULL, 1, 1
FROM (SELECT gen_random_uuid() AS org FROM generate_series(1, 20)) o, generate_series(1, 500) n;
INSERT INTO incident_states
SELECT org_id, incident_id, 1, 'resolved', 1, now() FROM runs;
INSERT INTO run_steps
SELECT org_id, gen_random_uuid(), id, '1', 'http', 'succeeded', '', 1, 0, 0, now(), now(), NULL, NULL FROM runs;
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

#[tokio::test]
async fn the_runs_of_an_incident_are_found_by_it() {
    let plan = plan(runs::OF_INCIDENTS, &[IDS, IDS]).await;
    assert!(plan.contains("Index Cond: ((org_id = k.org_id) AND (incident_id = k.incident_id))"), "{plan}");
}

#[tokio::test]
async fn runs_that_leave_are_found_by_their_end() {
    let plan = plan(runs::SWEEP, &["'1970-01-01'", "now() - interval '499 days'", "200"]).await;
    assert!(plan.contains("runs_ended_at_idx"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}
