//! Room for large bodies. The buffer counts events once they are read; what a request holds before
//! that is bounded here: bodies that arrive by how many, those that are expanded and read, which
//! hold many times as much, by the cores that do it.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use platform::error::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::full;
use crate::config::IntakeConfig;

/// How long a body waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Room {
    arriving: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// What a request takes up until the buffer has counted its events.
#[derive(Default)]
pub struct Taken(Vec<OwnedSemaphorePermit>);

impl Room {
    pub fn new(limits: &IntakeConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let bodies = limits.buffer_bytes / limits.body_limit_bytes.max(1);
        let arriving = bodies.clamp(cores, Semaphore::MAX_PERMITS);
        Self { arriving: Arc::new(Semaphore::new(arriving)), reading: Arc::new(Semaphore::new(cores)) }
    }

    /// Before a large body, or one that does not say how large it is, is received.
    ///
    /// # Errors
    /// TooMany `intake_full`.
    pub async fn receive(&self, taken: &mut Taken) -> Result<()> {
        taken.add(&self.arriving).await
    }

    /// Before it is expanded and read.
    ///
    /// # Errors
    /// TooMany `intake_full`.
    pub async fn read(&self, taken: &mut Taken) -> Result<()> {
        taken.add(&self.reading).await
    }
}

impl Taken {
    async fn add(&mut self, room: &Arc<Semaphore>) -> Result<()> {
        match timeout(PATIENCE, room.clone().acquire_owned()).await {
            Ok(permit) => self.0.push(permit.map_err(Error::internal)?),
            Err(_) => return Err(full()),
        }
        Ok(())
    }
}
