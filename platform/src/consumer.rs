//! Batch consumers: partitions are owned by a lease with an epoch, the position stands in the
//! consumer's own database and moves in the handler's transaction. So each record has its effect
//! exactly once, a crash or a takeover changes nothing, and a paused owner cannot commit.
//!
//! An error that may pass pauses the partition and is tried again for ever. Any other is narrowed
//! down to the record that causes it, which goes to the [dead letters](crate::dead_letters) in the
//! transaction that moves the position past it; nothing is skipped silently.
//!
//! Start reading at [`Consumers`], then `consumer/run.rs`.

mod after;
mod aside;
mod batch;
mod breaks;
mod keeper;
mod pace;
mod positions;
mod replay;
mod run;
mod seek;
mod share;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use tokio_util::sync::CancellationToken;

pub use after::After;
pub use aside::Stopped;
pub(crate) use batch::panic_text;
pub use breaks::Breaks;
pub use run::Consumer;
pub use seek::{Log, Position, SeekTo, positions, seek};

use crate::bus::{Bus, Delivered, TopicSpec};
use crate::ctx::Ctx;
use crate::db::Db;
use crate::error::Result;
use crate::source::Source;
use crate::wake::Wakes;
use keeper::Keeper;

/// What a consumer does with records.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Applies a batch of one partition on `conn`, whose transaction sees every organization and
    /// ends with the position. It touches only its own database: no call to anybody else.
    ///
    /// It may run again with the same records, whole or in part, after an error, a crash or a
    /// takeover; then nothing of the earlier run was committed. What it keeps in memory changes in
    /// the returned [`After`] only. Where that says so, only the first records were applied: whoever
    /// has worked long enough ([`Breaks`]) ends the batch there.
    ///
    /// # Errors
    /// A retryable error pauses the partition and its records come again, fewer at a time; any other
    /// narrows down to a dead letter.
    async fn handle(&self, cx: &BatchCtx, conn: &mut AsyncPgConnection, batch: &[Delivered])
    -> Result<After>;

    /// The partition belongs to somebody else, or its state here is in doubt: forget what memory
    /// holds of it.
    fn lost(&self, partition: i32) {
        let _ = partition;
    }
}

/// Under which circumstances a batch is handled.
#[derive(Clone, Debug)]
pub struct BatchCtx {
    /// Name of the consumer.
    pub consumer: &'static str,
    /// The service that consumes.
    pub service: &'static str,
    /// The topic.
    pub topic: &'static str,
    /// The partition.
    pub partition: i32,
    /// The lease under which it is handled.
    pub epoch: i64,
    /// The time; one value for the whole batch.
    pub now: DateTime<Utc>,
    /// Whether a person asked for this record of the dead letters to be handled again.
    pub replay: bool,
    /// Time, ids and randomness.
    pub source: Source,
}

impl BatchCtx {
    /// The context for reacting to one record: its organization, its trace, caused by it.
    pub fn ctx(&self, delivered: &Delivered) -> Ctx {
        let cx = delivered.record.envelope.ctx(self.service, self.source.clone());
        Ctx { now: self.now, ..cx }
    }
}

/// Where a consumer begins that has no position yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record kept.
    #[default]
    Oldest,
    /// At what comes from now on.
    Newest,
}

/// How one consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Records of one partition in a batch at most.
    pub max_records: usize,
    /// How long the handler should be at work on a batch, so that nobody behind it waits longer:
    /// batches become smaller until they fit, though not tiny. Waiting for the database does not count.
    pub max_work: Duration,
    /// Where it begins when it has no position.
    pub start: StartAt,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_records: 500, max_work: Duration::from_millis(5), start: StartAt::Oldest }
    }
}

/// How long a lease lasts without being renewed: the longest a dead process holds its partitions.
pub const LEASE: Duration = crate::db::LEASE;

/// The consumers of one service in one process. They renew their leases by one statement.
#[derive(Clone)]
pub struct Consumers {
    service: &'static str,
    db: Db,
    bus: Arc<dyn Bus>,
    source: Source,
    wakes: Wakes,
    keeper: Arc<Keeper>,
}

impl Consumers {
    /// For `service`, whose pool is `db`. `wakes` are those of the process.
    pub fn new(service: &'static str, db: &Db, bus: Arc<dyn Bus>, source: &Source, wakes: &Wakes) -> Self {
        let keeper = Arc::new(Keeper::new(db.clone(), source.id()));
        let (db, source, wakes) = (db.clone(), source.clone(), wakes.clone());
        Self { service, db, bus, source, wakes, keeper }
    }

    /// A consumer called `name` (unique in the service) of the topic `spec`. It does nothing until
    /// it is run.
    ///
    /// # Errors
    /// Those of the bus and the database; `topic_partitions_differ`.
    pub async fn consumer(
        &self,
        name: &'static str,
        spec: &TopicSpec,
        options: Options,
        handler: Arc<dyn Handler>,
    ) -> Result<Consumer> {
        let topic = self.bus.ensure_topic(spec).await?;
        let bounds = self.bus.bounds(spec.name).await?;
        positions::create(&self.db, name, &topic, &bounds, options.start).await?;
        let held = self.keeper.register(name, spec.name);
        let reader = self.bus.reader(spec.name).await?;
        Ok(Consumer::new(self, name, spec.name, topic, options, handler, held, reader))
    }

    /// Renews every lease of these consumers once; [`run`](Self::run) does it each second.
    ///
    /// # Errors
    /// Those of the database. The leases then run on until they end.
    pub async fn renew(&self) -> Result<()> {
        self.keeper.renew().await
    }

    /// Keeps the leases until `shutdown`. Must outlive the consumers: run it in a later stage.
    ///
    /// # Errors
    /// None; the type fits the lifecycle.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<()> {
        self.keeper.run(shutdown).await;
        Ok(())
    }
}
