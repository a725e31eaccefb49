use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::AsyncPgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::bus::Delivered;
use crate::consumer::{After, BatchCtx, Handler};
use crate::error::{Error, Result};
use crate::sql::sql;
use crate::testing::{SOON, TestDb};

const APPLY: &str = "
INSERT INTO effects (event_id, subject, version, times)
SELECT event_id, subject, version, 1 FROM unnest($1, $2, $3) AS e(event_id, subject, version)
ON CONFLICT (event_id) DO UPDATE SET times = effects.times + 1";

/// A handler that counts in its database how often each event took effect. A payload of `poison`,
/// `broken` or `away` fails as Invalid, Internal or Unavailable until [`heal`](Self::heal).
#[derive(Default)]
pub struct Ledger {
    /// How often the handler was called.
    pub calls: AtomicUsize,
    /// How many records it has told after their commit.
    pub told: AtomicUsize,
    /// Partitions that it was told to forget.
    pub lost: Mutex<Vec<i32>>,
    /// The halted call says so here and stops…
    entered: Notify,
    /// …until it is let go.
    pub go: Notify,
    halt: AtomicBool,
    healed: AtomicBool,
}

impl Ledger {
    /// Name under which it consumes.
    pub const CONSUMER: &'static str = "ledger";

    /// Makes the table of effects.
    pub async fn prepare(db: &TestDb) {
        let sql = "CREATE TABLE pulseops_bare.effects (
                id int8 GENERATED ALWAYS AS IDENTITY, event_id uuid PRIMARY KEY, subject text NOT NULL,
                version int8 NOT NULL, times int4 NOT NULL);
            GRANT ALL ON pulseops_bare.effects TO pulseops_bare, pulseops_bare_sys";
        db.admin().await.batch_execute(sql).await.expect("the table of effects");
    }

    /// Makes the next call stop inside of its transaction.
    pub fn halt(&self) {
        self.halt.store(true, Ordering::SeqCst);
    }

    /// Waits until the halted call has stopped.
    pub async fn halted(&self) {
        tokio::time::timeout(SOON, self.entered.notified()).await.expect("the handler is called");
    }

    /// Lets bad payloads pass from now on.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// How many events took effect; panics when one did so more than once.
    pub async fn effects(db: &TestDb) -> usize {
        Self::subjects_and_versions(db).await.len()
    }

    /// What took effect, in order.
    pub async fn subjects_and_versions(db: &TestDb) -> Vec<(String, i64)> {
        use diesel_async::RunQueryDsl;
        let mut connection = db.db("bare").begin_system("test").await.expect("the database answers");
        let rows: Vec<Effect> = sql("SELECT subject, version, times FROM effects ORDER BY id")
            .load(&mut *connection)
            .await
            .expect("the table of effects");
        connection.rollback().await.expect("the database answers");
        assert!(rows.iter().all(|row| row.times == 1), "an event took effect twice");
        rows.into_iter().map(|row| (row.subject, row.version)).collect()
    }

    fn judge(&self, batch: &[Delivered]) -> Result<()> {
        if self.healed.load(Ordering::SeqCst) {
            return Ok(());
        }
        for delivered in batch {
            match &delivered.record.data[..] {
                b"poison" => return Err(Error::invalid("poison", "this record is poison")),
                b"broken" => return Err(Error::internal("this record breaks us")),
                b"away" => return Err(Error::unavailable("away", "what it needs is away")),
                b"panic" => panic!("this record makes us panic"),
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for Ledger {
    async fn handle(&self, _: &BatchCtx, conn: &mut AsyncPgConnection, batch: &[Delivered]) -> Result<After> {
        // In here, because its `load` would hide that of the atomics.
        use diesel_async::RunQueryDsl;
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.judge(batch)?;
        let envelopes = || batch.iter().map(|delivered| &delivered.record.envelope);
        sql(APPLY)
            .bind::<Array<diesel::sql_types::Uuid>, _>(envelopes().map(|e| e.id).collect::<Vec<Uuid>>())
            .bind::<Array<Text>, _>(envelopes().map(|e| e.subject.as_str()).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(envelopes().map(|e| e.version).collect::<Vec<_>>())
            .execute(conn)
            .await?;
        if self.halt.swap(false, Ordering::SeqCst) {
            self.entered.notify_one();
            self.go.notified().await;
        }
        self.told.fetch_add(batch.len(), Ordering::SeqCst);
        Ok(After::none())
    }

    fn lost(&self, partition: i32) {
        self.lost.lock().expect("no panic holds it").push(partition);
    }
}

#[derive(diesel::QueryableByName)]
struct Effect {
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Integer)]
    times: i32,
}
