//! The loop of one consumer: take the share of partitions, read, hand over, and give back at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::keeper::Held;
use super::pace::Pace;
use super::{Consumers, Handler, Options, positions};
use crate::bus::{PartitionBatch, Reader, Topic};
use crate::dead_letters;
use crate::error::{Error, Result};
use crate::wake::{Progress, Subscription};

/// How often the share of partitions and requested replays are looked at, beside wake-ups.
const DUTY_EVERY: Duration = Duration::from_secs(1);
const LAG_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// What waited for the database goes on this late after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One consumer of one topic in this process.
pub struct Consumer {
    pub(super) group: Consumers,
    pub(super) name: &'static str,
    pub(super) topic: &'static str,
    pub(super) pace: Pace,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) parts: BTreeMap<i32, Part>,
    log: Topic,
    held: Arc<Held>,
    reader: Box<dyn Reader>,
    balance_at: Instant,
    replay_at: Instant,
    lag_at: Instant,
    replay_asked: Subscription,
    /// Dead letters whose replay waits, until when.
    pub(super) deferred: HashMap<Uuid, Instant>,
    shutdown: CancellationToken,
}

/// A partition that this consumer owns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) epoch: i64,
    pub(super) next: i64,
    pub(super) failures: u32,
    pub(super) paused_until: Option<Instant>,
    /// A record that failed alone and is tried again, and how often it failed.
    pub(super) suspect: Option<(i64, u32)>,
}

