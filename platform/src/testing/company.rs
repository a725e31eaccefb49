//! Tests that set failpoints, which belong to the whole process, and those beside them.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

static PROCESS: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

/// Whether a test runs beside others; held while it runs.
#[derive(Debug)]
pub struct Company(#[expect(dead_code, reason = "held")] Guard);

#[derive(Debug)]
#[expect(dead_code, reason = "held")]
enum Guard {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Company {
    /// For tests without failpoints.
    pub async fn shared() -> Self {
        Self(Guard::Shared(PROCESS.clone().read_owned().await))
    }

    /// For tests that set failpoints: waits for all others.
    pub async fn alone() -> Self {
        Self(Guard::Alone(PROCESS.clone().write_owned().await))
    }
}
