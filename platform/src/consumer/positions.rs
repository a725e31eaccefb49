//! The SQL of positions and members: every statement that takes, moves or gives back a lease.

use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StartAt;
use crate::bus::{Bounds, Topic};
use crate::db::Db;
use crate::error::Result;
use crate::sql::sql;

type SqlUuid = diesel::sql_types::Uuid;

const CREATE: &str = "
INSERT INTO positions (consumer, topic, log_id, epoch, partition, next)
SELECT $1, $2, $3, 0, partition, next FROM unnest($4, $5) AS p(partition, next)
ON CONFLICT (consumer, topic, partition) DO NOTHING";

// A row of this owner that it does not hold (an answer was lost) is taken again under a new epoch.
const ACQUIRE: &str = "
WITH arg AS (SELECT $1 AS consumer, $2 AS topic, $3 AS owner, $4 AS held),
free AS (
    SELECT p.consumer, p.topic, p.partition, a.owner
    FROM arg a JOIN positions p ON p.consumer = a.consumer AND p.topic = a.topic
    WHERE p.partition <> ALL (a.held)
      AND (p.owner IS NULL OR p.owner = a.owner OR p.lease_until < pulseops.now())
    ORDER BY p.partition LIMIT $5
    FOR UPDATE OF p SKIP LOCKED
)
UPDATE positions p
SET owner = f.owner, epoch = p.epoch + 1, lease_until = pulseops.now() + interval '3 seconds'
FROM free f
WHERE p.consumer = f.consumer AND p.topic = f.topic AND p.partition = f.partition
RETURNING p.partition, p.next, p.epoch, p.log_id";

const ADVANCE: &str = "
UPDATE positions SET next = $1
WHERE consumer = $2 AND topic = $3 AND partition = $4 AND next = $5 AND epoch = $6";

const RELEASE: &str = "
UPDATE positions SET owner = NULL, lease_until = NULL
WHERE consumer = $1 AND topic = $2 AND owner = $3 AND partition = ANY ($4)";

const CONFIRM: &str = "
SELECT partition FROM positions
WHERE consumer = $1 AND topic = $2 AND partition = $3 AND epoch = $4 FOR UPDATE";

/// A partition just taken.
#[derive(diesel::QueryableByName, Clone, Copy, Debug)]
pub(super) struct Taken {
    #[diesel(sql_type = Integer)]
    pub(super) partition: i32,
    #[diesel(sql_type = BigInt)]
    pub(super) next: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) epoch: i64,
    #[diesel(sql_type = SqlUuid)]
    pub(super) log_id: Uuid,
}

/// Makes the rows that are not there yet.
pub(super) async fn create(
    db: &Db,
    consumer: &str,
    topic: &Topic,
    bounds: &[Bounds],
    start: StartAt,
) -> Result<()> {
    let partitions: Vec<i32> = bounds.iter().map(|b| b.partition).collect();
    let first = |b: &Bounds| match start {
        StartAt::Oldest => b.start,
        StartAt::Newest => b.end,
    };
    let nexts: Vec<i64> = bounds.iter().map(first).collect();
    crate::system_tx!(db, "consumer positions", |conn| {
        sql(CREATE)
            .bind::<Text, _>(consumer)
            .bind::<Text, _>(&topic.name)
            .bind::<SqlUuid, _>(topic.log_id)
            .bind::<Array<Integer>, _>(&partitions)
            .bind::<Array<BigInt>, _>(&nexts)
            .execute(conn)
            .await?;
        Ok(())
    })
}

/// Takes up to `limit` partitions beside those `held`.
pub(super) async fn acquire(
    db: &Db,
    consumer: &str,
    topic: &str,
    owner: Uuid,
    held: &[i32],
    limit: i64,
) -> Result<Vec<Taken>> {
    crate::system_tx!(db, "consumer leases", |conn| {
        let taken = sql(ACQUIRE)
            .bind::<Text, _>(consumer)
            .bind::<Text, _>(topic)
            .bind::<SqlUuid, _>(owner)
            .bind::<Array<Integer>, _>(held)
            .bind::<BigInt, _>(limit)
            .load::<Taken>(conn)
            .await?;
        Ok(taken)
    })
}

/// Moves a position from `old` to `new` in the caller's transaction. False: somebody else owns it.
pub(super) async fn advance(
    conn: &mut AsyncPgConnection,
    (consumer, topic, partition): (&str, &str, i32),
    epoch: i64,
    old: i64,
    new: i64,
) -> Result<bool> {
    let moved = sql(ADVANCE)
        .bind::<BigInt, _>(new)
        .bind::<Text, _>(consumer)
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<BigInt, _>(old)
        .bind::<BigInt, _>(epoch)
        .execute(conn)
        .await?;
    Ok(moved == 1)
}

/// Whether the lease still stands; it then does until the caller's transaction ends.
pub(super) async fn confirm(
    conn: &mut AsyncPgConnection,
    (consumer, topic, partition): (&str, &str, i32),
    epoch: i64,
) -> Result<bool> {
    let rows = sql(CONFIRM)
        .bind::<Text, _>(consumer)
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<BigInt, _>(epoch)
        .execute(conn)
        .await?;
    Ok(rows == 1)
}

/// Gives partitions back; those of somebody else stay theirs.
pub(super) async fn release(
    db: &Db,
    consumer: &str,
    topic: &str,
    owner: Uuid,
    partitions: &[i32],
) -> Result<()> {
    crate::system_tx!(db, "consumer leases", |conn| {
        sql(RELEASE)
            .bind::<Text, _>(consumer)
            .bind::<Text, _>(topic)
            .bind::<SqlUuid, _>(owner)
            .bind::<Array<Integer>, _>(partitions)
            .execute(conn)
            .await?;
        Ok(())
    })
}
