use std::time::{Duration, Instant};

use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::error::{Error, Result};
use crate::sql::sql;

/// A handler works this long at once; then others on this thread, lease keepers among them, have their turn.
const WORK: Duration = Duration::from_millis(5);
/// Postgres ends a transaction that it hears nothing of for a lease's time.
const SILENCE: Duration = Duration::from_secs(1);
/// What the work of a batch may take before others have their turn.
const BATCH: Duration = Duration::from_millis(200);

/// Breaks in the long work of a batch, for others on its thread and for its transaction.
#[derive(Debug)]
pub struct Breaks {
    worked: Instant,
    spoke: Instant,
    /// Work before `worked`.
    before: Duration,
    limit: Duration,
}

impl Breaks {
    /// Work begins that has to be done whole.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { worked: now, spoke: now, before: Duration::ZERO, limit: Duration::MAX }
    }

    /// The work of a batch of so many records begins. It ends when it takes too long, and the batch is
    /// cut; there is nothing to cut in one record.
    pub fn of_batch(records: usize) -> Self {
        let limit = if records > 1 { BATCH } else { Duration::MAX };
        Self { limit, ..Self::begin() }
    }

    /// Between two pieces of work: a break, when it is time for one.
    ///
    /// # Errors
    /// Those of the database; Internal `too_much_at_once` when the batch has taken too long.
    pub async fn take(&mut self, conn: &mut AsyncPgConnection) -> Result<()> {
        let piece = self.worked.elapsed();
        within(self.limit, self.before + piece)?;
        if piece > WORK {
            tokio::task::yield_now().await;
            self.before += piece;
            self.worked = Instant::now();
        }
        if self.spoke.elapsed() > SILENCE {
            sql("SELECT 1").execute(conn).await?;
            self.spoke = Instant::now();
        }
        Ok(())
    }
}

fn within(limit: Duration, work: Duration) -> Result<()> {
    if work <= limit {
        return Ok(());
    }
    let detail = format!("the batch was at work for more than {limit:?}");
    Err(Error::internal(detail).with_code("too_much_at_once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_and_single_records_are_not() {
        let ended = |records, ms| within(Breaks::of_batch(records).limit, Duration::from_millis(ms)).err();
        assert!(ended(2, 200).is_none());
        let error = ended(2, 201).expect("too long");
        assert!(error.code == "too_much_at_once" && !error.is_retryable(), "the consumer halves it");
        assert!(ended(1, 60_000).is_none());
        assert!(within(Breaks::begin().limit, Duration::from_secs(60)).is_ok());
    }
}
