//! The life of a process: every long task has a name and a stage. One that ends before it is told
//! to fails the process. Shutdown goes stage by stage: readiness goes false, listeners drain,
//! consumers, drivers and the relay finish what they hold, the pools close. A second signal, or 30 s,
//! makes it hard.
//!
//! There is no global state: a test may have several lives at once.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::chain;

/// How long the whole shutdown may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// In which order tasks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// What tells the outside that it should come here.
    Readiness,
    /// What takes calls: they drain.
    Listeners,
    /// What reads the bus.
    Consumers,
    /// What steps leased rows.
    Drivers,
    /// What moves outbox rows to the bus.
    Relay,
    /// What everything above needs: pools, the database itself.
    Pool,
}

impl Stage {
    /// All stages, first to end first.
    pub const ALL: [Self; 6] =
        [Self::Readiness, Self::Listeners, Self::Consumers, Self::Drivers, Self::Relay, Self::Pool];
}

/// Why a life ended other than by being asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A task ended before it was told to.
    #[error("task {task} ended early: {reason}")]
    EndedEarly {
        /// Its name.
        task: String,
        /// Its error, its panic, or that it just returned.
        reason: String,
    },
    /// Tasks did not end in time, or a second signal came, and they were aborted.
    #[error("shutdown was not clean: {} did not end", .tasks.join(", "))]
    Aborted {
        /// Their names.
        tasks: Vec<String>,
    },
    /// Signal handlers could not be installed.
    #[error("signals cannot be received: {0}")]
    Signals(String),
}

/// One life. Cloning shares it.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    tokens: [CancellationToken; Stage::ALL.len()],
    tasks: Mutex<Vec<Task>>,
    failures: mpsc::UnboundedSender<Failure>,
    failed: tokio::sync::Mutex<mpsc::UnboundedReceiver<Failure>>,
    asked: CancellationToken,
    ready: watch::Sender<bool>,
    patience: Duration,
}

struct Task {
    stage: Stage,
    name: String,
    handle: JoinHandle<()>,
    ended: CancellationToken,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A life without tasks, not ready.
    pub fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    /// A life whose shutdown becomes hard after `patience`.
    pub fn with_patience(patience: Duration) -> Self {
        let (failures, failed) = mpsc::unbounded_channel();
        Self(Arc::new(Inner {
            tokens: Default::default(),
            tasks: Mutex::default(),
            failures,
            failed: tokio::sync::Mutex::new(failed),
            asked: CancellationToken::new(),
            ready: watch::Sender::new(false),
            patience,
        }))
    }

    /// Starts a long task. It gets the token that tells it to end, and must not end before.
    pub fn spawn<F, Fut, E>(&self, stage: Stage, name: impl Into<String>, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static,
    {
        let name = name.into();
        let token = self.token(stage);
        let running = tokio::spawn(task(token.clone()));
        let (failures, watched) = (self.0.failures.clone(), name.clone());
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let handle = tokio::spawn(async move {
            let _guard = guard;
            // Aborting this outer task aborts the inner one with it.
            let mut running = AbortOnDrop(running);
            let reason = match (&mut running.0).await {
                Ok(Ok(())) if token.is_cancelled() => return,
                Ok(Ok(())) => "it returned".to_owned(),
                Ok(Err(error)) => chain(error.into().as_ref()),
                Err(panic) => panic.to_string(),
            };
            tracing::error!(task = watched, reason, "a task ended early");
            // Nobody listens after the end of this life; the line above remains.
            let _ = failures.send(Failure::EndedEarly { task: watched, reason });
        });
        self.tasks().push(Task { stage, name, handle, ended });
    }

    /// The token that is cancelled when `stage` is to end.
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.0.tokens[stage as usize].clone()
    }

    /// Says that everything is up.
    pub fn set_ready(&self) {
        if !self.0.asked.is_cancelled() {
            self.0.ready.send_replace(true);
        }
    }

    /// Whether everything is up and stays so.
    pub fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Follows [`is_ready`](Self::is_ready).
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }

    /// Asks for the end, as SIGTERM does.
    pub fn shutdown(&self) {
        self.0.asked.cancel();
    }

    /// Lives until SIGTERM, SIGINT, [`shutdown`](Self::shutdown) or the early end of a task, then
    /// ends all stages in order.
    ///
    /// # Errors
    /// The task that ended early, or those that had to be aborted.
    pub async fn run_until_shutdown(&self) -> Result<(), Failure> {
        let signals = |kind| signal(kind).map_err(|error| Failure::Signals(error.to_string()));
        let mut terminate = signals(SignalKind::terminate())?;
        let mut interrupt = signals(SignalKind::interrupt())?;
        let failure = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            () = self.0.asked.cancelled() => None,
            failure = self.failure() => Some(failure),
        };
        tracing::info!("shutting down");
        let again = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        let ended = self.end(again).await;
        failure.map_or(ended, Err)
    }

    /// Ends all stages in order, without listening to signals; what tests call.
    ///
    /// # Errors
    /// A task that had ended early, or those that had to be aborted.
    pub async fn stop(&self) -> Result<(), Failure> {
        let ended = self.end(std::future::pending()).await;
        match self.0.failed.lock().await.try_recv() {
            Ok(failure) => Err(failure),
            Err(_) => ended,
        }
    }

    /// Waits for the first task that ends early.
    pub async fn failure(&self) -> Failure {
        let mut failed = self.0.failed.lock().await;
        // This life holds a sender, so the channel does not close.
        failed.recv().await.expect("a life holds its own sender")
    }

    async fn end(&self, hard: impl Future<Output = ()>) -> Result<(), Failure> {
        self.0.asked.cancel();
        self.0.ready.send_replace(false);
        tokio::select! {
            () = self.end_in_order() => return Ok(()),
            () = tokio::time::sleep(self.0.patience) => tracing::error!("shutdown takes too long: aborting"),
            () = hard => tracing::error!("a second signal: aborting"),
        }
        let mut left = Vec::new();
        for task in self.tasks().drain(..) {
            if !task.handle.is_finished() {
                task.handle.abort();
                left.push(task.name);
            }
        }
        for token in &self.0.tokens {
            token.cancel();
        }
        Err(Failure::Aborted { tasks: left })
    }

    async fn end_in_order(&self) {
        for stage in Stage::ALL {
            self.token(stage).cancel();
            // Looked at again after each one: a task may have spawned another.
            while let Some((name, ended)) = self.next_of(stage) {
                tracing::debug!(task = name, ?stage, "waiting for it to end");
                ended.cancelled().await;
                self.tasks().retain(|task| !task.ended.is_cancelled());
            }
        }
    }

    fn next_of(&self, stage: Stage) -> Option<(String, CancellationToken)> {
        let tasks = self.tasks();
        let task = tasks.iter().find(|task| task.stage == stage)?;
        Some((task.name.clone(), task.ended.clone()))
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Task>> {
        // The list is whole between statements, so a panic elsewhere does not spoil it.
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
