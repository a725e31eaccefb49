//! Takes what waits, writes it, answers everybody.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::pipeline::{Observer, Queue, Reply, Sink};

/// Runs until the pipeline is closed and empty. When the last worker of a pipeline is dropped before
/// that, the pipeline closes and whoever waits is told that it was abandoned.
pub struct Worker<T, S: Sink<T>> {
    buffer: Queue<T, S::Error>,
    sink: Arc<S>,
    observer: Arc<dyn Observer>,
}

impl<T, S: Sink<T>> Drop for Worker<T, S> {
    fn drop(&mut self) {
        self.buffer.leave();
    }
}

/// Room of the batch in flight, given back also when its write is never finished.
struct Room<'b, T, E> {
    buffer: &'b Buffer<T, Reply<E>>,
    items: usize,
    bytes: usize,
}

impl<T, E> Drop for Room<'_, T, E> {
    fn drop(&mut self) {
        self.buffer.release(self.items, self.bytes);
    }
}

impl<T: Send + 'static, S: Sink<T>> Worker<T, S> {
    pub(crate) fn new(buffer: Queue<T, S::Error>, sink: Arc<S>, observer: Arc<dyn Observer>) -> Self {
        buffer.join();
        Self { buffer, sink, observer }
    }

    pub async fn run(mut self) {
        while self.step().await {}
    }

    /// One write. `false` once the pipeline is closed and everything is written.
    pub async fn step(&mut self) -> bool {
        let Some(entries) = self.buffer.next_batch().await else {
            return false;
        };
        let bytes = entries.iter().map(|entry| entry.bytes).sum();
        let mut items = Vec::with_capacity(entries.iter().map(|entry| entry.items.len()).sum());
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            items.extend(entry.items);
            replies.push(entry.reply);
        }
        let count = items.len();
        let room = Room { buffer: &self.buffer, items: count, bytes };
        let result = self.sink.write(items).await;
        drop(room);
        self.observer.written(replies.len(), count, result.is_ok());
        for reply in replies {
            // A client that went away does not need the answer.
            let _ = reply.send(result.clone());
        }
        true
    }
}
