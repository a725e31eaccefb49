use std::future::Future;
use std::time::{Duration, Instant};

use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::error::Result;
use crate::sql::sql;

/// A handler works this long at once; then others on this thread, lease keepers among them, have their turn.
const WORK: Duration = Duration::from_millis(5);
/// Postgres ends a transaction that it hears nothing of for a lease's time.
const SILENCE: Duration = Duration::from_secs(1);
/// What the work of a batch may take before others have their turn.
const BATCH: Duration = Duration::from_millis(200);

/// Breaks in the long work of a batch, for others on its thread and for its transaction; and when it
/// has been long enough.
#[derive(Debug)]
pub struct Breaks {
    worked: Instant,
    spoke: Instant,
    /// Work before `worked`.
    work: Duration,
    limit: Duration,
}

impl Breaks {
    /// Work begins that has to be done whole.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { worked: now, spoke: now, work: Duration::ZERO, limit: Duration::MAX }
    }

    /// The work on a batch's records begins. When it has been [`enough`](Self::enough), it ends behind the
    /// record that was in work.
    pub fn of_batch() -> Self {
        Self { limit: BATCH, ..Self::begin() }
    }

    /// Of a batch that has been worked on for long enough.
    #[cfg(any(test, feature = "testing"))]
    pub fn of_long_batch() -> Self {
        Self { work: BATCH + Duration::from_millis(1), ..Self::of_batch() }
    }

    /// Between two pieces of work: a break, when it is time for one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(&mut self, conn: &mut AsyncPgConnection) -> Result<()> {
        let piece = self.worked.elapsed();
        let silent = self.spoke.elapsed() > SILENCE;
        if piece <= WORK && !silent {
            return Ok(());
        }
        self.work += piece;
        if silent {
            sql("SELECT 1").execute(conn).await?;
            self.spoke = Instant::now();
        } else {
            tokio::task::yield_now().await;
        }
        self.worked = Instant::now();
        Ok(())
    }

    /// Waits for `answer`, the database's as a rule: what that takes is no work of the batch.
    pub async fn waiting<T>(&mut self, answer: impl Future<Output = T>) -> T {
        self.work += self.worked.elapsed();
        let answer = answer.await;
        self.worked = Instant::now();
        answer
    }

    /// Whether the batch is to end here, with the records that were worked on:
    /// [`After::of_first`](super::After::of_first). Nothing is lost by it, so a slow machine may end
    /// batches early.
    pub fn enough(&self) -> bool {
        self.work + self.worked.elapsed() > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_may_be_enough_and_what_must_be_whole_is_not() {
        assert!(Breaks::of_long_batch().enough() && !Breaks::of_batch().enough());
        assert!(!Breaks { limit: Duration::from_secs(60), ..Breaks::of_long_batch() }.enough());
        assert!(!Breaks { work: Duration::from_secs(60), ..Breaks::begin() }.enough());
    }

    #[tokio::test]
    async fn what_is_waited_for_is_no_work() {
        let began = Instant::now();
        let mut breaks = Breaks::of_batch();
        let (asked, told) = breaks
            .waiting(async {
                let asked = Instant::now();
                tokio::task::yield_now().await;
                (asked, Instant::now())
            })
            .await;
        assert!(breaks.work <= asked - began, "before the wait");
        assert!(breaks.worked >= told, "behind it");
    }

    #[tokio::test]
    async fn work_before_a_wait_counts() {
        let long_ago = Instant::now() - BATCH - Duration::from_millis(1);
        let mut breaks = Breaks { worked: long_ago, ..Breaks::of_batch() };
        breaks.waiting(async {}).await;
        assert!(breaks.enough());
    }
}
