//! Work that is due at a time is a row in its owner's table. A process takes a row by a lease with
//! an epoch, does one step of it and ends it in a transaction of its own that compares the epoch. A
//! killed process loses its lease, not the work; a paused one cannot record an outcome.
//!
//! The table has `org_id uuid, id uuid` as its key and the columns
//! `due_at timestamptz` (NULL: terminal), `lease_until timestamptz`, `epoch int8 NOT NULL DEFAULT 0`,
//! `attempts int4 NOT NULL DEFAULT 0`, with two indexes `WHERE due_at IS NOT NULL`, for each lane:
//! `(due_at)` says whether and when something is due, `(org_id, due_at)` what of one organization.
//!
//! Rows that are due at once are inserted already leased ([`birth`]) and started right after that
//! commit ([`Handle::run_now`]); the driver finds those whose time came or whose lease ended.

mod claims;
mod driver;
mod queue;
mod slots;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

pub use claims::finish;
pub use driver::Driver;
pub use slots::Slots;

use crate::ctx::OrgId;
use crate::error::Result;
use crate::wake;

/// How long a lease lasts without being renewed.
pub const LEASE: Duration = crate::db::LEASE;

/// Code of the error that [`finish`] gives when the row belongs to somebody else by now.
pub const LEASE_LOST: &str = "lease_lost";

/// One kind of leased work.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// The table, as the service's search path finds it.
    const TABLE: &'static str;

    /// Which of its rows, as SQL over its columns: work that may hang in one lane, work that must
    /// not wait for it in another, each with a driver and a [`Handle`] of its own.
    const ONLY: &'static str = "true";

    /// Name of the driver in logs, metrics and the lifecycle.
    const NAME: &'static str = Self::TABLE;

    /// One step of a claimed row. It ends with a transaction that records what happened and calls
    /// [`finish`]. Whatever it does outside may be done again: the claim may have been lost before.
    ///
    /// # Errors
    /// After an error, as after a panic, the driver tries the row again with a growing pause, for
    /// ever; giving up is an [`Outcome::Dead`] that the step decides by [`Claim::attempts`].
    async fn step(&self, claim: Claim) -> Result<()>;
}

/// A row that this process has leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Organization of the row.
    pub org: OrgId,
    /// Id of the row.
    pub id: Uuid,
    /// The lease's epoch.
    pub epoch: i64,
    /// How often the row was claimed, this time included, since the last [`Outcome::Next`].
    pub attempts: i32,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Done,
    /// The same thing again at this time; attempts go on counting.
    Again(DateTime<Utc>),
    /// It came forward; the next thing is due at this time and attempts count from 0.
    Next(DateTime<Utc>),
    /// It will not be done, for this reason.
    Dead(String),
}

/// Values of the lease columns for a row that is inserted already leased to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Due at once.
    pub due_at: DateTime<Utc>,
    /// When somebody else may take it.
    pub lease_until: DateTime<Utc>,
    /// The first epoch.
    pub epoch: i64,
    /// The first attempt.
    pub attempts: i32,
}

/// The lease columns of a row inserted now, leased to this process. `now` is of a
/// [`Source`](crate::source::Source) that follows the database's clock.
pub fn birth(now: DateTime<Utc>) -> Birth {
    let lease = TimeDelta::from_std(LEASE).unwrap_or(TimeDelta::zero());
    Birth { due_at: now, lease_until: now + lease, epoch: 1, attempts: 1 }
}

impl Birth {
    /// The claim on the row that was inserted with these values.
    pub fn claim(&self, org: OrgId, id: Uuid) -> Claim {
        Claim { org, id, epoch: self.epoch, attempts: self.attempts }
    }
}

/// The way to a driver for those who insert its rows. Cloning shares it; make it before the driver.
#[derive(Clone, Default)]
pub struct Handle(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    queue: Mutex<queue::Queue>,
    /// Claims for which there was no room: given back to whoever finds them first.
    surplus: Mutex<Vec<Claim>>,
    /// Most claims that may wait; 0 until a driver says how many.
    limit: AtomicUsize,
    filled: Notify,
}

impl Handle {
    /// Starts rows born leased; call it right after their commit. Without a running driver they wait
    /// for their lease to end, here or elsewhere; more than a driver can start soon are given back.
    pub fn run_now(&self, claims: impl IntoIterator<Item = Claim>) {
        let limit = self.0.limit.load(Ordering::Relaxed);
        let mut queue = self.queue();
        for claim in claims {
            // No organization fills it alone.
            if limit == 0 || (queue.len() < limit && queue.of(claim.org) < limit.div_ceil(2)) {
                queue.push(claim, slots::Kind::Born);
            } else {
                lock(&self.0.surplus).push(claim);
            }
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, queue::Queue> {
        lock(&self.0.queue)
    }

    fn surplus(&self) -> Vec<Claim> {
        std::mem::take(&mut *lock(&self.0.surplus))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the driver of `table` in this process look at once when the transaction open on `conn` has
/// committed: for rows whose due time was set or pulled forward.
pub fn wake_on_commit(conn: &mut AsyncPgConnection, table: &str) {
    wake::on_commit(conn, wake_name(table));
}

fn wake_name(table: &str) -> String {
    format!("leased.{table}")
}
