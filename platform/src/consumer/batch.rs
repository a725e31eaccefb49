//! One batch: its transaction, and what happens when it fails.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::pace::at_work;
use super::run::Part;
use super::{After, BatchCtx, Consumer, LEASE, positions};
use crate::bus::{Delivered, PartitionBatch};
use crate::dead_letters;
use crate::error::{Error, Kind, Result};

/// How often a single record may fail by our own fault, or because of what others do at the same
/// time, before it counts as poison.
const TRIES: u32 = 5;

/// A partition whose batch had to be bisected gets so long at a time; then others have their turn and
/// the rest is read again.
const TURN: Duration = Duration::from_millis(200);

/// Why a batch was not applied.
pub(super) enum Failure {
    /// Somebody else owns the partition.
    Lost,
    /// Whether it was committed is unknown.
    InDoubt(Error),
    /// It was rolled back.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What was committed.
struct Applied {
    after: After,
    work: Duration,
    /// Records that the handler took, of those it was given.
    taken: usize,
    /// Where the position stands now.
    next: i64,
}

impl Consumer {
    /// Applies a batch, in parts where it must. Says whether the position moved.
    ///
    /// # Errors
    /// Only what stops the consumer; a failing batch pauses its partition instead.
    pub(super) async fn work(&mut self, batch: PartitionBatch) -> Result<bool> {
        let partition = batch.partition;
        let (mut moved, began) = (false, Instant::now());
        let mut ranges = self.ranges(&batch);
        while let Some((from, to)) = ranges.pop() {
            let Some(part) = self.parts.get(&partition).copied() else { break };
            let records = &batch.records[from..to];
            let next = batch.records.get(to).map_or(batch.next, |behind| behind.offset);
            match self.apply(partition, &part, records, next).await {
                Ok(Applied { after, work, taken, next }) => {
                    moved = true;
                    self.pace.worked(taken, work);
                    self.moved(partition, next, taken);
                    self.finish(partition, after).await;
                    if taken < records.len() || began.elapsed() > TURN {
                        break;
                    }
                }
                Err(Failure::Failed(error)) if error.is_retryable() => {
                    if part.failures > 0 {
                        self.pace.failed(records.len());
                    }
                    self.pause(partition, &error);
                    break;
                }
                Err(Failure::Failed(_)) if records.len() > 1 => {
                    let middle = from + records.len() / 2;
                    ranges.extend([(middle, to), (from, middle)]);
                    self.count("bisected");
                }
                Err(Failure::Failed(error)) => {
                    if !self.poison(partition, &part, &records[0], next, &error).await? {
                        break;
                    }
                    moved = true;
                }
                Err(failure) => {
                    self.part_ways(partition, failure);
                    break;
                }
            }
        }
        Ok(moved)
    }

    /// The whole batch, or its first record alone when that one is under suspicion. Last comes first.
    fn ranges(&self, batch: &PartitionBatch) -> Vec<(usize, usize)> {
        let all = batch.records.len();
        let suspect = self.parts.get(&batch.partition).and_then(|part| part.suspect);
        let first = batch.records.first().map(|record| record.offset);
        match suspect {
            Some((offset, _)) if first == Some(offset) && all > 1 => vec![(1, all), (0, 1)],
            _ => vec![(0, all)],
        }
    }

    async fn apply(
        &self,
        partition: i32,
        part: &Part,
        records: &[Delivered],
        next: i64,
    ) -> Result<Applied, Failure> {
        let mut tx = self.group.db.begin_system("consumer").await?;
        let cx = self.batch_cx(partition, part.epoch, false);
        let (handled, work) = at_work(self.handle(&cx, &mut tx, records)).await;
        let after = match handled {
            Ok(after) => after,
            Err(error) => {
                let _ = tx.rollback().await;
                return Err(own_fault(error, work).into());
            }
        };
        let taken = after.taken(records.len());
        if taken == 0 {
            return Err(Error::internal("the handler took no record").into());
        }
        let next = records.get(taken).map_or(next, |behind| behind.offset);
        let place = (self.name, self.topic, partition);
        if !positions::advance(&mut tx, place, part.epoch, part.next, next).await? {
            return Err(Failure::Lost);
        }
        self.failpoint("consumer.before_commit").await?;
        tx.commit().await.map_err(Failure::InDoubt)?;
        self.failpoint("consumer.after_commit").await.map_err(Failure::InDoubt)?;
        Ok(Applied { after, work, taken, next })
    }

