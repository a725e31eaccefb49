//! One clock for a deployment: the database's. Leases and due times are compared there and made
//! here, so a machine whose clock is an hour ahead would hold what it leased for an hour. Each
//! process measures how far it is off and corrects its [`Source`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::error::Result;
use crate::source::Source;
use crate::sql::sql;

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A slower answer says too little about the time at which it was given.
const SLOWEST_ANSWER: Duration = Duration::from_millis(500);
/// Below this nobody is told.
const WORTH_A_WORD: TimeDelta = TimeDelta::seconds(1);

/// Measures once and moves `source` by what it is off, unless that is within the measure's error or
/// the source stands still for a test.
///
/// # Errors
/// Those of the database.
pub async fn adjust(source: &Source, db: &Db) -> Result<()> {
    let mut connection = db.connection().await?;
    let (asked, before) = (Instant::now(), source.now());
    let there = sql("SELECT pulseops.now() AS now").get_result::<Row>(&mut connection).await?.now;
    let took = asked.elapsed();
    if took > SLOWEST_ANSWER {
        return Ok(());
    }
    let doubt = TimeDelta::from_std(took / 2).unwrap_or(TimeDelta::zero());
    let off = there - (before + doubt);
    metrics::gauge!("pulseops_clock_offset_seconds").set(off.as_seconds_f64());
    if off.abs() <= doubt + TimeDelta::milliseconds(2) {
        return Ok(());
    }
    if off.abs() >= WORTH_A_WORD {
        tracing::warn!(
            off_ms = off.num_milliseconds(),
            "this machine's clock is off; the database's is used"
        );
    }
    source.correct(off);
    Ok(())
}

/// Keeps `source` on the database's clock until `shutdown`.
///
/// # Errors
/// None; the type fits the lifecycle.
pub async fn follow(source: Source, db: Db, shutdown: CancellationToken) -> Result<()> {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        if let Err(error) = adjust(&source, &db).await {
            tracing::debug!(error = %error.chain(), "the clock was not compared");
        }
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}
