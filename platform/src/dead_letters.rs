//! Records that no consumer could apply: kept whole, listed and replayable. The table is the bus's;
//! people see their organization's rows, consumers write and replay under their system role.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::bus::{Delivered, Envelope, Record};
use crate::ctx::{Ctx, OrgId};
use crate::error::{Error, Result};
use crate::source::Source;

/// Name of the wake-up for consumers in this process: `wakes.notify(dead_letters::REPLAY)` after the
/// commit of [`request_replay`]. Others look once a second.
pub const REPLAY: &str = "dead_letters.replay";

/// Longest error text kept.
const DETAIL_CHARS: usize = 2_000;

diesel::table! {
    pulseops_bus.dead_letters (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        consumer -> Text,
        topic -> Text,
        partition -> Int4,
        log_offset -> Int8,
        key -> Bytea,
        event_id -> Uuid,
        event_type -> Text,
        source -> Text,
        subject -> Text,
        event_time -> Timestamptz,
        event_version -> Int8,
        trace -> Text,
        cause -> Nullable<Uuid>,
        depth -> Int4,
        data -> Bytea,
        error_code -> Text,
        error_detail -> Text,
        attempts -> Int4,
        state -> Text,
        created_at -> Timestamptz,
        replayed_at -> Nullable<Timestamptz>,
        version -> Int8,
    }
}

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = dead_letters)]
pub struct DeadLetter {
    /// Organization of the record.
    pub org_id: OrgId,
    /// Id; newer ones are greater.
    pub id: Uuid,
    /// The consumer that could not apply it.
    pub consumer: String,
    /// Topic, partition and offset at which it stood in the log.
    pub topic: String,
    /// See `topic`.
    pub partition: i32,
    /// See `topic`.
    pub log_offset: i64,
    /// Partition key.
    pub key: Vec<u8>,
    /// Id of the event.
    pub event_id: Uuid,
    /// Type of the event.
    pub event_type: String,
    /// The service that said it.
    pub source: String,
    /// The aggregate that it is about.
    pub subject: String,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// The aggregate's version after it.
    pub event_version: i64,
    /// W3C traceparent.
    pub trace: String,
    /// The event that led to it.
    pub cause: Option<Uuid>,
    /// Automatic steps before it.
    pub depth: i32,
    /// The protobuf payload.
    pub data: Vec<u8>,
    /// Code of the last error.
    pub error_code: String,
    /// Detail of the last error, fit for tenants; its causes stand in the log under `dead_letter.id`.
    pub error_detail: String,
    /// How often it was tried alone.
    pub attempts: i32,
    /// `dead`, `replay` (requested) or `replayed`.
    pub state: String,
    /// When it went here.
    pub created_at: DateTime<Utc>,
    /// When it was applied after all.
    pub replayed_at: Option<DateTime<Utc>>,
    /// Counts changes of this row.
    pub version: i64,
}

impl DeadLetter {
    /// The record as it stood in the log.
    pub fn delivered(&self) -> Delivered {
        let envelope = Envelope {
            id: self.event_id,
            ty: self.event_type.clone(),
            source: self.source.clone(),
            subject: self.subject.clone(),
            org: self.org_id,
            time: self.event_time,
            version: self.event_version,
            trace: self.trace.clone(),
            cause: self.cause,
            depth: self.depth.unsigned_abs(),
        };
        let key = Bytes::copy_from_slice(&self.key);
        let data = Bytes::copy_from_slice(&self.data);
        let record = Record { key, envelope, data };
        Delivered { partition: self.partition, offset: self.log_offset, record }
    }
}

/// Which dead letters to list; empty lists mean any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Names of consumers.
    pub consumers: Vec<String>,
    /// Names of topics.
    pub topics: Vec<String>,
    /// States.
    pub states: Vec<String>,
}

type Page<'a> = dead_letters::BoxedQuery<'a, Pg, SqlTypeOf<AsSelect<DeadLetter, Pg>>>;

/// The organization's dead letters, newest first, behind `after` (the last id of the page before), at
/// most `limit`. `conn` is a transaction of pool `bus`.
///
/// # Errors
/// Those of the database.
pub async fn list(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<DeadLetter>> {
    Ok(page(org, filter, after, limit).load(conn).await?)
}

/// The query of [`list`].
pub(crate) fn page(org: OrgId, filter: &Filter, after: Option<Uuid>, limit: i64) -> Page<'_> {
    let mut query = dead_letters::table
        .select(DeadLetter::as_select())
        .filter(dead_letters::org_id.eq(org))
        .order(dead_letters::id.desc())
        .limit(limit)
        .into_boxed();
    if !filter.consumers.is_empty() {
        query = query.filter(dead_letters::consumer.eq_any(&filter.consumers));
    }
    if !filter.topics.is_empty() {
        query = query.filter(dead_letters::topic.eq_any(&filter.topics));
    }
    if !filter.states.is_empty() {
        query = query.filter(dead_letters::state.eq_any(&filter.states));
    }
    if let Some(after) = after {
        query = query.filter(dead_letters::id.lt(after));
    }
    query
}

