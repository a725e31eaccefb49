//! Positions as operators see and move them.

use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::bus::{Bus, TopicSpec};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::sql::sql;

type SqlUuid = diesel::sql_types::Uuid;

const LIST: &str =
    "SELECT consumer, topic, partition, next, log_id FROM positions ORDER BY consumer, topic, partition";

// A new epoch: whoever owns a partition loses it and takes it again where it goes on.
const SEEK: &str = "
WITH arg AS (SELECT $1 AS consumer, $2 AS topic, $3 AS log_id)
UPDATE positions p
SET next = n.next, log_id = a.log_id, epoch = p.epoch + 1, owner = NULL, lease_until = NULL
FROM arg a, unnest($4, $5) AS n(partition, next)
WHERE p.consumer = a.consumer AND p.topic = a.topic AND p.partition = n.partition";

/// Where one consumer stands in one partition.
#[derive(diesel::QueryableByName, Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub consumer: String,
    /// The topic that it reads.
    #[diesel(sql_type = Text)]
    pub topic: String,
    /// The partition.
    #[diesel(sql_type = Integer)]
    pub partition: i32,
    /// Offset of the record that it reads next.
    #[diesel(sql_type = BigInt)]
    pub next: i64,
    /// The log that the offset is of.
    #[diesel(sql_type = SqlUuid)]
    pub log_id: Uuid,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// With the oldest record that is kept: what was applied is seen again, and known.
    Oldest,
    /// With what comes from now on: what was not applied is skipped.
    Newest,
}

/// Where the consumers of the service behind `db` stand.
///
/// # Errors
/// Those of the database.
pub async fn positions(db: &Db) -> Result<Vec<Position>> {
    let mut connection = db.connection().await?;
    Ok(sql(LIST).load(&mut connection).await?)
}

/// Makes `consumer` of the service behind `db` go on elsewhere in its topic, in whichever process it
/// runs. Returns how many partitions that were.
///
/// # Errors
/// NotFound when there is no such consumer of that topic; those of the bus and the database.
pub async fn seek(db: &Db, bus: &dyn Bus, consumer: &str, spec: &TopicSpec, to: SeekTo) -> Result<usize> {
    let topic = bus.ensure_topic(spec).await?;
    let bounds = bus.bounds(spec.name).await?;
    let partitions: Vec<i32> = bounds.iter().map(|bound| bound.partition).collect();
    let place = |bound: &crate::bus::Bounds| match to {
        SeekTo::Oldest => bound.start,
        SeekTo::Newest => bound.end,
    };
    let nexts: Vec<i64> = bounds.iter().map(place).collect();
    let mut connection = db.connection().await?;
    let moved = sql(SEEK)
        .bind::<Text, _>(consumer)
        .bind::<Text, _>(spec.name)
        .bind::<SqlUuid, _>(topic.log_id)
        .bind::<Array<Integer>, _>(&partitions)
        .bind::<Array<BigInt>, _>(&nexts)
        .execute(&mut connection)
        .await?;
    if moved == 0 { Err(Error::not_found("consumer")) } else { Ok(moved) }
}
