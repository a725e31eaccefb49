use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Claim, Handle, LEASE_LOST, Work, claims, wake_name};
use crate::consumer::panic_text;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::wake::{Progress, Subscription};

/// The net beneath wake-ups and known due times.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often the oldest unfinished row is looked up. Between two such looks nothing is searched for
/// below it, because the index may be full of finished rows there.
const BOUND_EVERY: Duration = Duration::from_secs(30);
/// Rows may be inserted with a due time that lies this much back; [`claims::finish`] lets none lie
/// back half as much.
const LATE: TimeDelta = TimeDelta::seconds(60);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// While the database does not answer. What was due meanwhile starts this late after it does again.
const LONGEST_LOOK_PAUSE: Duration = Duration::from_secs(2);
/// How long started steps may take to end after shutdown.
const GRACE: Duration = Duration::from_secs(20);

/// Finds the due rows of one table and steps them, some at a time.
pub struct Driver<W> {
    db: Db,
    work: Arc<W>,
    source: Source,
    handle: Handle,
    concurrency: usize,
    running: JoinSet<()>,
    started: HashMap<Id, Claim>,
    woken: Subscription,
    low: DateTime<Utc>,
    bound_at: Instant,
    look_at: Instant,
}

impl<W: Work> Driver<W> {
    /// A driver of `work`'s table behind `db`, stepping up to `concurrency` rows at a time. Those who
    /// insert rows hold clones of `handle`.
    pub fn new(db: &Db, work: Arc<W>, source: &Source, handle: Handle, concurrency: usize) -> Self {
        let now = Instant::now();
        Self {
            db: db.clone(),
            work,
            source: source.clone(),
            handle,
            concurrency: concurrency.max(1),
            running: JoinSet::new(),
            started: HashMap::new(),
            woken: db.wakes().subscribe(&wake_name(W::TABLE)),
            low: DateTime::<Utc>::MIN_UTC,
            bound_at: now,
            look_at: now,
        }
    }

