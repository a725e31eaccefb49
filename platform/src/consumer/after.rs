use std::future::Future;

use futures::future::BoxFuture;

/// What follows from a batch: how many of its records were taken, and what is to be done right after
/// the commit, in order: change memory, wake followers, start rows that were born leased. That is
/// dropped undone when the commit fails.
#[derive(Default)]
#[must_use = "it is for the consumer to run"]
pub struct After {
    steps: Vec<BoxFuture<'static, ()>>,
    first: Option<usize>,
}

impl After {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// This call.
    pub fn call(call: impl FnOnce() + Send + 'static) -> Self {
        Self::none().and_call(call)
    }

    /// And then this call.
    pub fn and_call(self, call: impl FnOnce() + Send + 'static) -> Self {
        self.and(async move { call() })
    }

    /// And then this future. The partition waits for it, so it must be short.
    pub fn and(mut self, future: impl Future<Output = ()> + Send + 'static) -> Self {
        self.steps.push(Box::pin(future));
        self
    }

    /// The batch ended behind its first `records`, at least one: they alone were applied. The position
    /// moves past them; the others come again when other partitions have had their turn.
    pub fn of_first(mut self, records: usize) -> Self {
        self.first = Some(records);
        self
    }

    /// How many of a batch of so many `records` were taken.
    pub fn taken(&self, records: usize) -> usize {
        self.first.map_or(records, |first| first.min(records))
    }

    pub(super) async fn run(self) {
        for step in self.steps {
            step.await;
        }
    }
}

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("After").field("steps", &self.steps.len()).field("first", &self.first).finish()
    }
}
