//! Reading the log: one query for every assigned partition, then records in order from memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use diesel::sql_types::{Array, BigInt, Binary, Integer};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;

use super::{stale, wake_name};
use crate::bus::{Bounds, Delivered, PartitionBatch, Reader, frame};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::sql::sql;
use crate::wake::{Subscription, Wakes};

/// The net beneath wake-ups: how long an idle reader waits before it looks again.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// Payload of one partition that one query brings, beside the chunk that passes it.
const FETCH_BYTES: i64 = 4 << 20;

// The first chunk is the one that holds `next`; the rest follow without a gap. Where retention has
// passed `next`, the first chunk kept comes instead, and its offset tells.
pub(super) const FETCH: &str = "
SELECT a.partition, c.base_offset, c.payload
FROM (SELECT $1 AS topic_id, $2 AS max_records, $3 AS max_bytes) arg
CROSS JOIN unnest($4, $5) AS a(partition, next)
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT f.base_offset FROM log f
         WHERE f.topic_id = arg.topic_id AND f.partition = a.partition AND f.base_offset <= a.next
         ORDER BY f.base_offset DESC LIMIT 1),
        (SELECT f.base_offset FROM log f
         WHERE f.topic_id = arg.topic_id AND f.partition = a.partition AND f.base_offset > a.next
         ORDER BY f.base_offset LIMIT 1)) AS base_offset
) first
CROSS JOIN LATERAL (
    SELECT l.base_offset, l.payload,
        sum(octet_length(l.payload)) OVER (ORDER BY l.base_offset) - octet_length(l.payload) AS bytes_before
    FROM log l
    WHERE l.topic_id = arg.topic_id AND l.partition = a.partition
      AND l.base_offset >= first.base_offset
      AND l.base_offset < greatest(first.base_offset, a.next) + arg.max_records
      AND l.base_offset + l.count > a.next
) c
WHERE c.bytes_before < arg.max_bytes
ORDER BY a.partition, c.base_offset";

/// Reads one topic.
pub(super) struct PostgresReader {
    db: Db,
    topic_id: i32,
    woken: Subscription,
    assigned: BTreeMap<i32, Assigned>,
}

/// A partition, the offset to deliver next and what was read beyond it.
struct Assigned {
    next: i64,
    ahead: VecDeque<Delivered>,
}

impl PostgresReader {
    pub(super) fn new(db: Db, wakes: &Wakes, topic: &str, topic_id: i32) -> Self {
        let woken = wakes.subscribe(&wake_name(topic));
        Self { db, topic_id, woken, assigned: BTreeMap::new() }
    }

    fn ready(&mut self, max_records: usize) -> Vec<PartitionBatch> {
        let mut batches = Vec::new();
        for (&partition, assigned) in &mut self.assigned {
            let count = assigned.ahead.len().min(max_records);
            let records: Vec<Delivered> = assigned.ahead.drain(..count).collect();
            if let Some(last) = records.last() {
                assigned.next = last.offset + 1;
                batches.push(PartitionBatch { partition, next: assigned.next, records });
            }
        }
        batches
    }

    async fn fetch(&mut self, max_records: usize) -> Result<()> {
        let hungry = || self.assigned.iter().filter(|(_, assigned)| assigned.ahead.is_empty());
        let partitions: Vec<i32> = hungry().map(|(&partition, _)| partition).collect();
        let nexts: Vec<i64> = hungry().map(|(_, assigned)| assigned.next).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let query = || {
            sql(FETCH)
                .bind::<Integer, _>(self.topic_id)
                .bind::<BigInt, _>(i64::try_from(max_records).unwrap_or(i64::MAX))
                .bind::<BigInt, _>(FETCH_BYTES)
                .bind::<Array<Integer>, _>(&partitions)
                .bind::<Array<BigInt>, _>(&nexts)
        };
        let mut connection = self.db.connection().await?;
        let mut rows = query().load::<ChunkRow>(&mut connection).await;
        if stale(&rows) {
            drop(connection);
            connection = self.db.connection().await?;
            rows = query().load(&mut connection).await;
        }
        for row in rows? {
            self.take(row)?;
        }
        Ok(())
    }

    fn take(&mut self, row: ChunkRow) -> Result<()> {
        let Some(assigned) = self.assigned.get_mut(&row.partition) else { return Ok(()) };
        let expected = assigned.ahead.back().map_or(assigned.next, |last| last.offset + 1);
        if row.base_offset > expected {
            return Err(below_start(row.partition, expected, row.base_offset));
        }
        let mut records = frame::decode(row.partition, row.base_offset, Bytes::from(row.payload))?;
        records.retain(|record| record.offset >= expected);
        assigned.ahead.extend(records);
        Ok(())
    }
}

#[async_trait]
impl Reader for PostgresReader {
    fn assign(&mut self, positions: &[(i32, i64)]) {
        let mut before = std::mem::take(&mut self.assigned);
        for &(partition, next) in positions {
            let kept = before.remove(&partition).filter(|assigned| assigned.next == next);
            let fresh = || Assigned { next, ahead: VecDeque::new() };
            self.assigned.insert(partition, kept.unwrap_or_else(fresh));
        }
    }

    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Vec<PartitionBatch>> {
        let max_records = max_records.max(1);
        let until = Instant::now() + max_wait;
        loop {
            // Before the look, so that what comes after it wakes us.
            self.woken.clear();
            self.fetch(max_records).await?;
            let batches = self.ready(max_records);
            let left = until.saturating_duration_since(Instant::now());
            if !batches.is_empty() || left.is_zero() {
                return Ok(batches);
            }
            // Either way the log is looked at again.
            let _ = tokio::time::timeout(left.min(POLL_EVERY), self.woken.changed()).await;
        }
    }
}

/// Moves the positions in `at` to those `given`, which must stand within `bounds`.
pub(super) fn place(at: &mut [(i32, i64)], bounds: &[Bounds], given: &[(i32, i64)]) -> Result<()> {
    for &(partition, offset) in given {
        let Some(place) = at.iter_mut().find(|place| place.0 == partition) else {
            let detail = format!("there is no partition {partition}");
            return Err(Error::conflict("position_beyond_end", detail));
        };
        if let Some(b) = bounds.iter().find(|b| b.partition == partition) {
            b.check(offset)?;
        }
        place.1 = offset;
    }
    Ok(())
}

impl Bounds {
    /// Whether reading can go on at `offset`.
    ///
    /// # Errors
    /// Conflict: `position_below_start` when retention has passed it, `position_beyond_end` when
    /// this log never got that far.
    pub fn check(&self, offset: i64) -> Result<()> {
        if offset < self.start {
            return Err(below_start(self.partition, offset, self.start));
        }
        if offset > self.end {
            let detail = format!(
                "partition {} is to be read from {offset}, its log ends at {}",
                self.partition, self.end
            );
            return Err(Error::conflict("position_beyond_end", detail));
        }
        Ok(())
    }
}

fn below_start(partition: i32, offset: i64, start: i64) -> Error {
    let detail = format!("partition {partition} is to be read from {offset}, its log starts at {start}");
    Error::conflict("position_below_start", detail)
}

#[derive(diesel::QueryableByName)]
struct ChunkRow {
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = BigInt)]
    base_offset: i64,
    #[diesel(sql_type = Binary)]
    payload: Vec<u8>,
}
