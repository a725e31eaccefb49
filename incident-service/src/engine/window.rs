//! `count >= n in window` as a pure machine: the matched events that have not led to a firing yet.
//!
//! Up to [`EXACT`] of them are kept by their times. More are counted in buckets of a thousandth of the
//! window; then events count together that lie up to that much further apart than the window says,
//! and never fewer than it says. So neither the state nor the work for an event grows with what a
//! rule counts.

mod buckets;

use chrono::{DateTime, TimeDelta, Utc};

use buckets::Buckets;

/// The most events kept by their times: with them a row stays small enough for its page.
const EXACT: usize = 200;
/// [`Window::encode`] of times: 8 bytes each.
const TIMES: u8 = 1;
/// [`Window::encode`] of buckets.
const BUCKETS: u8 = 2;
const MICROS: usize = size_of::<i64>();

/// When a window is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many events, at least 1.
    pub at_least: usize,
    /// Whose first and last are at most this far apart.
    pub window: TimeDelta,
}

impl Limit {
    fn micros(self) -> i64 {
        self.window.num_microseconds().unwrap_or(i64::MAX)
    }
}

/// The pending events of one rule and group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(Pending);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    /// Microseconds since 1970, oldest first.
    Times(Vec<i64>),
    Buckets(Buckets),
}

impl Default for Pending {
    fn default() -> Self {
        Self::Times(Vec::new())
    }
}

impl Window {
    /// Counts an event that happened at `at`, in whatever order events come. `true` when it fills
    /// the window: the rule fires and the window is empty again, so that the next firing needs
    /// as many new events.
    pub fn add(&mut self, at: DateTime<Utc>, limit: Limit) -> bool {
        let at = at.timestamp_micros();
        let full = match &mut self.0 {
            Pending::Times(times) => {
                let index = times.partition_point(|time| *time <= at);
                times.insert(index, at);
                let full = is_full_around(times, index, limit);
                if times.len() > EXACT {
                    self.0 = Pending::Buckets(Buckets::of(times, limit));
                }
                full
            }
            Pending::Buckets(buckets) => buckets.add(at, limit),
        };
        if full {
            self.0 = Pending::default();
        }
        full
    }

    /// Forgets what happened before `horizon`: nothing that can still come counts with it.
    pub fn forget_before(&mut self, horizon: DateTime<Utc>) {
        let horizon = horizon.timestamp_micros();
        match &mut self.0 {
            Pending::Times(times) => {
                let old = times.partition_point(|time| *time < horizon);
                times.drain(..old);
            }
            Pending::Buckets(buckets) => {
                buckets.forget_before(horizon);
                if buckets.is_empty() {
                    self.0 = Pending::default();
                }
            }
        }
    }

    /// Bytes held beside the value itself.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Pending::Times(times) => times.capacity() * MICROS,
            Pending::Buckets(buckets) => buckets.heap_bytes(),
        }
    }

    /// The row's `state`: a byte for the format, then what it says.
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Pending::Times(times) => {
                let mut bytes = Vec::with_capacity(1 + times.len() * MICROS);
                bytes.push(TIMES);
                for time in times {
                    bytes.extend_from_slice(&time.to_le_bytes());
                }
                bytes
            }
            Pending::Buckets(buckets) => {
                let mut bytes = vec![BUCKETS];
                buckets.encode(&mut bytes);
                bytes
            }
        }
    }

    /// Reads [`encode`](Self::encode)'s bytes; `None` when they are of something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [TIMES, times @ ..] => {
                let (times, rest) = times.as_chunks::<MICROS>();
                let times: Vec<i64> = times.iter().map(|time| i64::from_le_bytes(*time)).collect();
                (rest.is_empty() && times.is_sorted()).then_some(Self(Pending::Times(times)))
            }
            [BUCKETS, buckets @ ..] => Buckets::decode(buckets).map(|b| Self(Pending::Buckets(b))),
            _ => None,
        }
    }
}

/// Only runs that hold the event at `index` can have become full by it.
fn is_full_around(times: &[i64], index: usize, limit: Limit) -> bool {
    let n = limit.at_least.max(1);
    let first = (index + 1).saturating_sub(n);
    (first..=index)
        .take_while(|start| start + n <= times.len())
        .any(|start| times[start + n - 1] - times[start] <= limit.micros())
}

#[cfg(test)]
mod tests;
