use std::collections::VecDeque;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WAKE;
use crate::bus::{Bus, OpenTransactions};
use crate::db::Db;
use crate::error::{Error, Result};
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
/// How long after a row was sent the transactions are noted that may still bring a lower id: much
/// longer than from taking an id to taking a transaction's number.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Finds what a person set back to unsent.
const FULL_LOOK_EVERY: Duration = Duration::from_secs(30);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long sent rows stay, for people who look for them.
const KEEP_SENT: Duration = Duration::from_secs(3600);
const SWEEP_BATCH: usize = 5_000;
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
}

impl Relay {
    /// For the service whose pool is `db`.
    pub fn new(db: &Db, bus: Arc<dyn Bus>, source: &Source) -> Self {
        Self {
            db: db.clone(),
            bus,
            source: source.clone(),
            woken: db.wakes().subscribe(WAKE),
            bound: LowerBound::default(),
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
        self.bound.looked(Instant::now(), relayed.last_id, relayed.open);
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
        let house = keep_house(self.db.clone(), self.source.clone(), shutdown.clone());
        tokio::join!(self.relay(shutdown), house);
        Ok(())
    }

    async fn relay(&mut self, shutdown: CancellationToken) {
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
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.woken.changed(), if failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        let all = async { while self.step().await.is_ok_and(Progress::worked) {} };
        if tokio::time::timeout(FLUSH_PATIENCE, all).await.is_err() {
            tracing::warn!(service = self.db.service(), "unsent events stay for the next start");
        }
    }
}

/// Counts and sweeps, beside the relay: nobody who was woken waits for it.
async fn keep_house(db: Db, source: Source, shutdown: CancellationToken) {
    loop {
        let kept = async {
            let unsent = unsent(&db).await?;
            metrics::gauge!("pulseops_outbox_unsent", "service" => db.service().to_owned())
                .set(unsent as f64);
            while sweep(&db, &source).await? == SWEEP_BATCH && !shutdown.is_cancelled() {}
            Ok::<_, Error>(())
        };
        if let Err(error) = kept.await {
            tracing::warn!(service = db.service(), error = %error.chain(), "the outbox was not swept");
        }
        let pause = tokio::time::sleep(HOUSEKEEPING_EVERY);
        if shutdown.run_until_cancelled(pause).await.is_none() {
            return;
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
/// stays and does not keep others from going. Returns how many went.
async fn sweep(db: &Db, source: &Source) -> Result<usize> {
    let before = source.now() - TimeDelta::from_std(KEEP_SENT).unwrap_or(TimeDelta::MAX);
    let mut connection = db.connection().await?;
    let sweep = sql(SWEEP).bind::<BigInt, _>(SWEEP_BATCH as i64).bind::<Timestamptz, _>(before);
    Ok(sweep.execute(&mut connection).await?)
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Below which id nothing unsent is looked for. Under a long snapshot the index keeps every sent row,
/// so looking from its beginning grows slower and slower. But ids are given before the commit: a
/// lower one may appear late, and later events of its aggregate must not be sent before it. So the
/// bound follows an id only when every transaction has ended that could bring a lower one. Now and
/// then there is none.
#[derive(Default)]
struct LowerBound {
    settled: i64,
    sent: VecDeque<(Instant, i64)>,
    /// An id, and the transaction number below which all must have ended for it to be settled.
    settling: Option<(i64, i64)>,
    full_look_at: Option<Instant>,
}

impl LowerBound {
    fn at(&mut self, now: Instant) -> i64 {
        if self.full_look_at.is_some_and(|at| now < at) {
            return self.settled;
        }
        self.full_look_at = Some(now + FULL_LOOK_EVERY);
        0
    }

    fn looked(&mut self, now: Instant, sent: Option<i64>, open: OpenTransactions) {
        if let Some((id, _)) = self.settling.take_if(|(_, until)| open.oldest >= *until) {
            self.settled = self.settled.max(id);
        }
        if self.settling.is_none() {
            let mut last = None;
            while let Some((_, id)) =
                self.sent.pop_front_if(|(at, _)| now.duration_since(*at) >= SETTLED_AFTER)
            {
                last = last.max(Some(id));
            }
            self.settling = last.map(|id| (id, open.next));
        }
        let noted = self.sent.back().is_some_and(|(at, _)| now.duration_since(*at) < Duration::from_secs(1));
        if let Some(id) = sent.filter(|_| !noted) {
            self.sent.push_back((now, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_trails_and_waits_for_open_transactions() {
        let start = Instant::now();
        let mut bound = LowerBound::default();
        let mut look = |seconds, sent, oldest, next| {
            bound.looked(start + Duration::from_secs(seconds), sent, OpenTransactions { oldest, next });
            bound.settled
        };
        assert_eq!(look(0, Some(100), 7, 9), 0);
        assert_eq!(look(5, Some(200), 7, 12), 0);
        assert_eq!(look(10, None, 7, 20), 0, "number 7 may still bring 99");
        assert_eq!(look(15, Some(300), 8, 30), 0, "and so may 8 to 19");
        assert_eq!(look(16, None, 20, 31), 100);
        assert_eq!(look(17, None, 31, 31), 200, "nobody was open when it came of age");
        assert_eq!(look(20, None, 40, 40), 200, "too young");
        assert_eq!(look(25, Some(250), 40, 41), 200);
        assert_eq!(look(26, None, 41, 41), 300);
        for second in 30..90 {
            look(second, None, 50, 50);
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!([90, 119, 120, 121].map(|seconds| bound.at(after(seconds))), [0, 300, 0, 300]);
    }
}
