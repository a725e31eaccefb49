use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use platform::leased::Claim;
use uuid::Uuid;

use crate::store::runs::Run;

/// Runs on their way from the transaction that made them to their first operation, so that it need
/// not be read back. A run that is not found here, or has another lease by now, is loaded.
#[derive(Clone, Debug)]
pub struct Fresh(Cache<Uuid, Arc<Run>>);

impl Default for Fresh {
    fn default() -> Self {
        let runs = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(3));
        Self(runs.build())
    }
}

impl Fresh {
    /// Hands over committed runs.
    pub fn put(&self, runs: Vec<Run>) {
        for run in runs {
            self.0.insert(run.id, Arc::new(run));
        }
    }

    /// The run of `claim`, once.
    pub fn take(&self, claim: &Claim) -> Option<Run> {
        let run = self.0.remove(&claim.id)?;
        (run.epoch == claim.epoch).then(|| Arc::unwrap_or_clone(run))
    }
}
