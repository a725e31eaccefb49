//! Room for large bodies. The buffer counts events once they are submitted; what a request holds
//! before that is bounded here, stage by stage: bodies that arrive by how many, those that are
//! expanded and read, which hold many times as much, by the cores that do it, and what was read and
//! waits for its services by its size. No organization gets all of a stage where others would wait.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use platform::ctx::OrgId;
use platform::error::{Error, Result};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::full;
use crate::config::IntakeConfig;

/// How long a body waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// An organization has room for one of so many bodies that arrive: how long that takes is up to it.
const ARRIVING_SHARES: usize = 4;

#[derive(Clone)]
pub struct Room {
    arriving: Arc<Stage>,
    reading: Arc<Stage>,
    held: Arc<Stage>,
}

/// What a request takes up of a stage, until it is dropped.
pub struct Permit {
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Room {
    pub fn new(limits: &IntakeConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let bodies = (limits.buffer_bytes / limits.body_limit_bytes.max(1)).max(cores).max(ARRIVING_SHARES);
        Self {
            arriving: Stage::new(bodies, bodies.div_ceil(ARRIVING_SHARES)),
            // A core is left for others, where there is more than one.
            reading: Stage::new(cores, cores.saturating_sub(1)),
            held: Stage::new(limits.buffer_bytes, limits.buffer_bytes.div_ceil(2)),
        }
    }

    /// Before a large body, or one that does not say how large it is, is received.
    ///
    /// # Errors
    /// TooMany `intake_full`.
    pub async fn receive(&self, org: OrgId) -> Result<Permit> {
        self.arriving.enter(org).await
    }

    /// Expands and reads a body on a thread of its own. Such work goes on when its request is gone,
    /// and so does what it takes up.
    ///
    /// # Errors
    /// TooMany `intake_full`; Internal when `work` panics.
    pub async fn read<T: Send + 'static>(
        &self,
        org: OrgId,
        arrived: Option<Permit>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let reading = self.reading.enter(org).await?;
        let work = move || {
            let _until_read = (arrived, reading);
            work()
        };
        spawn_blocking(work).await.map_err(Error::internal)
    }

    /// For `bytes` that were read, until the buffer counts them. It does not wait: who waits has
    /// them in memory.
    ///
    /// # Errors
    /// TooMany `intake_full`.
    pub fn hold(&self, org: OrgId, bytes: usize) -> Result<Permit> {
        self.held.try_enter(org, bytes).ok_or_else(full)
    }
}

/// So much at a time, and of it a share for each organization.
struct Stage {
    all: Arc<Semaphore>,
    share: u32,
    /// Those that have something in it or wait for it.
    shares: Mutex<HashMap<OrgId, Weak<Semaphore>>>,
}

impl Stage {
    fn new(all: usize, share: usize) -> Arc<Self> {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        let share = u32::try_from(share.clamp(1, all)).unwrap_or(u32::MAX);
        Arc::new(Self { all: Arc::new(Semaphore::new(all)), share, shares: Mutex::default() })
    }

    async fn enter(&self, org: OrgId) -> Result<Permit> {
        let share = self.share_of(org);
        let both = async {
            // The share comes first: nobody stands in line for all with more than that.
            let share = share.acquire_owned().await?;
            let all = self.all.clone().acquire_owned().await?;
            Ok::<_, AcquireError>(Permit { _share: share, _all: all })
        };
        timeout(PATIENCE, both).await.map_err(|_| full())?.map_err(Error::internal)
    }

    /// What is larger than a share takes all of it.
    fn try_enter(&self, org: OrgId, size: usize) -> Option<Permit> {
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(self.share);
        let share = self.share_of(org).try_acquire_many_owned(size).ok()?;
        let all = self.all.clone().try_acquire_many_owned(size).ok()?;
        Some(Permit { _share: share, _all: all })
    }

    fn share_of(&self, org: OrgId) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&org).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.share as usize));
        shares.insert(org, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests;
