use std::collections::VecDeque;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WAKE;
use crate::bus::Bus;
use crate::db::Db;
use crate::error::Result;
use crate::source::Source;
use crate::sql::sql;
use crate::wake::{Progress, Subscription};
use std::sync::Arc;

/// Rows that one statement moves at most.
const BATCH: i64 = 1_000;
/// The net beneath wake-ups.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// While another process is at it, it may not see what woke us.
const WAIT_FOR_LEADER: Duration = Duration::from_millis(2);
/// No transaction writes an event and commits it later than this, as a rule; the full look catches
/// the exceptions.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
const FULL_LOOK_EVERY: Duration = Duration::from_secs(30);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long sent rows stay, for people who look for them.
const KEEP_SENT: Duration = Duration::from_secs(3600);
const SWEEP_BATCH: i64 = 5_000;
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

const UNSENT: &str =
    "SELECT count(*) AS count FROM (SELECT FROM outbox WHERE sent_at IS NULL LIMIT 100000) o";

const SWEEP: &str = "
DELETE FROM outbox WHERE id IN (
    SELECT id FROM (SELECT id, sent_at FROM outbox ORDER BY id LIMIT $1) oldest WHERE sent_at < $2)";

/// Moves one service's outbox to the bus. Any number of processes may run one; one at a time works.
pub struct Relay {
    db: Db,
    bus: Arc<dyn Bus>,
    source: Source,
    woken: Subscription,
    bound: LowerBound,
    housekeeping_at: Instant,
}

impl Relay {
    /// For the service whose pool is `db`.
    pub fn new(db: &Db, bus: Arc<dyn Bus>, source: &Source) -> Self {
        let now = Instant::now();
        Self {
            db: db.clone(),
            bus,
            source: source.clone(),
            woken: db.wakes().subscribe(WAKE),
            bound: LowerBound::new(now),
            housekeeping_at: now,
        }
    }

    /// Moves what is there, up to one batch.
    ///
    /// # Errors
    /// Those of the database and the bus; then nothing was moved, or its answer was lost.
    pub async fn step(&mut self) -> Result<Progress> {
        let from = self.bound.at(Instant::now());
        crate::failpoint!("relay.before");
        let relayed = self.bus.relay(&self.db, from, BATCH).await?;
        crate::failpoint!("relay.after");
        if let Some(last) = relayed.last_id {
            self.bound.sent(Instant::now(), last);
        }
        if relayed.rows > 0 {
            let service = self.db.service().to_owned();
            metrics::counter!("pulseops_relay_rows_total", "service" => service)
                .increment(relayed.rows.unsigned_abs());
            return Ok(Progress::Worked);
        }
        let next = if relayed.leader { LOOK_EVERY } else { WAIT_FOR_LEADER };
        Ok(Progress::Idle { next: Some(next) })
    }

    /// Relays until `shutdown`, then what is still there. Errors are logged and tried again: what is
    /// written stays written.
    ///
    /// # Errors
    /// None; the type fits the lifecycle.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let mut failures = 0_u32;
        while !shutdown.is_cancelled() {
            // Before the look, so that what comes after it wakes us.
            self.woken.clear();
            let pause = match self.step().await {
                Ok(Progress::Worked) => {
                    failures = 0;
                    continue;
                }
                Ok(Progress::Idle { next }) => {
                    failures = 0;
                    next.unwrap_or(LOOK_EVERY)
                }
                Err(error) => {
                    tracing::warn!(service = self.db.service(), error = %error.chain(), "events were not relayed");
                    failures += 1;
                    LOOK_EVERY.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE)
                }
            };
            self.keep_house().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.woken.changed(), if failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.flush().await;
        Ok(())
    }

    async fn flush(&mut self) {
        let all = async { while self.step().await.is_ok_and(Progress::worked) {} };
        if tokio::time::timeout(FLUSH_PATIENCE, all).await.is_err() {
            tracing::warn!(service = self.db.service(), "unsent events stay for the next start");
        }
    }

    async fn keep_house(&mut self) {
        if Instant::now() < self.housekeeping_at {
            return;
        }
        self.housekeeping_at = Instant::now() + HOUSEKEEPING_EVERY;
        let kept = async {
            let unsent = unsent(&self.db).await?;
            metrics::gauge!("pulseops_outbox_unsent", "service" => self.db.service().to_owned())
                .set(unsent as f64);
            sweep(&self.db, &self.source).await
        };
        if let Err(error) = kept.await {
            tracing::warn!(service = self.db.service(), error = %error.chain(), "the outbox was not swept");
        }
    }
}

/// How many events wait (counted up to 100,000).
///
/// # Errors
/// Those of the database.
pub(super) async fn unsent(db: &Db) -> Result<i64> {
    let mut connection = db.connection().await?;
    Ok(sql(UNSENT).get_result::<Count>(&mut connection).await?.count)
}

/// Removes a batch of old sent rows. Only a prefix of the table is looked at; an unsent row in it
/// stays and does not keep others from going.
async fn sweep(db: &Db, source: &Source) -> Result<()> {
    let before = source.now() - TimeDelta::from_std(KEEP_SENT).unwrap_or(TimeDelta::MAX);
    let mut connection = db.connection().await?;
    sql(SWEEP).bind::<BigInt, _>(SWEEP_BATCH).bind::<Timestamptz, _>(before).execute(&mut connection).await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Below which id nothing unsent is looked for. Under a long snapshot the index keeps every sent row,
/// so looking from its beginning grows slower and slower. But ids are given before the commit: a
/// lower one may appear late. So the bound trails, and now and then there is none.
struct LowerBound {
    sent: VecDeque<(Instant, i64)>,
    settled: i64,
    full_look_at: Instant,
}

impl LowerBound {
    fn new(now: Instant) -> Self {
        Self { sent: VecDeque::new(), settled: 0, full_look_at: now }
    }

    fn sent(&mut self, now: Instant, id: i64) {
        match self.sent.back() {
            Some((at, _)) if now.duration_since(*at) < Duration::from_secs(1) => {}
            _ => self.sent.push_back((now, id)),
        }
    }

    fn at(&mut self, now: Instant) -> i64 {
        while let Some((_, id)) = self.sent.pop_front_if(|(at, _)| now.duration_since(*at) >= SETTLED_AFTER) {
            self.settled = self.settled.max(id);
        }
        if now >= self.full_look_at {
            self.full_look_at = now + FULL_LOOK_EVERY;
            return 0;
        }
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_trails_and_sometimes_there_is_none() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut bound = LowerBound::new(start);
        assert_eq!(bound.at(start), 0);
        bound.sent(start, 100);
        bound.sent(after(5), 200);
        assert_eq!(bound.at(after(9)), 0);
        assert_eq!(bound.at(after(10)), 100);
        assert_eq!(bound.at(after(15)), 200);
        bound.sent(after(15), 150);
        assert_eq!(bound.at(after(29)), 200);
        assert_eq!(bound.at(after(30)), 0);
        assert_eq!(bound.at(after(31)), 200);
    }
}