    /// Steps everything that is due now, as far as it can be taken at once, and waits for it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<Progress> {
        self.start_queued();
        self.look_at = Instant::now();
        let next = self.look().await?;
        let worked = !self.running.is_empty();
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
        Ok(if worked { Progress::Worked } else { Progress::Idle { next } })
    }

    /// Drives until `shutdown`; then steps that have begun may end, the others are given back.
    ///
    /// # Errors
    /// None; the type fits the lifecycle.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let handle = self.handle.clone();
        let mut renew = tokio::time::interval_at(Instant::now() + RENEW_EVERY, RENEW_EVERY);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0_u32;
        while !shutdown.is_cancelled() {
            self.start_queued();
            match self.look().await {
                Ok(_) => failures = 0,
                Err(error) => {
                    tracing::warn!(table = W::TABLE, error = %error.chain(), "due work was not looked for");
                    failures += 1;
                    self.look_at = Instant::now() + pause_after(failures).min(LONGEST_LOOK_PAUSE);
                }
            }
            let free = self.has_room();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = renew.tick() => self.renew().await,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = handle.0.filled.notified(), if free => {}
                () = self.woken.changed(), if free && failures == 0 => self.look_at = Instant::now(),
                () = tokio::time::sleep_until(self.look_at), if free => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// Room enough to be worth a look: not one statement for every row that ends.
    fn has_room(&self) -> bool {
        (self.concurrency - self.running.len().min(self.concurrency)) * 4 >= self.concurrency
    }

    fn start_queued(&mut self) {
        while self.running.len() < self.concurrency {
            let Some(claim) = self.handle.claims().pop_front() else { return };
            self.start(claim);
        }
    }

    fn start(&mut self, claim: Claim) {
        let (db, work, source) = (self.db.clone(), Arc::clone(&self.work), self.source.clone());
        let task = self.running.spawn(async move { perform(&db, &*work, &source, claim).await });
        self.started.insert(task.id(), claim);
        metrics::gauge!("pulseops_leased_in_flight", "table" => W::TABLE).set(self.running.len() as f64);
    }

    fn ended(&mut self, ended: std::result::Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.started.remove(&id);
        metrics::gauge!("pulseops_leased_in_flight", "table" => W::TABLE).set(self.running.len() as f64);
    }

    /// Claims and starts due rows when it is time. Returns the time until the next is due.
    async fn look(&mut self) -> Result<Option<Duration>> {
        if Instant::now() < self.look_at || !self.has_room() {
            return Ok(None);
        }
        self.woken.clear();
        self.raise_bound().await?;
        let room = self.concurrency - self.running.len();
        let found = claims::claim(&self.db, W::TABLE, self.low, room as i64).await?;
        crate::failpoint!("leased.after_claim");
        let full = found.claims.len() == room;
        metrics::counter!("pulseops_leased_claims_total", "table" => W::TABLE)
            .increment(found.claims.len() as u64);
        for claim in found.claims {
            self.start(claim);
        }
        let pause = if full { Duration::ZERO } else { found.next_in.unwrap_or(LOOK_EVERY).min(LOOK_EVERY) };
        self.look_at = Instant::now() + pause;
        Ok(found.next_in)
    }

    async fn raise_bound(&mut self) -> Result<()> {
        if Instant::now() >= self.bound_at {
            let oldest = claims::oldest(&self.db, W::TABLE).await?;
            let late = self.source.now() - LATE;
            self.low = oldest.map_or(late, |oldest| oldest.min(late));
            self.bound_at = Instant::now() + BOUND_EVERY;
        }
        Ok(())
    }

    async fn renew(&self) {
        let mut all: Vec<Claim> = self.started.values().copied().collect();
        all.extend(self.handle.claims().iter());
        if all.is_empty() {
            return;
        }
        if let Err(error) = claims::renew(&self.db, W::TABLE, &all).await {
            tracing::warn!(table = W::TABLE, error = %error.chain(), "leases were not renewed");
        }
    }

    async fn drain(&mut self) {
        let waiting: Vec<Claim> = self.handle.claims().drain(..).collect();
        if !waiting.is_empty()
            && let Err(error) = claims::release(&self.db, W::TABLE, &waiting).await
        {
            tracing::debug!(table = W::TABLE, error = %error.chain(), "leases end by themselves");
        }
        let until = Instant::now() + GRACE;
        let mut renew = tokio::time::interval(RENEW_EVERY);
        while !self.running.is_empty() {
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                _ = renew.tick() => self.renew().await,
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!(table = W::TABLE, steps = self.running.len(), "steps were broken off");
                    self.running.abort_all();
                    return;
                }
            }
        }
    }
}

async fn perform<W: Work>(db: &Db, work: &W, source: &Source, claim: Claim) {
    let step = AssertUnwindSafe(work.step(claim)).catch_unwind().await;
    let result = step.unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))));
    let outcome = match &result {
        Ok(()) => "finished",
        Err(error) if error.code == LEASE_LOST => "lost",
        Err(_) => "failed",
    };
    metrics::counter!("pulseops_leased_steps_total", "table" => W::TABLE, "outcome" => outcome).increment(1);
    let Err(error) = result else { return };
    if outcome == "lost" {
        tracing::info!(table = W::TABLE, row.id = %claim.id, epoch = claim.epoch, "the lease was lost");
        return;
    }
    let pause = source.jitter(pause_after(claim.attempts.unsigned_abs()), 0.2);
    tracing::warn!(
        table = W::TABLE,
        row.id = %claim.id,
        attempts = claim.attempts,
        pause_ms = pause.as_millis() as u64,
        error = %error.chain(),
        "a step failed and will be tried again"
    );
    let at = source.now() + TimeDelta::from_std(pause).unwrap_or(TimeDelta::zero());
    if let Err(error) = claims::retry(db, W::TABLE, &claim, at).await {
        tracing::warn!(table = W::TABLE, row.id = %claim.id, error = %error.chain(), "it waits for its lease to end");
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}