/// One dead letter of the organization. `conn` is a transaction of pool `bus`.
///
/// # Errors
/// NotFound.
pub async fn get(conn: &mut AsyncPgConnection, org: OrgId, id: Uuid) -> Result<DeadLetter> {
    let found =
        dead_letters::table.find((org, id)).select(DeadLetter::as_select()).first(conn).await.optional()?;
    found.ok_or_else(|| Error::not_found("dead letter"))
}

/// Asks for a dead letter to be handled again; asking twice is asking once. `conn` is a transaction
/// of pool `bus`; [`REPLAY`] wakes the consumer after it.
///
/// # Errors
/// NotFound; Precondition `version_mismatch`; Conflict `already_replayed`.
pub async fn request_replay(cx: &Ctx, conn: &mut AsyncPgConnection, id: Uuid) -> Result<DeadLetter> {
    let letter = dead_letters::table
        .find((cx.org, id))
        .select(DeadLetter::as_select())
        .for_update()
        .first(conn)
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("dead letter"))?;
    cx.expect_version(letter.version)?;
    match letter.state.as_str() {
        "dead" => Ok(diesel::update(dead_letters::table.find((cx.org, id)))
            .set((dead_letters::state.eq("replay"), dead_letters::version.eq(letter.version + 1)))
            .returning(DeadLetter::as_returning())
            .get_result(conn)
            .await?),
        "replay" => Ok(letter),
        _ => Err(Error::conflict("already_replayed", "the dead letter was replayed already")),
    }
}

/// Writes a record that `consumer` could not apply; returns its new id.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    ids: &Source,
    consumer: &str,
    topic: &str,
    delivered: &Delivered,
    error: &Error,
    attempts: u32,
) -> Result<Uuid> {
    let Record { key, envelope, data } = &delivered.record;
    let letter = DeadLetter {
        org_id: envelope.org,
        id: ids.id(),
        consumer: consumer.to_owned(),
        topic: topic.to_owned(),
        partition: delivered.partition,
        log_offset: delivered.offset,
        key: key.to_vec(),
        event_id: envelope.id,
        event_type: text(&envelope.ty),
        source: text(&envelope.source),
        subject: text(&envelope.subject),
        event_time: envelope.time,
        event_version: envelope.version,
        trace: text(&envelope.trace),
        cause: envelope.cause,
        depth: i32::try_from(envelope.depth).unwrap_or(i32::MAX),
        data: data.to_vec(),
        error_code: error.code.to_owned(),
        error_detail: text(&error.detail),
        attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        state: "dead".to_owned(),
        created_at: ids.now(),
        replayed_at: None,
        version: 1,
    };
    diesel::insert_into(dead_letters::table).values(&letter).execute(conn).await?;
    Ok(letter.id)
}

/// What Postgres takes as text, not endlessly long: this is the last place a bad record may fail.
fn text(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(DETAIL_CHARS).collect()
}

/// Locks the oldest requested dead letter of these partitions that is not `deferred`, unless another
/// process is at it.
pub(crate) async fn claim(
    conn: &mut AsyncPgConnection,
    consumer: &str,
    topic: &str,
    partitions: &[i32],
    deferred: &[Uuid],
) -> Result<Option<DeadLetter>> {
    let found = dead_letters::table
        .select(DeadLetter::as_select())
        .filter(dead_letters::state.eq("replay"))
        .filter(dead_letters::consumer.eq(consumer))
        .filter(dead_letters::topic.eq(topic))
        .filter(dead_letters::partition.eq_any(partitions))
        .filter(dead_letters::id.ne_all(deferred))
        .order(dead_letters::id)
        .for_update()
        .skip_locked()
        .first(conn)
        .await
        .optional()?;
    Ok(found)
}

/// Marks a claimed dead letter as applied.
pub(crate) async fn done(
    conn: &mut AsyncPgConnection,
    letter: &DeadLetter,
    now: DateTime<Utc>,
) -> Result<()> {
    diesel::update(dead_letters::table.find((letter.org_id, letter.id)))
        .set((
            dead_letters::state.eq("replayed"),
            dead_letters::replayed_at.eq(now),
            dead_letters::version.eq(letter.version + 1),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes back a request whose replay failed, with the new error.
pub(crate) async fn bury_again(
    conn: &mut AsyncPgConnection,
    letter: &DeadLetter,
    error: &Error,
) -> Result<()> {
    diesel::update(dead_letters::table.find((letter.org_id, letter.id)))
        .filter(dead_letters::version.eq(letter.version))
        .set((
            dead_letters::state.eq("dead"),
            dead_letters::error_code.eq(error.code),
            dead_letters::error_detail.eq(text(&error.detail)),
            dead_letters::attempts.eq(letter.attempts.saturating_add(1)),
            dead_letters::version.eq(letter.version + 1),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
