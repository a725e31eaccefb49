//! The bounded queue between requests and workers.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// How much may wait, and how much goes into one write.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items accepted and not yet written, in flight included.
    pub items: usize,
    /// Their weight in bytes, in flight included.
    pub bytes: usize,
    /// Items of one write. A single request larger than that is one write of its own.
    pub batch_items: usize,
    /// Bytes of one write, with the same exception.
    pub batch_bytes: usize,
    /// What a refused client is told to wait.
    pub retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items: 100_000,
            bytes: 64 << 20,
            batch_items: 10_000,
            batch_bytes: 4 << 20,
            retry_after: Duration::from_secs(1),
        }
    }
}

/// Why a request was not taken. Nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The buffer is full: slow down.
    #[error("the intake buffer is full")]
    Full { retry_after: Duration },
    /// The pipeline is shutting down.
    #[error("the intake is shutting down")]
    Closed,
    /// More than the whole buffer can ever hold: waiting will not help.
    #[error("the request is larger than the intake buffer")]
    TooLarge,
}

/// One request: its items stay together.
pub(crate) struct Entry<T, R> {
    pub items: Vec<T>,
    pub bytes: usize,
    pub reply: R,
}

pub(crate) struct Buffer<T, R> {
    limits: Limits,
    state: Mutex<State<T, R>>,
    arrived: Notify,
}

struct State<T, R> {
    queue: VecDeque<Entry<T, R>>,
    items: usize,
    bytes: usize,
    workers: usize,
    closed: bool,
}

impl<T, R> Buffer<T, R> {
    pub fn new(limits: Limits) -> Self {
        let state = State { queue: VecDeque::new(), items: 0, bytes: 0, workers: 0, closed: false };
        Self { limits, state: Mutex::new(state), arrived: Notify::new() }
    }

    pub fn push(&self, entry: Entry<T, R>) -> Result<(), Refused> {
        let (items, bytes) = (entry.items.len(), entry.bytes);
        if items > self.limits.items || bytes > self.limits.bytes {
            return Err(Refused::TooLarge);
        }
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items + items > self.limits.items || state.bytes + bytes > self.limits.bytes {
            return Err(Refused::Full { retry_after: self.limits.retry_after });
        }
        state.items += items;
        state.bytes += bytes;
        state.queue.push_back(entry);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// What waits, up to one write; waits for the first entry. `None` once closed and empty.
    pub async fn next_batch(&self) -> Option<Vec<Entry<T, R>>> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.lock();
                if let Some(batch) = take_batch(&mut state.queue, &self.limits) {
                    if !state.queue.is_empty() {
                        self.arrived.notify_one();
                    }
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Gives the room of a written (or failed) batch back.
    pub fn release(&self, items: usize, bytes: usize) {
        let mut state = self.lock();
        state.items -= items;
        state.bytes -= bytes;
    }

    /// One more worker takes from it.
    pub fn join(&self) {
        self.lock().workers += 1;
    }

    /// A worker has ended. After the last one nobody would take what waits: it is dropped, and so
    /// are its replies.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.workers -= 1;
        if state.workers > 0 {
            return;
        }
        state.closed = true;
        let waiting = std::mem::take(&mut state.queue);
        for entry in &waiting {
            state.items -= entry.items.len();
            state.bytes -= entry.bytes;
        }
        drop(state);
        drop(waiting);
    }

    /// Takes nothing more; what waits is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    pub fn waiting(&self) -> usize {
        self.lock().items
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_batch<T, R>(queue: &mut VecDeque<Entry<T, R>>, limits: &Limits) -> Option<Vec<Entry<T, R>>> {
    let first = queue.pop_front()?;
    let (mut items, mut bytes) = (first.items.len(), first.bytes);
    let mut batch = vec![first];
    while let Some(next) = queue.front() {
        if items + next.items.len() > limits.batch_items || bytes + next.bytes > limits.batch_bytes {
            break;
        }
        items += next.items.len();
        bytes += next.bytes;
        batch.extend(queue.pop_front());
    }
    Some(batch)
}
