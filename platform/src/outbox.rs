//! The outbox: a state change and its event are written in one transaction; the relay moves events
//! to the bus, per aggregate in the order in which they were written.
//!
//! An aggregate's events are written under its row lock, each with the version that it leads to, so
//! the order of ids is the order of versions.

mod bound;
mod house;
mod relay;

use bytes::BytesMut;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

pub use relay::Relay;

use crate::bus::{Record, TopicSpec, frame};
use crate::error::{Error, Result};
use crate::sql::sql;
use crate::wake;

/// Automation that causes itself ends here: no event lies deeper below its first cause.
pub const MAX_DEPTH: u32 = 32;

/// Name of the wake-up in [`Db::wakes`](crate::db::Db::wakes).
pub(crate) const WAKE: &str = "outbox";

type SqlUuid = diesel::sql_types::Uuid;

// The rows get their ids in the order of the arrays.
const APPEND: &str = "
INSERT INTO outbox (aggregate_id, version, topic, partition, key, type, org_id, cause, depth, frame, created_at)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// An event to be told.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub topic: &'static TopicSpec,
    /// The event. `envelope.version`, when it is not 0, is told once per subject and topic.
    pub record: Record,
}

impl Message {
    /// `record` on `topic`.
    pub fn new(topic: &'static TopicSpec, record: Record) -> Self {
        Self { topic, record }
    }
}

/// Writes events in the transaction open on `conn`; its commit wakes the relay of this process.
///
/// # Errors
/// Conflict: `automation_loop` beyond [`MAX_DEPTH`]; `already_exists` (constraint
/// `outbox_aggregate_version_key`) for a second event under one version of an aggregate.
pub async fn append(conn: &mut AsyncPgConnection, messages: &[Message]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let rows = Rows::of(messages)?;
    sql(APPEND)
        .bind::<Array<Text>, _>(rows.aggregate_ids)
        .bind::<Array<BigInt>, _>(rows.versions)
        .bind::<Array<Text>, _>(rows.topics)
        .bind::<Array<Integer>, _>(rows.partitions)
        .bind::<Array<Binary>, _>(rows.keys)
        .bind::<Array<Text>, _>(rows.types)
        .bind::<Array<SqlUuid>, _>(rows.orgs)
        .bind::<Array<Nullable<SqlUuid>>, _>(rows.causes)
        .bind::<Array<Integer>, _>(rows.depths)
        .bind::<Array<Binary>, _>(rows.frames)
        .bind::<Array<Timestamptz>, _>(rows.times)
        .execute(conn)
        .await?;
    wake::on_commit(conn, WAKE);
    Ok(())
}

#[derive(Default)]
struct Rows<'a> {
    aggregate_ids: Vec<&'a str>,
    versions: Vec<i64>,
    topics: Vec<&'a str>,
    partitions: Vec<i32>,
    keys: Vec<&'a [u8]>,
    types: Vec<&'a str>,
    orgs: Vec<Uuid>,
    causes: Vec<Option<Uuid>>,
    depths: Vec<i32>,
    frames: Vec<Vec<u8>>,
    times: Vec<DateTime<Utc>>,
}

impl<'a> Rows<'a> {
    fn of(messages: &'a [Message]) -> Result<Self> {
        let mut rows = Self::default();
        for Message { topic, record } in messages {
            let envelope = &record.envelope;
            if envelope.depth > MAX_DEPTH {
                let detail =
                    format!("{} would be step {} after its first cause", envelope.ty, envelope.depth);
                return Err(Error::conflict("automation_loop", detail));
            }
            let mut frame = BytesMut::new();
            frame::encode(record, &mut frame);
            rows.aggregate_ids.push(&envelope.subject);
            rows.versions.push(envelope.version);
            rows.topics.push(topic.name);
            rows.partitions.push(topic.partition_for(&record.key));
            rows.keys.push(&record.key);
            rows.types.push(&envelope.ty);
            rows.orgs.push(envelope.org.uuid());
            rows.causes.push(envelope.cause);
            rows.depths.push(envelope.depth.cast_signed());
            rows.frames.push(frame.into());
            rows.times.push(envelope.time);
        }
        Ok(rows)
    }
}
