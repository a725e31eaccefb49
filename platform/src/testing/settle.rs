//! Whether everything that is under way has come to rest.

use std::time::Duration;

use tokio_postgres::Client;

use super::{TestDb, eventually};

const OUTBOXES: &str = "
SELECT table_schema::text FROM information_schema.tables
WHERE table_name = 'outbox' AND table_schema LIKE 'pulseops\\_%' ORDER BY 1";

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
            panic!("not settled within {deadline:?}: {:?}", unsettled(&admin).await);
        }
    }
}

/// What is still under way, in words.
pub async fn unsettled(admin: &Client) -> Vec<String> {
    let mut found = Vec::new();
    for row in query(admin, OUTBOXES).await {
        let schema: String = row.get(0);
        let unsent = format!("SELECT count(*) FROM {schema}.outbox WHERE sent_at IS NULL");
        found.extend(counted(admin, &unsent, &format!("unsent events of {schema}")).await);
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
    for row in query(admin, LEASED).await {
        let table: String = row.get(0);
        let due = format!("SELECT count(*) FROM {table} WHERE due_at <= pulseops.now()");
        found.extend(counted(admin, &due, &format!("due rows of {table}")).await);
    }
    found
}

async fn counted(admin: &Client, sql: &str, what: &str) -> Option<String> {
    let count: i64 = query(admin, sql).await[0].get(0);
    (count != 0).then(|| format!("{count} {what}"))
}

async fn query(admin: &Client, sql: &str) -> Vec<tokio_postgres::Row> {
    admin.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}
