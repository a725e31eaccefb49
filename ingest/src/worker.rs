//! Takes what waits, writes it, answers everybody.

use std::sync::Arc;

use crate::pipeline::{Observer, Queue, Sink};

/// Runs until the pipeline is closed and empty.
pub struct Worker<T, S: Sink<T>> {
    buffer: Queue<T, S::Error>,
    sink: Arc<S>,
    observer: Arc<dyn Observer>,
}

impl<T: Send + 'static, S: Sink<T>> Worker<T, S> {
    pub(crate) fn new(buffer: Queue<T, S::Error>, sink: Arc<S>, observer: Arc<dyn Observer>) -> Self {
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
        let mut bytes = 0;
        let mut items = Vec::with_capacity(entries.iter().map(|entry| entry.items.len()).sum());
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            bytes += entry.bytes;
            items.extend(entry.items);
            replies.push(entry.reply);
        }
        let count = items.len();
        let result = self.sink.write(items).await;
        self.buffer.release(count, bytes);
        self.observer.written(replies.len(), count, result.is_ok());
        for reply in replies {
            // A client that went away does not need the answer.
            let _ = reply.send(result.clone());
        }
        true
    }
}
