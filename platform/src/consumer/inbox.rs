//! Versions already applied: the log is at least once, so an event may stand in it twice. A handler
//! whose own rows carry the aggregate's version compares with them; any other asks here.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::TimeDelta;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::BatchCtx;
use crate::bus::Delivered;
use crate::db::Db;
use crate::error::Result;
use crate::source::Source;
use crate::sql::sql;

const SEEN: &str = "
SELECT aggregate_id, version FROM inbox WHERE consumer = $1 AND aggregate_id = ANY ($2)";

const REMEMBER: &str = "
INSERT INTO inbox (consumer, seen_at, aggregate_id, version)
SELECT $1, $2, aggregate_id, version FROM unnest($3, $4) AS n(aggregate_id, version)
ON CONFLICT (consumer, aggregate_id) DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at
WHERE inbox.version < excluded.version";

const SWEEP: &str = "
DELETE FROM inbox WHERE (consumer, aggregate_id) IN (
    SELECT consumer, aggregate_id FROM inbox WHERE seen_at < $1 LIMIT $2)";

/// The records of `batch` whose version is newer than what this consumer has applied of their
/// subject, in order; remembered in the same transaction. Records without a version always count.
/// A record that a person replays counts too: it was never applied.
///
/// # Errors
/// Those of the database.
pub async fn fresh<'a>(
    cx: &BatchCtx,
    conn: &mut AsyncPgConnection,
    batch: &'a [Delivered],
) -> Result<Vec<&'a Delivered>> {
    if cx.replay {
        return Ok(batch.iter().collect());
    }
    let versioned = || batch.iter().map(|d| &d.record.envelope).filter(|e| e.version > 0);
    let mut subjects: Vec<&str> = versioned().map(|envelope| envelope.subject.as_str()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    if subjects.is_empty() {
        return Ok(batch.iter().collect());
    }
    let seen: Vec<Row> =
        sql(SEEN).bind::<Text, _>(cx.consumer).bind::<Array<Text>, _>(&subjects).load(conn).await?;
    let seen = seen.into_iter().map(|row| (row.aggregate_id, row.version)).collect();
    let (fresh, applied) = select(batch, &seen);
    if !applied.is_empty() {
        let (subjects, versions): (Vec<&str>, Vec<i64>) = applied.into_iter().unzip();
        sql(REMEMBER)
            .bind::<Text, _>(cx.consumer)
            .bind::<Timestamptz, _>(cx.now)
            .bind::<Array<Text>, _>(subjects)
            .bind::<Array<BigInt>, _>(versions)
            .execute(conn)
            .await?;
    }
    Ok(fresh)
}

/// The records to apply and the highest version of each subject among them.
fn select<'a>(
    batch: &'a [Delivered],
    seen: &HashMap<String, i64>,
) -> (Vec<&'a Delivered>, BTreeMap<&'a str, i64>) {
    let mut applied: BTreeMap<&str, i64> = BTreeMap::new();
    let mut fresh = Vec::with_capacity(batch.len());
    for delivered in batch {
        let envelope = &delivered.record.envelope;
        if envelope.version > 0 {
            let subject = envelope.subject.as_str();
            let known = applied.get(subject).or_else(|| seen.get(subject));
            if known.is_some_and(|known| *known >= envelope.version) {
                continue;
            }
            applied.insert(subject, envelope.version);
        }
        fresh.push(delivered);
    }
    (fresh, applied)
}

/// Forgets versions seen longer than `keep` ago, which must exceed the topics' retention. Returns
/// how many of at most `limit`.
///
/// # Errors
/// Those of the database.
pub async fn sweep(db: &Db, source: &Source, keep: Duration, limit: i64) -> Result<usize> {
    let before = source.now() - TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    crate::system_tx!(db, "inbox retention", |conn| {
        let gone = sql(SWEEP).bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn).await?;
        Ok(gone)
    })
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    aggregate_id: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Envelope, Record};
    use crate::ctx::Ctx;
    use bytes::Bytes;

    #[test]
    fn a_version_counts_once() {
        let cx = Ctx::anonymous(Source::system());
        let delivered = |(offset, (subject, version)): (usize, (&str, i64))| Delivered {
            partition: 0,
            offset: offset as i64,
            record: Record {
                key: Bytes::new(),
                envelope: Envelope::new(&cx, "test", "test", subject, version),
                data: Bytes::new(),
            },
        };
        let batch: Vec<Delivered> = [("a", 2), ("b", 1), ("a", 3), ("a", 2), ("n", 0), ("n", 0), ("a", 3)]
            .into_iter()
            .enumerate()
            .map(delivered)
            .collect();
        let seen = HashMap::from([("a".to_owned(), 2)]);
        let (fresh, applied) = select(&batch, &seen);
        assert_eq!(fresh.iter().map(|d| d.offset).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(applied, BTreeMap::from([("a", 3), ("b", 1)]));
    }
}
