//! Wake-ups by name inside one process: whoever commits work tells its follower at once. A wake-up
//! is a hint and may be lost with the process; polling is the net beneath every follower.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::sync::watch;

/// Wake-ups by name. Cloning shares them.
#[derive(Clone, Default)]
pub struct Wakes(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

impl Wakes {
    /// Wakes every subscriber of `name`. Many calls before a subscriber looks are one wake-up.
    pub fn notify(&self, name: &str) {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = names.get(name) {
            sender.send_replace(());
        }
    }

    /// Wakes every subscriber of every name: for when wake-ups may have been missed.
    pub fn notify_all(&self) {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in names.values() {
            sender.send_replace(());
        }
    }

    /// Subscribes to wake-ups of `name` from now on.
    pub fn subscribe(&self, name: &str) -> Subscription {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = names.entry(name.to_owned()).or_insert_with(|| watch::Sender::new(()));
        Subscription(sender.subscribe())
    }
}

impl std::fmt::Debug for Wakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wakes").finish_non_exhaustive()
    }
}

/// One follower's view of a name. A wake-up between two calls of [`changed`](Self::changed) is kept.
#[derive(Clone, Debug)]
pub struct Subscription(watch::Receiver<()>);

impl Subscription {
    /// Returns when there was a wake-up since the last return. Safe to drop and call again.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Every `Wakes` is gone: nobody can wake us any more.
            std::future::pending::<()>().await;
        }
    }

    /// Forgets wake-ups that have already come: what follows is looked at anyway.
    pub fn clear(&mut self) {
        self.0.mark_unchanged();
    }
}

/// What a connection's open transaction wants to wake once it has committed. It rides on the
/// connection as its instrumentation, so that code that only has the connection can reach it.
pub struct OnCommit {
    wakes: Wakes,
    pending: Vec<Cow<'static, str>>,
}

impl OnCommit {
    /// For a new connection whose commits wake subscribers in `wakes`.
    pub fn new(wakes: Wakes) -> Self {
        Self { wakes, pending: Vec::new() }
    }
}

impl Instrumentation for OnCommit {
    fn on_connection_event(&mut self, _: InstrumentationEvent<'_>) {}
}

/// Asks for a wake-up of `name` when the transaction open on `conn` has committed; nothing happens
/// when it rolls back. On a connection that did not come from [`Db`](crate::db::Db) it does nothing.
pub fn on_commit(conn: &mut AsyncPgConnection, name: impl Into<Cow<'static, str>>) {
    let name = name.into();
    if let Some(riding) = conn.instrumentation().as_any_mut().downcast_mut::<OnCommit>()
        && !riding.pending.contains(&name)
    {
        riding.pending.push(name);
    }
}

/// Called by [`Tx`](crate::db::Tx) when its transaction has ended.
pub(crate) fn ended(conn: &mut AsyncPgConnection, committed: bool) {
    if let Some(riding) = conn.instrumentation().as_any_mut().downcast_mut::<OnCommit>() {
        for name in riding.pending.drain(..) {
            if committed {
                riding.wakes.notify(&name);
            }
        }
    }
}

/// What one step of a loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was work, and there may be more.
    Worked,
    /// There was nothing to do; look again after `next` at the latest, or at the next wake-up.
    Idle {
        /// Time until something is known to be due.
        next: Option<std::time::Duration>,
    },
}

impl Progress {
    /// Whether there was work.
    pub fn worked(self) -> bool {
        self == Self::Worked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn wake_ups_between_looks_are_one_and_are_kept() {
        let wakes = Wakes::default();
        let mut outbox = wakes.subscribe("outbox");
        let mut other = wakes.subscribe("other");
        assert!(outbox.changed().now_or_never().is_none());
        wakes.notify("outbox");
        wakes.notify("outbox");
        assert!(outbox.changed().now_or_never().is_some());
        assert!(outbox.changed().now_or_never().is_none());
        assert!(other.changed().now_or_never().is_none());
        wakes.notify_all();
        outbox.clear();
        assert!(outbox.changed().now_or_never().is_none());
        assert!(other.changed().now_or_never().is_some());
    }
}
