//! The bus: topics of ordered, partitioned records behind one trait with two engines. `postgres` is
//! a log in tables; `kafka` comes later and is held to the same [conformance suite](conformance).
//!
//! Events are CloudEvents 1.0 with a protobuf payload. Delivery is at least once: an append whose
//! answer was lost may be done twice, so readers go by ids, versions and their own positions.

#[cfg(feature = "testing")]
pub mod conformance;
pub(crate) mod frame;
mod partition;
pub mod postgres;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use partition::partition_for;
pub use postgres::PostgresBus;

use crate::ctx::{Cause, Ctx, OrgId, Trace};
use crate::db::Db;
use crate::error::Result;
use crate::source::Source;

/// A topic as the code declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name, with its version: `pulseops.incidents.v1`.
    pub name: &'static str,
    /// Number of partitions, fixed once the topic exists.
    pub partitions: i32,
    /// How long records are kept at least.
    pub retention: Duration,
}

impl TopicSpec {
    /// A topic whose records are kept for `retention_ms` milliseconds at least.
    pub const fn new(name: &'static str, partitions: i32, retention_ms: u64) -> Self {
        Self { name, partitions, retention: Duration::from_millis(retention_ms) }
    }

    /// The partition of `key`.
    pub fn partition_for(&self, key: &[u8]) -> i32 {
        partition_for(key, self.partitions)
    }
}

/// A topic as it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions, from 0.
    pub partitions: i32,
    /// Identity of the log: another id means that offsets kept elsewhere mean nothing here.
    pub log_id: Uuid,
}

/// What a record is about: the CloudEvents attributes and ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Id of the event.
    pub id: Uuid,
    /// Type: `pulseops.incident.created.v1`.
    pub ty: String,
    /// Who says it: the service.
    pub source: String,
    /// The aggregate that it is about.
    pub subject: String,
    /// The organization.
    pub org: OrgId,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The aggregate's version after it; 0 when the subject has none.
    pub version: i64,
    /// W3C traceparent.
    pub trace: String,
    /// The event that led to this one.
    pub cause: Option<Uuid>,
    /// How many automatic steps lie before it.
    pub depth: u32,
}

impl Envelope {
    /// An event that happens now in `cx`, said by the service `source`: organization, time, trace,
    /// cause and depth come from the context.
    pub fn new(
        cx: &Ctx,
        source: impl Into<String>,
        ty: impl Into<String>,
        subject: impl ToString,
        version: i64,
    ) -> Self {
        Self {
            id: cx.id(),
            ty: ty.into(),
            source: source.into(),
            subject: subject.to_string(),
            org: cx.org,
            time: cx.now,
            version,
            trace: cx.trace.to_string(),
            cause: cx.cause.map(|cause| cause.event),
            depth: cx.depth(),
        }
    }

    /// The context in which the service `role` reacts to this event: what it emits is caused by it.
    pub fn ctx(&self, role: &'static str, source: Source) -> Ctx {
        let trace = Trace::parse(&self.trace).unwrap_or_else(|| Trace::new(&source));
        let cause = Cause { event: self.id, depth: self.depth };
        Ctx::service(role, self.org, source, trace, Some(cause))
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Records of one key stay in one partition and in order.
    pub key: Bytes,
    /// What it is about.
    pub envelope: Envelope,
    /// The protobuf payload.
    pub data: Bytes,
}

impl Record {
    /// A record with this payload.
    pub fn new(key: impl Into<Bytes>, envelope: Envelope, data: &impl prost::Message) -> Self {
        Self { key: key.into(), envelope, data: data.encode_to_vec().into() }
    }
}

/// A record and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

/// Records of one partition, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionBatch {
    /// Partition.
    pub partition: i32,
    /// The offset to read from when all of these are done.
    pub next: i64,
    /// Never empty.
    pub records: Vec<Delivered>,
}

/// Where a partition's records begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Partition.
    pub partition: i32,
    /// The oldest offset that can still be read.
    pub start: i64,
    /// The offset that the next record will get.
    pub end: i64,
}

/// Where a [tail](Bus::tail) begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// The oldest record kept.
    Start,
    /// What comes after this call.
    End,
    /// The first record written at this time or later.
    Time(DateTime<Utc>),
    /// (partition, offset); partitions not named begin at their end.
    Offsets(Vec<(i32, i64)>),
}

/// Which rows of an outbox a round of the relay moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Up to `max_rows` with an id of at least `from_id`, none behind a held one of its aggregate.
    Waiting {
        /// The lowest id.
        from_id: i64,
        /// How many at most.
        max_rows: i64,
    },
    /// The row of this id and no other, held or not, unless a held one of its aggregate lies before it.
    One {
        /// Its id.
        id: i64,
    },
}

/// What one round of the relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Rows moved from the outbox to the log.
    pub rows: i64,
    /// Up to which outbox id everything that the round saw is sent, as far as it can tell: never up to
    /// a row that is held, so that what waits behind one lies above.
    pub last_id: Option<i64>,
    /// False when another process was at it.
    pub leader: bool,
    /// Who may still write to the outbox what that round could not see.
    pub open: OpenTransactions,
}

/// Which transactions of the outbox's database were open at a look, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenTransactions {
    /// None with a lower number was.
    pub oldest: i64,
    /// The number that none had yet.
    pub next: i64,
}

/// Reads the partitions that it was assigned.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Replaces what is read: (partition, next offset) each.
    fn assign(&mut self, positions: &[(i32, i64)]);

    /// The next records, at most `max_records` a partition: what is there at once, else what comes
    /// within `max_wait`, else nothing. Dropping the future loses no record.
    ///
    /// # Errors
    /// Conflict, code `position_below_start`, when retention has removed what is to be read;
    /// Unavailable when the bus does not answer.
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Vec<PartitionBatch>>;
}

/// The bus.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Makes the topic unless it exists.
    ///
    /// # Errors
    /// Conflict, code `topic_partitions_differ`.
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic>;

    /// The topic, when it is there.
    async fn topic(&self, name: &str) -> Result<Option<Topic>>;

    /// Appends records to `topic`, each to the partition of its key, in the order given. Durable
    /// when it returns `Ok`; after an error they may or may not be there.
    async fn append(&self, topic: &str, records: &[Record]) -> Result<()>;

    /// Moves unsent rows out of the outbox of `outbox`'s service, per aggregate in the order of their
    /// ids, and no more than the memory of a round should hold.
    async fn relay(&self, outbox: &Db, pick: Pick) -> Result<Relayed>;

    /// A reader without partitions; its caller keeps leases and positions.
    async fn reader(&self, topic: &str) -> Result<Box<dyn Reader>>;

    /// A reader of every partition: for streams and caches that each process fills on its own.
    ///
    /// # Errors
    /// Conflict, code `position_below_start` or `position_beyond_end`, for offsets that are not there.
    async fn tail(&self, topic: &str, from: TailFrom) -> Result<Box<dyn Reader>>;

    /// Where each partition begins and ends.
    async fn bounds(&self, topic: &str) -> Result<Vec<Bounds>>;

    /// Removes what retention no longer keeps, never the newest of a partition. Returns how many
    /// units (chunks, segments) went.
    async fn trim(&self) -> Result<u64>;

    /// Asks the bus for an answer: its own health name, apart from readiness.
    async fn ping(&self) -> Result<()>;

    /// The engine's background work, until `shutdown`.
    async fn run(&self, shutdown: CancellationToken) -> Result<()>;
}
