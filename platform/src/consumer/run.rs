//! The loop of one consumer: take the share of partitions, read, hand over, and give back at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::aside::Aside;
use super::keeper::Held;
use super::pace::Pace;
use super::{Consumers, Handler, Options};
use crate::bus::{PartitionBatch, Reader, Topic};
use crate::dead_letters;
use crate::error::{Error, Kind, Result};
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
    pub(super) aside: Aside,
    pub(super) log: Topic,
    pub(super) held: Arc<Held>,
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
            aside: Aside::default(),
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

    /// Partitions that it would read, had they a position that fits the log, and what is wrong with it:
    /// Conflict, codes `log_mismatch`, `position_below_start`, `position_beyond_end`. A person must
    /// decide, nothing is reset.
    pub fn misfits(&self) -> Vec<(i32, Error)> {
        self.aside.errors()
    }

    /// One round without waiting: renew, take and give partitions, replay, read, hand over.
    ///
    /// # Errors
    /// As [`run`](Self::run), and those that may pass.
    pub async fn step(&mut self) -> Result<Progress> {
        self.group.renew().await?;
        self.balance_at = Instant::now();
        self.replay_at = self.balance_at;
        self.aside.look_again();
        let worked = self.round(Duration::ZERO).await?;
        Ok(if worked { Progress::Worked } else { Progress::Idle { next: self.shortest_pause() } })
    }

    /// Consumes until `shutdown`, then gives its partitions back. One whose position does not fit the
    /// log is left aside, and looked at again now and then.
    ///
    /// # Errors
    /// One that will not pass by itself.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        self.shutdown = shutdown;
        let result = self.run_rounds().await;
        self.give_back().await;
        self.held.set_away();
        if let Err(error) = &result {
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
        let polled = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Ok(Vec::new()),
            batches = self.reader.poll(self.pace.limit(), wait) => batches,
            () = self.replay_asked.changed(), if !wait.is_zero() => {
                self.replay_at = now;
                Ok(Vec::new())
            }
        };
        match polled {
            Err(error) if error.kind == Kind::Conflict => {
                self.read_each(&positions).await?;
                Ok(Vec::new())
            }
            polled => polled,
        }
    }

    /// Sets aside what cannot be read at its position.
    async fn read_each(&mut self, positions: &[(i32, i64)]) -> Result<()> {
        let mut misfits = Vec::new();
        for position in positions {
            self.reader.assign(&[*position]);
            match self.reader.poll(1, Duration::ZERO).await {
                Err(error) if error.kind == Kind::Conflict => misfits.push((position.0, error)),
                polled => drop(polled?),
            }
        }
        self.set_aside(misfits).await
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

    /// Sets the lag gauges now and then, and notices a log that was replaced under a running consumer.
    async fn measure(&mut self) -> Result<()> {
        if Instant::now() < self.lag_at || self.parts.is_empty() {
            return Ok(());
        }
        self.lag_at = Instant::now() + LAG_EVERY;
        let mut misfits = Vec::new();
        for bounds in self.group.bus.bounds(self.topic).await? {
            let Some(part) = self.parts.get(&bounds.partition) else { continue };
            if let Err(error) = bounds.check(part.next) {
                misfits.push((bounds.partition, error));
                continue;
            }
            let partition = bounds.partition.to_string();
            metrics::gauge!("pulseops_consumer_lag_records", "consumer" => self.name, "partition" => partition)
                .set((bounds.end - part.next) as f64);
        }
        self.set_aside(misfits).await
    }
}
