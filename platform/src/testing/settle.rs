//! Whether everything that is under way has come to rest.

use std::time::Duration;

use tokio_postgres::Client;

use super::{TestDb, eventually};

/// Schemas that have an outbox.
const OUTBOXES: &str = "
SELECT table_schema::text FROM information_schema.tables
WHERE table_name = 'outbox' AND table_schema LIKE 'pulseops\\_%' ORDER BY 1";

/// Tables whose rows are work that is due at a time.
const LEASED: &str = "
SELECT table_schema || '.' || table_name FROM information_schema.columns
WHERE table_schema LIKE 'pulseops\\_%' AND column_name IN ('due_at', 'lease_until', 'epoch', 'attempts')
GROUP BY 1 HAVING count(*) = 4 ORDER BY 1";

impl TestDb {
    /// Waits until nothing is unsent in any outbox, every consumer's position is at its log's end
    /// and no leased row is due. Something must run relays, consumers and drivers meanwhile.
    ///
    /// # Panics
    /// When `deadline` passes first; it says what was still under way.
    pub async fn settle(&self, deadline: Duration) {
        let admin = self.admin().await;
        let rest = async || unsettled(&admin).await.is_empty().then_some(());
        if tokio::time::timeout(deadline, eventually(Duration::MAX, rest)).await.is_err() {
            panic!("not settled within {deadline:?}: {:?}", unsettled(&self.admin().await).await);
        }
    }
}

/// The tables that [`unsettled`] and [`left_behind`] look at: every outbox, then every leased table. They are
/// found by their columns; a test over all services compares them with what it knows.
pub async fn watched_tables(admin: &Client) -> Vec<String> {
    let outboxes = names(admin, OUTBOXES).await.into_iter().map(|schema| format!("{schema}.outbox"));
    outboxes.chain(names(admin, LEASED).await).collect()
}

/// What is still under way, in words. Whatever is handed on leaves one table and comes into another in
/// one commit, so one snapshot sees it in one of them.
pub async fn unsettled(admin: &Client) -> Vec<String> {
    snapshot(admin).await;
    let mut found = unsent(admin).await;
    for schema in names(admin, OUTBOXES).await {
        let behind = format!(
            "SELECT coalesce(sum(l.next - p.next), 0)::int8
             FROM {schema}.positions p
             JOIN pulseops_bus.topics t ON t.name = p.topic
             JOIN LATERAL (SELECT base_offset + count AS next FROM pulseops_bus.log
                           WHERE topic_id = t.id AND partition = p.partition
                           ORDER BY base_offset DESC LIMIT 1) l ON true"
        );
        found.extend(counted(admin, &behind, &format!("records not consumed by {schema}")).await);
    }
    for table in names(admin, LEASED).await {
        let due = format!("SELECT count(*) FROM {table} WHERE due_at <= pulseops.now()");
        found.extend(counted(admin, &due, &format!("due rows of {table}")).await);
    }
    execute(admin, "COMMIT").await;
    found
}

/// What must not be left when everything has come to rest, in words: unsent events, dead letters, due rows
/// that nobody holds.
pub async fn left_behind(admin: &Client) -> Vec<String> {
    snapshot(admin).await;
    let mut found = unsent(admin).await;
    let dead = "SELECT count(*) FROM pulseops_bus.dead_letters WHERE state <> 'replayed'";
    found.extend(counted(admin, dead, "dead letters").await);
    for table in names(admin, LEASED).await {
        let unheld = format!(
            "SELECT count(*) FROM {table} WHERE due_at <= pulseops.now()
             AND (lease_until IS NULL OR lease_until < pulseops.now())"
        );
        found.extend(counted(admin, &unheld, &format!("due rows of {table} that nobody holds")).await);
    }
    execute(admin, "COMMIT").await;
    found
}

async fn snapshot(admin: &Client) {
    // A look that somebody gave up is still open.
    execute(admin, "ROLLBACK").await;
    execute(admin, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
}

async fn execute(admin: &Client, sql: &str) {
    admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn unsent(admin: &Client) -> Vec<String> {
    let mut found = Vec::new();
    for schema in names(admin, OUTBOXES).await {
        let unsent = format!("SELECT count(*) FROM {schema}.outbox WHERE sent_at IS NULL");
        found.extend(counted(admin, &unsent, &format!("unsent events of {schema}")).await);
    }
    found
}

async fn counted(admin: &Client, sql: &str, what: &str) -> Option<String> {
    let count: i64 = query(admin, sql).await[0].get(0);
    (count != 0).then(|| format!("{count} {what}"))
}

async fn names(admin: &Client, sql: &str) -> Vec<String> {
    query(admin, sql).await.iter().map(|row| row.get(0)).collect()
}

async fn query(admin: &Client, sql: &str) -> Vec<tokio_postgres::Row> {
    admin.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}
