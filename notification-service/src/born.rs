//! Deliveries between the commit that made them and their first attempt: what this process has just
//! written it need not read again. Only a shortcut: without an entry the row is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use platform::leased::Claim;
use uuid::Uuid;

use crate::channels::Destination;
use crate::delivery::Job;

/// Beyond this many, those are forgotten that another process must have taken by now.
const MANY: usize = 4_096;
const RECENT: TimeDelta = TimeDelta::seconds(60);

/// A delivery with its first attempt claimed, and where it goes.
pub struct Born {
    pub claim: Claim,
    pub job: Job,
    pub to: Destination,
}

/// Those of this process. Clones share them.
#[derive(Clone, Default)]
pub struct Nursery(Arc<Mutex<HashMap<Uuid, Born>>>);

impl Nursery {
    pub fn put(&self, born: Born) {
        let mut entries = self.entries();
        if entries.len() >= MANY {
            let recent = born.job.attempt.started_at - RECENT;
            entries.retain(|_, other| other.job.attempt.started_at > recent);
        }
        entries.insert(born.claim.id, born);
    }

    /// What was put for exactly this claim.
    pub fn take(&self, claim: &Claim) -> Option<(Job, Destination)> {
        let born = self.entries().remove(&claim.id)?;
        (born.claim == *claim).then_some((born.job, born.to))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Born>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