impl Consumer {
    #[expect(clippy::too_many_arguments, reason = "called once, by Consumers::consumer")]
    pub(super) fn new(
        group: &Consumers,
        name: &'static str,
        topic: &'static str,
        log: Topic,
        options: Options,
        handler: Arc<dyn Handler>,
        held: Arc<Held>,
        reader: Box<dyn Reader>,
    ) -> Self {
        let now = Instant::now();
        Self {
            group: group.clone(),
            name,
            topic,
            pace: Pace::new(&options),
            handler,
            parts: BTreeMap::new(),
            log,
            held,
            reader,
            balance_at: now,
            replay_at: now,
            lag_at: now,
            replay_asked: group.wakes.subscribe(dead_letters::REPLAY),
            deferred: HashMap::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// The partitions owned now, for tests and logs.
    pub fn partitions(&self) -> Vec<i32> {
        self.parts.keys().copied().collect()
    }

    /// One round without waiting: renew, take and give partitions, replay, read, hand over.
    ///
    /// # Errors
    /// As [`run`](Self::run), and those that may pass.
    pub async fn step(&mut self) -> Result<Progress> {
        self.group.renew().await?;
        self.balance_at = Instant::now();
        self.replay_at = self.balance_at;
        let worked = self.round(Duration::ZERO).await?;
        Ok(if worked { Progress::Worked } else { Progress::Idle { next: self.shortest_pause() } })
    }

    /// Consumes until `shutdown`, then gives its partitions back.
    ///
    /// # Errors
    /// Conflict, codes `log_mismatch`, `position_below_start`, `position_beyond_end`, when the
    /// position does not fit the log: a person must decide, nothing is reset. Any other error that
    /// will not pass by itself.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        self.run_until_stopped(shutdown).await
    }

    /// [`run`](Self::run), after which it may run again.
    pub(super) async fn run_until_stopped(&mut self, shutdown: CancellationToken) -> Result<()> {
        self.held.set_away(false);
        self.shutdown = shutdown;
        let result = self.run_rounds().await;
        self.give_back().await;
        self.held.set_away(true);
        if let Err(error) = &result {
            metrics::counter!("pulseops_consumer_stopped_total", "consumer" => self.name, "code" => error.code)
                .increment(1);
            tracing::error!(consumer = self.name, error = %error.chain(), "the consumer stopped");
        }
        result
    }

    async fn run_rounds(&mut self) -> Result<()> {
        let mut failures = 0;
        while !self.shutdown.is_cancelled() {
            match self.round(DUTY_EVERY).await {
                Ok(_) => failures = 0,
                Err(error) if error.is_retryable() => {
                    tracing::warn!(consumer = self.name, error = %error.chain(), "will try again");
                    let pause = tokio::time::sleep(self.backoff(failures));
                    self.shutdown.run_until_cancelled(pause).await;
                    failures += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn round(&mut self, wait: Duration) -> Result<bool> {
        self.drop_lost();
        let mut worked = false;
        if Instant::now() >= self.balance_at {
            worked |= self.balance().await?;
            self.balance_at = Instant::now() + DUTY_EVERY;
        }
        if Instant::now() >= self.replay_at {
            self.replay_asked.clear();
            worked |= self.replay().await?;
            self.replay_at = Instant::now() + if worked { Duration::ZERO } else { DUTY_EVERY };
        }
        self.measure().await?;
        let wait = if worked { Duration::ZERO } else { wait };
        for batch in self.read(wait).await? {
            worked |= self.work(batch).await?;
        }
        Ok(worked)
    }

    /// What there is to read, within `wait` and before the next duty.
    async fn read(&mut self, wait: Duration) -> Result<Vec<PartitionBatch>> {
        let now = Instant::now();
        for part in self.parts.values_mut() {
            part.paused_until = part.paused_until.filter(|until| *until > now);
        }
        let open = self.parts.iter().filter(|(_, part)| part.paused_until.is_none());
        let positions: Vec<(i32, i64)> = open.map(|(id, part)| (*id, part.next)).collect();
        self.reader.assign(&positions);
        let duty = self.balance_at.min(self.replay_at).saturating_duration_since(now);
        let wait = wait.min(duty).min(self.shortest_pause().unwrap_or(wait));
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Ok(Vec::new()),
            batches = self.reader.poll(self.pace.limit(), wait) => batches,
            () = self.replay_asked.changed(), if !wait.is_zero() => {
                self.replay_at = now;
                Ok(Vec::new())
            }
        }
    }

    fn shortest_pause(&self) -> Option<Duration> {
        let until = self.parts.values().filter_map(|part| part.paused_until).min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Doubles with every failure, with jitter, up to a limit.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
        self.group.source.jitter(pause, 0.2)
    }

    /// Forgets what the keeper found to belong to somebody else.
    fn drop_lost(&mut self) {
        let lost: Vec<i32> = {
            let epochs = self.held.epochs();
            let gone = |(id, part): (&i32, &Part)| (epochs.get(id) != Some(&part.epoch)).then_some(*id);
            self.parts.iter().filter_map(gone).collect()
        };
        for partition in lost {
            self.lose(partition);
        }
    }

    /// Forgets a partition here, whoever owns it in the database.
    pub(super) fn lose(&mut self, partition: i32) {
        tracing::info!(consumer = self.name, partition, "a partition went");
        metrics::counter!("pulseops_consumer_partitions_lost_total", "consumer" => self.name).increment(1);
        self.parts.remove(&partition);
        self.held.epochs().remove(&partition);
        self.handler.lost(partition);
        self.balance_at = Instant::now();
    }

    /// Takes what is free up to the share, gives back what is beyond it.
    async fn balance(&mut self) -> Result<bool> {
        let share = self.held.share(self.log.partitions);
        if self.parts.len() > share {
            let beyond: Vec<i32> = self.parts.keys().copied().skip(share).collect();
            self.release(&beyond).await?;
            return Ok(true);
        }
        if self.parts.len() == share {
            return Ok(false);
        }
        let held = self.partitions();
        let missing = (share - held.len()) as i64;
        let owner = self.group.keeper.owner;
        let taken = positions::acquire(&self.group.db, self.name, self.topic, owner, &held, missing).await?;
        if taken.is_empty() {
            return Ok(false);
        }
        let bounds = self.group.bus.bounds(self.topic).await?;
        for row in &taken {
            if row.log_id != self.log.log_id {
                return Err(self.other_log(row.partition));
            }
            if let Some(bounds) = bounds.iter().find(|b| b.partition == row.partition) {
                bounds.check(row.next)?;
            }
            self.held.epochs().insert(row.partition, row.epoch);
            let part =
                Part { epoch: row.epoch, next: row.next, failures: 0, paused_until: None, suspect: None };
            self.parts.insert(row.partition, part);
            tracing::debug!(
                consumer = self.name,
                partition = row.partition,
                next = row.next,
                "a partition came"
            );
        }
        Ok(true)
    }

    fn other_log(&self, partition: i32) -> Error {
        let detail = format!(
            "the position of {} in {} partition {partition} belongs to another log",
            self.name, self.topic
        );
        Error::conflict("log_mismatch", detail)
    }

    async fn release(&mut self, partitions: &[i32]) -> Result<()> {
        for partition in partitions {
            self.parts.remove(partition);
            self.held.epochs().remove(partition);
            self.handler.lost(*partition);
        }
        self.failpoint("consumer.release").await?;
        let owner = self.group.keeper.owner;
        positions::release(&self.group.db, self.name, self.topic, owner, partitions).await
    }

    async fn give_back(&mut self) {
        // All of them: also what was taken but never held, because it did not fit.
        let all: Vec<i32> = (0..self.log.partitions).collect();
        if let Err(error) = self.release(&all).await {
            tracing::debug!(consumer = self.name, error = %error.chain(), "leases end by themselves");
        }
    }

    /// Sets the lag gauges now and then, and notices a log that was replaced under a running consumer.
    async fn measure(&mut self) -> Result<()> {
        if Instant::now() < self.lag_at || self.parts.is_empty() {
            return Ok(());
        }
        self.lag_at = Instant::now() + LAG_EVERY;
        for bounds in self.group.bus.bounds(self.topic).await? {
            let Some(part) = self.parts.get(&bounds.partition) else { continue };
            bounds.check(part.next)?;
            let partition = bounds.partition.to_string();
            metrics::gauge!("pulseops_consumer_lag_records", "consumer" => self.name, "partition" => partition)
                .set((bounds.end - part.next) as f64);
        }
        Ok(())
    }
}
