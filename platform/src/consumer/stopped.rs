//! A consumer whose position does not fit the log stands still and alone: what its process does
//! beside it, acknowledging above all, goes on. Nothing is reset; it looks again now and then, in case
//! a person has decided.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Consumer;
use crate::error::{Error, Kind, Result};

const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The consumers of this process that stand still. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<Mutex<BTreeMap<&'static str, Error>>>);

impl Stopped {
    /// Whether all consumers run, for a health name.
    ///
    /// # Errors
    /// Why one of them does not.
    pub fn check(&self) -> Result<()> {
        match self.all().first_key_value() {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `consumer` until `shutdown`, also when it has to stand still for a while.
    pub(crate) async fn run(self, mut consumer: Consumer, shutdown: CancellationToken) -> Result<()> {
        loop {
            let error = match consumer.run_until_stopped(shutdown.clone()).await {
                Err(error) if error.kind == Kind::Conflict => error,
                ended => return ended,
            };
            self.all().insert(consumer.name, error);
            if shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_none() {
                return Ok(());
            }
            self.all().remove(consumer.name);
        }
    }
}
