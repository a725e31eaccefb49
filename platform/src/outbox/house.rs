//! Counts and sweeps, beside the relay: nobody who was woken waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::sql::sql;

const EVERY: Duration = Duration::from_secs(5);
/// How long sent rows stay, for people who look for them.
const KEEP_SENT: Duration = Duration::from_secs(3600);
const BATCH: i64 = 5_000;
/// Unsent rows that a sweep has passed are looked at again this often.
const FROM_THE_BEGINNING_EVERY: Duration = Duration::from_secs(600);

const COUNT: &str = "
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE sent_at IS NULL AND id >= $1 LIMIT 100000) u) AS unsent,
    (SELECT count(*) FROM outbox WHERE held_at IS NOT NULL) AS held";

// Only a stretch of the table is looked at. An unsent row in it stays and keeps none behind it.
const SWEEP: &str = "
WITH oldest AS (SELECT id, sent_at FROM outbox WHERE id > $1 ORDER BY id LIMIT $2),
gone AS (DELETE FROM outbox o USING oldest s WHERE o.id = s.id AND s.sent_at < $3 RETURNING o.id)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT max(id) FROM gone) AS last";

/// Keeps the outbox of `db`'s service small until `shutdown`. Below `settled` nothing is unsent.
pub(super) async fn keep(db: Db, source: Source, settled: Arc<AtomicI64>, shutdown: CancellationToken) {
    let mut broom = Broom { from: 0, restart_at: Instant::now() + FROM_THE_BEGINNING_EVERY };
    loop {
        let kept = async {
            count(&db, AtomicI64::load(&settled, Ordering::Relaxed)).await?;
            while broom.sweep(&db, &source).await? == BATCH && !shutdown.is_cancelled() {}
            Ok::<_, Error>(())
        };
        if let Err(error) = kept.await {
            tracing::warn!(service = db.service(), error = %error.chain(), "the outbox was not swept");
        }
        let pause = tokio::time::sleep(EVERY);
        if shutdown.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Shows how many events wait (counted up to 100,000) and how many are held.
async fn count(db: &Db, settled: i64) -> Result<()> {
    let mut connection = db.connection().await?;
    let counted = sql(COUNT).bind::<BigInt, _>(settled).get_result::<Counted>(&mut connection).await?;
    let service = db.service().to_owned();
    metrics::gauge!("pulseops_outbox_unsent", "service" => service.clone()).set(counted.unsent as f64);
    metrics::gauge!("pulseops_outbox_held", "service" => service).set(counted.held as f64);
    Ok(())
}

struct Broom {
    /// Nothing sent lies below: an index under a long snapshot keeps what was deleted there.
    from: i64,
    restart_at: Instant,
}

impl Broom {
    /// Removes a batch of old sent rows; returns how many.
    async fn sweep(&mut self, db: &Db, source: &Source) -> Result<i64> {
        if Instant::now() >= self.restart_at {
            *self = Self { from: 0, restart_at: Instant::now() + FROM_THE_BEGINNING_EVERY };
        }
        let before = source.now() - TimeDelta::from_std(KEEP_SENT).unwrap_or(TimeDelta::MAX);
        let mut connection = db.connection().await?;
        let sweep = sql(SWEEP).bind::<BigInt, _>(self.from).bind::<BigInt, _>(BATCH);
        let swept = sweep.bind::<Timestamptz, _>(before).get_result::<Swept>(&mut connection).await?;
        self.from = self.from.max(swept.last.unwrap_or(0));
        Ok(swept.gone)
    }
}

#[derive(diesel::QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    unsent: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
}

#[derive(diesel::QueryableByName)]
struct Swept {
    #[diesel(sql_type = BigInt)]
    gone: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    last: Option<i64>,
}