    /// Calls the handler; a panic is an error of ours.
    pub(super) async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut diesel_async::AsyncPgConnection,
        records: &[Delivered],
    ) -> Result<After> {
        let call = AssertUnwindSafe(self.handler.handle(cx, conn, records));
        call.catch_unwind().await.unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))))
    }

    pub(super) fn batch_cx(&self, partition: i32, epoch: i64, replay: bool) -> BatchCtx {
        BatchCtx {
            consumer: self.name,
            service: self.group.service,
            topic: self.topic,
            partition,
            epoch,
            now: self.group.source.now(),
            replay,
            source: self.group.source.clone(),
        }
    }

    fn moved(&mut self, partition: i32, next: i64, records: usize) {
        if let Some(part) = self.parts.get_mut(&partition) {
            *part = Part { next, failures: 0, paused_until: None, suspect: None, ..*part };
        }
        metrics::counter!("pulseops_consumer_records_total", "consumer" => self.name)
            .increment(records as u64);
        self.count("committed");
    }

    /// Runs what the handler wanted after its commit. Where that breaks off, memory is in doubt.
    pub(super) async fn finish(&mut self, partition: i32, after: After) {
        if let Err(panic) = AssertUnwindSafe(after.run()).catch_unwind().await {
            tracing::error!(consumer = self.name, partition, panic = panic_text(&*panic), "after the commit");
            self.lose(partition);
        }
    }

    /// Leaves the partition alone for a while.
    pub(super) fn pause(&mut self, partition: i32, error: &Error) {
        let failures = self.parts.get(&partition).map_or(0, |part| part.failures);
        let pause = self.backoff(failures);
        tracing::warn!(
            consumer = self.name,
            partition,
            pause_ms = pause.as_millis() as u64,
            error = %error.chain(),
            "a batch failed and will be tried again"
        );
        self.count("paused");
        if let Some(part) = self.parts.get_mut(&partition) {
            part.failures += 1;
            part.paused_until = Some(Instant::now() + pause);
        }
    }

    pub(super) fn part_ways(&mut self, partition: i32, failure: Failure) {
        match failure {
            Failure::Lost => self.count("lost"),
            Failure::InDoubt(error) | Failure::Failed(error) => {
                tracing::warn!(consumer = self.name, partition, error = %error.chain(), "a commit is in doubt");
                self.count("in_doubt");
            }
        }
        self.lose(partition);
    }

    /// A record that fails alone. By our own fault, or in a conflict, it gets some more tries; then,
    /// and otherwise at once, it goes to the dead letters. Says whether the position moved past it.
    async fn poison(
        &mut self,
        partition: i32,
        part: &Part,
        record: &Delivered,
        next: i64,
        error: &Error,
    ) -> Result<bool> {
        let before = part.suspect.filter(|(offset, _)| *offset == record.offset);
        let tries = before.map_or(0, |(_, tries)| tries) + 1;
        if matches!(error.kind, Kind::Internal | Kind::Conflict) && tries < TRIES {
            if let Some(part) = self.parts.get_mut(&partition) {
                part.suspect = Some((record.offset, tries));
            }
            self.pause(partition, error);
            return Ok(false);
        }
        match self.bury(partition, part, record, next, error, tries).await {
            Ok(()) => {
                self.moved(partition, next, 1);
                Ok(true)
            }
            Err(Failure::Failed(error)) if error.is_retryable() => {
                self.pause(partition, &error);
                Ok(false)
            }
            // Neither handled nor buried: going on would skip it silently.
            Err(Failure::Failed(error)) => Err(error),
            Err(failure) => {
                self.part_ways(partition, failure);
                Ok(false)
            }
        }
    }

    async fn bury(
        &self,
        partition: i32,
        part: &Part,
        record: &Delivered,
        next: i64,
        error: &Error,
        tries: u32,
    ) -> Result<(), Failure> {
        let source = &self.group.source;
        let mut tx = self.group.db.begin_system("dead letter").await?;
        let id = dead_letters::insert(&mut tx, source, self.name, self.topic, record, error, tries).await?;
        let place = (self.name, self.topic, partition);
        if !positions::advance(&mut tx, place, part.epoch, part.next, next).await? {
            return Err(Failure::Lost);
        }
        tx.commit().await.map_err(Failure::InDoubt)?;
        metrics::counter!("pulseops_dead_letters_total", "consumer" => self.name).increment(1);
        tracing::error!(
            consumer = self.name,
            partition,
            offset = record.offset,
            dead_letter.id = %id,
            event.id = %record.record.envelope.id,
            error = %error.chain(),
            "a record went to the dead letters"
        );
        Ok(())
    }

    /// The point for all consumers, then the one for this consumer alone: `<name>.<consumer>`.
    #[cfg_attr(not(feature = "testing"), expect(unused_variables, reason = "failpoints are for tests"))]
    pub(super) async fn failpoint(&self, name: &str) -> Result<()> {
        crate::failpoint!(name);
        crate::failpoint!(&format!("{name}.{}", self.name));
        Ok(())
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!("pulseops_consumer_batches_total", "consumer" => self.name, "outcome" => outcome)
            .increment(1);
    }
}

/// The database ends a transaction that is silent for longer than a lease. When the handler itself was
/// at work for that long, it is the records' fault and not the database's.
fn own_fault(error: Error, work: Duration) -> Error {
    if !error.is_retryable() || work < LEASE {
        return error;
    }
    Error::internal(format!("the handler was at work for {work:?}: {}", error.chain())).with_code("too_slow")
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}
