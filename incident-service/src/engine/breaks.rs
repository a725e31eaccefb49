use std::time::{Duration, Instant};

use diesel_async::AsyncPgConnection;
use platform::error::Result;

use crate::store::windows;

/// Rules run this long at once; then others on this thread, lease keepers among them, have their turn.
const WORK: Duration = Duration::from_millis(5);
/// Postgres ends a transaction that it hears nothing of for a lease's time.
const SILENCE: Duration = Duration::from_secs(1);

/// Breaks in the long work of a batch, for others on its thread and for its transaction.
#[derive(Debug)]
pub struct Breaks {
    worked: Instant,
    spoke: Instant,
}

impl Breaks {
    /// The work begins.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { worked: now, spoke: now }
    }

    /// Between two pieces of work: a break, when it is time for one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(&mut self, conn: &mut AsyncPgConnection) -> Result<()> {
        if self.worked.elapsed() > WORK {
            tokio::task::yield_now().await;
            self.worked = Instant::now();
        }
        if self.spoke.elapsed() > SILENCE {
            windows::keep_alive(conn).await?;
            self.spoke = Instant::now();
        }
        Ok(())
    }
}
