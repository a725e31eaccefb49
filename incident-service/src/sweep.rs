//! Forgets windows and event ids whose time is over.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use platform::bus::Bus;
use platform::db::Db;
use platform::deps::Deps;
use platform::error::{Error, Result};
use platform::source::Source;

use crate::engine::Event;
use crate::store::windows;
use crate::{EVENTS, NAME, consumers};

const EVERY: Duration = Duration::from_secs(15);
/// Rows of a table that one transaction removes.
const BATCH: usize = 5_000;
/// Gateways stamp an event a moment before the log has it, and not in the log's order.
const SLACK: TimeDelta = TimeDelta::minutes(1);
/// How long the log may take to show a record that is there.
const READ: Duration = Duration::from_secs(2);

/// Removes what no event can count with any more. What expires is remembered for as long as events
/// wait that were accepted before: a consumer that comes late decides like one in time.
#[derive(Clone)]
pub struct Sweeper {
    db: Db,
    bus: Arc<dyn Bus>,
    source: Source,
}

/// Starts the sweeper.
pub fn start(deps: &Deps, db: &Db) {
    let sweeper = Sweeper::new(db, deps.bus.clone(), &deps.source);
    deps.every(EVERY, format!("{NAME}.sweep"), move || {
        let sweeper = sweeper.clone();
        async move { sweeper.step().await }
    });
}

impl Sweeper {
    pub fn new(db: &Db, bus: Arc<dyn Bus>, source: &Source) -> Self {
        Self { db: db.clone(), bus, source: source.clone() }
    }

    /// Removes everything that is over now.
    ///
    /// # Errors
    /// Those of the database and the bus.
    pub async fn step(&self) -> Result<()> {
        let before = self.oldest_waiting().await? - SLACK;
        loop {
            let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
            let gone =
                platform::system_tx!(self.db, "retention", |conn| windows::sweep(conn, before, limit).await)?;
            metrics::counter!("pulseops_incident_swept_rows_total").increment(gone as u64);
            if gone < BATCH {
                return Ok(());
            }
        }
    }

    /// When the oldest event was accepted that the rules have not seen; now, when they have seen all.
    async fn oldest_waiting(&self) -> Result<DateTime<Utc>> {
        let now = self.source.now();
        let ends = self.bus.bounds(EVENTS.name).await?;
        let positions = platform::system_tx!(self.db, "retention", |conn| {
            windows::positions(conn, consumers::RULES, EVENTS.name).await
        })?;
        let end = |partition| ends.iter().find(|end| end.partition == partition).map_or(0, |end| end.end);
        let mut oldest = now;
        for (partition, next) in positions.into_iter().filter(|(partition, next)| *next < end(*partition)) {
            let mut reader = self.bus.reader(EVENTS.name).await?;
            reader.assign(&[(partition, next)]);
            let read = reader.poll(1, READ).await?;
            let first = read.iter().flat_map(|batch| &batch.records).next();
            let silent = || Error::unavailable("bus_unavailable", "a record that is there was not read");
            oldest = oldest.min(Event::accepted_at(first.ok_or_else(silent)?));
        }
        Ok(oldest)
    }
}
