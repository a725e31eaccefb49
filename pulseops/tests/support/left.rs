//! What must not be left when everything has come to rest.

use tokio_postgres::Client as Admin;

const OUTBOXES: &str = "SELECT table_schema::text FROM information_schema.tables \
    WHERE table_name = 'outbox' AND table_schema LIKE 'pulseops\\_%'";
const LEASED: &str = "SELECT table_schema || '.' || table_name FROM information_schema.columns \
    WHERE table_schema LIKE 'pulseops\\_%' AND column_name IN ('due_at', 'lease_until', 'epoch', 'attempts') \
    GROUP BY 1 HAVING count(*) = 4";

/// Unsent events, dead letters and ended leases, in words.
pub async fn left_behind(admin: &Admin) -> Vec<String> {
    let mut counts = vec![(
        "dead letters".to_owned(),
        "SELECT count(*) FROM pulseops_bus.dead_letters WHERE state <> 'replayed'".to_owned(),
    )];
    for schema in names(admin, OUTBOXES).await {
        let sql = format!("SELECT count(*) FROM {schema}.outbox WHERE sent_at IS NULL");
        counts.push((format!("unsent events of {schema}"), sql));
    }
    for table in names(admin, LEASED).await {
        let sql = format!(
            "SELECT count(*) FROM {table} WHERE due_at <= pulseops.now() \
             AND (lease_until IS NULL OR lease_until < pulseops.now())"
        );
        counts.push((format!("due rows of {table} that nobody holds"), sql));
    }
    let mut left = Vec::new();
    for (what, sql) in counts {
        let count: i64 = admin.query_one(&sql, &[]).await.expect("counted").get(0);
        if count > 0 {
            left.push(format!("{count} {what}"));
        }
    }
    left
}

pub async fn names(admin: &Admin, sql: &str) -> Vec<String> {
    admin.query(sql, &[]).await.expect("the catalog").iter().map(|row| row.get(0)).collect()
}
