//! Windows of the partitions that this process owns, so that most batches read none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Window;
use crate::store::windows::WindowKey;

/// Windows kept of one partition; beyond it they are forgotten and read again when needed.
const MAX_WINDOWS: usize = 100_000;

/// Windows as committed. A batch takes those it works on out and brings them back after its commit:
/// whatever happens in between, what is here is what the database has. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<HashMap<i32, Windows>>>);

/// Windows with the generation of the rule they count for.
pub type Windows = HashMap<WindowKey, (i64, Window)>;

impl Memory {
    /// Takes those of `keys` that are known.
    pub fn take(&self, partition: i32, keys: &[WindowKey]) -> Windows {
        let mut partitions = self.partitions();
        let Some(known) = partitions.get_mut(&partition) else { return Windows::new() };
        keys.iter().filter_map(|key| known.remove_entry(key)).collect()
    }

    /// Brings committed windows back.
    pub fn keep(&self, partition: i32, windows: Windows) {
        let mut partitions = self.partitions();
        let known = partitions.entry(partition).or_default();
        if known.len() + windows.len() > MAX_WINDOWS {
            known.clear();
        }
        known.extend(windows);
    }

    /// Forgets a partition that belongs to somebody else.
    pub fn forget(&self, partition: i32) {
        self.partitions().remove(&partition);
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<i32, Windows>> {
        // Whole after every call, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
