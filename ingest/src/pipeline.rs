//! The front of the pipeline: submit and wait.

use std::{future::Future, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    buffer::{Buffer, Entry, Limits, Refused},
    worker::Worker,
};

/// Where batches become durable.
pub trait Sink<T>: Send + Sync + 'static {
    type Error: Clone + Send + Sync + 'static;

    /// Returns once the whole batch is durable. An error means that none of it counts as written:
    /// every request of the batch is told so.
    fn write(&self, batch: Vec<T>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What an item weighs in the buffer, in bytes.
pub trait Weigh {
    fn weight(&self) -> usize;
}

/// Told what the pipeline does, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// A batch of so many requests and items was written, or not.
    fn written(&self, requests: usize, items: usize, ok: bool);
    /// A request was refused.
    fn refused(&self, reason: Refused);
}

/// An observer that does not listen.
pub struct Silent;

impl Observer for Silent {
    fn written(&self, _requests: usize, _items: usize, _ok: bool) {}
    fn refused(&self, _reason: Refused) {}
}

/// Why a taken request was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten<E> {
    #[error("the write failed")]
    Failed(E),
    /// The worker ended before it came to it. It may or may not have been written.
    #[error("the intake ended before the write")]
    Abandoned,
}

pub(crate) type Reply<E> = oneshot::Sender<Result<(), E>>;
pub(crate) type Queue<T, E> = Arc<Buffer<T, Reply<E>>>;

/// The handle that requests submit to. Clones share the buffer.
pub struct Pipeline<T, S: Sink<T>> {
    buffer: Queue<T, S::Error>,
    observer: Arc<dyn Observer>,
}

impl<T, S: Sink<T>> Clone for Pipeline<T, S> {
    fn clone(&self) -> Self {
        Self { buffer: self.buffer.clone(), observer: self.observer.clone() }
    }
}

/// Resolves when the request is durable, or will not be.
pub struct Ack<E>(oneshot::Receiver<Result<(), E>>);

impl<E> Ack<E> {
    /// Dropping this instead does not take the request back.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn durable(self) -> Result<(), NotWritten<E>> {
        match self.0.await {
            Ok(result) => result.map_err(NotWritten::Failed),
            Err(_) => Err(NotWritten::Abandoned),
        }
    }
}

impl<T: Weigh + Send + 'static, S: Sink<T>> Pipeline<T, S> {
    /// A pipeline and one worker for it; more come from [`Pipeline::worker`]. With several workers
    /// several writes are under way at once and batches may become durable out of order.
    pub fn new(sink: Arc<S>, limits: Limits, observer: Arc<dyn Observer>) -> (Self, Worker<T, S>) {
        let pipeline = Self { buffer: Arc::new(Buffer::new(limits)), observer };
        let worker = pipeline.worker(sink);
        (pipeline, worker)
    }

    pub fn worker(&self, sink: Arc<S>) -> Worker<T, S> {
        Worker::new(self.buffer.clone(), sink, self.observer.clone())
    }

    /// Takes a request whose items stay together, in their order.
    ///
    /// # Errors
    /// [`Refused`]: nothing of it will be written.
    pub fn submit(&self, items: Vec<T>) -> Result<Ack<S::Error>, Refused> {
        let bytes = items.iter().map(Weigh::weight).sum();
        let (reply, ack) = oneshot::channel();
        match self.buffer.push(Entry { items, bytes, reply }) {
            Ok(()) => Ok(Ack(ack)),
            Err(reason) => {
                self.observer.refused(reason);
                Err(reason)
            }
        }
    }

    /// Refuses what comes from now on. Workers end when the rest is written.
    pub fn close(&self) {
        self.buffer.close();
    }

    /// Items accepted and not yet written.
    pub fn waiting(&self) -> usize {
        self.buffer.waiting()
    }
}
