//! Windows of the partitions that this process owns, so that most batches read none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::Window;
use crate::store::windows::WindowKey;

/// Bytes that a process remembers at most; what is forgotten is read again when it is needed.
const MAX_BYTES: usize = 64 << 20;

/// A window, the generation of the rule that it counts for, and when its row may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub generation: i64,
    pub window: Window,
    pub expires_at: DateTime<Utc>,
}

/// Windows by rule and group.
pub type Windows = HashMap<WindowKey, Known>;

/// Windows as committed. A batch takes those it works on out and brings them back after its commit:
/// whatever happens in between, what is here is what the database has. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    partitions: HashMap<i32, Windows>,
    bytes: usize,
    max_bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(MAX_BYTES)
    }
}

impl Memory {
    /// One that holds so many bytes at most, give or take a batch.
    pub fn of(max_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { partitions: HashMap::new(), bytes: 0, max_bytes })))
    }

    /// Takes those of `keys` that are known.
    pub fn take(&self, partition: i32, keys: &[WindowKey]) -> Windows {
        let mut kept = self.kept();
        let Some(known) = kept.partitions.get_mut(&partition) else { return Windows::new() };
        let taken: Windows = keys.iter().filter_map(|key| known.remove_entry(key)).collect();
        kept.bytes -= bytes(&taken);
        taken
    }

    /// Brings committed windows back.
    pub fn keep(&self, partition: i32, windows: Windows, now: DateTime<Utc>) {
        let mut kept = self.kept();
        kept.bytes += bytes(&windows);
        kept.partitions.entry(partition).or_default().extend(windows);
        if kept.bytes > kept.max_bytes {
            kept.shrink(now);
        }
    }

    /// Forgets a partition that belongs to somebody else.
    pub fn forget(&self, partition: i32) {
        let mut kept = self.kept();
        let gone = kept.partitions.remove(&partition).unwrap_or_default();
        kept.bytes -= bytes(&gone);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whole after every call, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets what is over; everything, when that makes too little room to be worth the search.
    fn shrink(&mut self, now: DateTime<Utc>) {
        for windows in self.partitions.values_mut() {
            windows.retain(|_, known| known.expires_at > now);
        }
        self.bytes = self.partitions.values().map(bytes).sum();
        if self.bytes > self.max_bytes / 4 * 3 {
            self.partitions.clear();
            self.bytes = 0;
        }
        metrics::counter!("pulseops_incident_windows_forgotten_total").increment(1);
    }
}

fn bytes(windows: &Windows) -> usize {
    let entry = size_of::<(WindowKey, Known)>();
    windows.values().map(|known| entry + known.window.heap_bytes()).sum()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use platform::ctx::OrgId;
    use uuid::Uuid;

    use super::*;
    use crate::kinds::RuleId;

    fn key(number: u128) -> WindowKey {
        WindowKey {
            org: OrgId(Uuid::from_u128(1)),
            rule: RuleId(Uuid::from_u128(2)),
            group: Uuid::from_u128(number),
        }
    }

    fn windows(numbers: std::ops::Range<u128>, expires_at: DateTime<Utc>) -> Windows {
        let known = Known { generation: 1, window: Window::default(), expires_at };
        numbers.map(|number| (key(number), known.clone())).collect()
    }

    #[test]
    fn what_is_taken_is_gone_until_it_is_brought_back() {
        let (memory, later) = (Memory::default(), DateTime::UNIX_EPOCH + TimeDelta::hours(1));
        memory.keep(3, windows(0..2, later), DateTime::UNIX_EPOCH);
        assert!(memory.take(4, &[key(0)]).is_empty());
        let taken = memory.take(3, &[key(0), key(7)]);
        assert_eq!((taken.len(), memory.take(3, &[key(0)]).len()), (1, 0));
        memory.keep(3, taken, DateTime::UNIX_EPOCH);
        assert_eq!(memory.take(3, &[key(0), key(1)]).len(), 2);
        assert_eq!(memory.kept().bytes, 0);
    }

    #[test]
    fn beyond_its_bytes_it_forgets_what_is_over_and_then_everything() {
        let (now, later) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::hours(1));
        let memory = Memory::of(100 * size_of::<(WindowKey, Known)>());
        memory.keep(0, windows(0..60, now), now);
        memory.keep(1, windows(0..50, later), now);
        assert!(memory.take(0, &[key(0)]).is_empty());
        assert_eq!(memory.take(1, &[key(0)]).len(), 1);
        memory.keep(2, windows(0..60, later), now);
        assert_eq!(memory.kept().bytes, 0);
        memory.keep(2, windows(0..60, later), now);
        memory.forget(2);
        assert_eq!(memory.kept().bytes, 0);
    }
}
