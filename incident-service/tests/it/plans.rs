//! The statements that every batch of events makes use their indexes.

use incident_service::store::{alerts, windows};
use platform::testing::TestDb;

use crate::world::OURS;

/// Many tenants; in each many open alerts among many more that are resolved, and many windows.
const CROWD: &str = "
ALTER TABLE alerts DROP CONSTRAINT alerts_service_id_fkey;
INSERT INTO alerts (org_id, id, service_id, source_kind, source_id, source_name, dedup_key, status, severity, title, labels,
    attributes, count, started_at, last_at, resolved_at, version)
SELECT org, gen_random_uuid(), service, 'rule', rule, 'R', 'key-' || n,
    CASE WHEN n % 5 = 0 THEN 'firing' ELSE 'resolved' END, 'high', 'T', '{}', '{}', 1, now(), now(),
    CASE WHEN n % 5 > 0 THEN now() END, 1
FROM (SELECT gen_random_uuid() AS org, gen_random_uuid() AS service, gen_random_uuid() AS rule
    FROM generate_series(1, 20)) o, generate_series(1, 500) n;
INSERT INTO windows
SELECT org, rule, gen_random_uuid(), 1, '', now()
FROM (SELECT gen_random_uuid() AS org, gen_random_uuid() AS rule FROM generate_series(1, 20)) o, generate_series(1, 500);
ANALYZE";

const IDS: &str = "'{00000000-0000-0000-0000-000000000001}'::uuid[]";

/// The plan of `sql` with these values, among the rows of a crowd.
async fn plan(sql: &str, values: &[&str]) -> String {
    let db = TestDb::with(&[OURS]).await;
    let admin = db.admin().await;
    admin.batch_execute("SET search_path TO pulseops_incident").await.expect("our schema");
    admin.batch_execute(CROWD).await.expect("inserted");
    let filled =
        (1..).zip(values).fold(sql.to_owned(), |sql, (n, value)| sql.replace(&format!("${n}"), value));
    let rows = admin.query(&format!("EXPLAIN {filled}"), &[]).await.expect("a plan");
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

#[tokio::test]
async fn open_alerts_are_found_by_their_key() {
    let plan = plan(alerts::LOCK_OPEN, &[IDS, IDS, IDS, "'{key-5}'::text[]"]).await;
    assert!(plan.contains("alerts_open_key"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn windows_are_found_by_rule_and_group() {
    let plan = plan(windows::LOAD, &[IDS, IDS, IDS]).await;
    assert!(plan.contains("windows_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}
