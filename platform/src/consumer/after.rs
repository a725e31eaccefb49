use std::future::Future;

use futures::future::BoxFuture;

/// What a handler wants done right after its commit, in order: change memory, wake followers, start
/// rows that were born leased. It is dropped undone when the commit fails.
#[derive(Default)]
#[must_use = "it is for the consumer to run"]
pub struct After(Vec<BoxFuture<'static, ()>>);

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
        self.0.push(Box::pin(future));
        self
    }

    pub(super) async fn run(self) {
        for step in self.0 {
            step.await;
        }
    }
}

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("After").field(&self.0.len()).finish()
    }
}
