//! Positions as operators see and move them.

use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::bus::{Bounds, Bus, Topic};
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
    /// With the oldest record that is kept. What was applied is seen again; a handler knows it only as
    /// long as it remembers.
    Oldest,
    /// With what comes from now on: what was not applied is skipped.
    Newest,
}

/// What of the log a position can be compared with.
#[derive(Clone, Debug)]
pub struct Log {
    topic: Topic,
    bounds: Vec<Bounds>,
}

impl Log {
    /// The log of `topic` as it is now.
    ///
    /// # Errors
    /// NotFound; those of the bus.
    pub async fn read(bus: &dyn Bus, topic: &str) -> Result<Self> {
        let known = bus.topic(topic).await?.ok_or_else(|| Error::not_found("topic"))?;
        Ok(Self { topic: known, bounds: bus.bounds(topic).await? })
    }

    /// How many records are behind `position`.
    ///
    /// # Errors
    /// Conflict, why reading cannot go on there: `log_mismatch` and those of [`Bounds::check`].
    pub fn behind(&self, position: &Position) -> Result<i64> {
        let bound = self.bounds.iter().find(|bound| bound.partition == position.partition);
        let bound = bound.filter(|_| position.log_id == self.topic.log_id);
        let bound = bound.ok_or_else(|| Error::conflict("log_mismatch", "it belongs to another log"))?;
        bound.check(position.next)?;
        Ok(bound.end - position.next)
    }
}

/// Where the consumers of the service behind `db` stand.
///
/// # Errors
/// Those of the database.
pub async fn positions(db: &Db) -> Result<Vec<Position>> {
    let mut connection = db.connection().await?;
    Ok(sql(LIST).load(&mut connection).await?)
}

/// Makes a consumer of the service behind `db` go on elsewhere in `log`, in whichever process it runs,
/// in the partitions of these `positions`.
///
/// # Errors
/// Those of the database.
pub async fn seek(db: &Db, log: &Log, positions: &[&Position], to: SeekTo) -> Result<()> {
    let Some(first) = positions.first() else { return Ok(()) };
    let bounds = log.bounds.iter().filter(|bound| positions.iter().any(|at| at.partition == bound.partition));
    let place = |bound: &Bounds| match to {
        SeekTo::Oldest => (bound.partition, bound.start),
        SeekTo::Newest => (bound.partition, bound.end),
    };
    let (partitions, nexts): (Vec<i32>, Vec<i64>) = bounds.map(place).unzip();
    let mut connection = db.connection().await?;
    sql(SEEK)
        .bind::<Text, _>(&first.consumer)
        .bind::<Text, _>(&first.topic)
        .bind::<SqlUuid, _>(log.topic.log_id)
        .bind::<Array<Integer>, _>(&partitions)
        .bind::<Array<BigInt>, _>(&nexts)
        .execute(&mut connection)
        .await?;
    Ok(())
}
