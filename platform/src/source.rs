//! The one source of time, ids and randomness. Nothing else in the workspace reads the wall clock
//! or draws random numbers, so a test can move the clock and repeat what happened.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use uuid::Uuid;

/// Time, ids and randomness. Cloning shares the same source.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    /// `None` follows the wall clock; `Some` stands still until advanced.
    start: Option<DateTime<Utc>>,
    /// Microseconds added to the clock by `correct` and `advance`.
    shift: AtomicI64,
    /// Milliseconds and 12 fraction bits of the last id, so that ids of one process never go back.
    last_id: AtomicU64,
    /// `None` draws from the operating system's generator.
    seeded: Option<Mutex<StdRng>>,
}

impl Source {
    /// The wall clock and a cryptographic generator seeded by the operating system.
    pub fn system() -> Self {
        Self::build(None, None)
    }

    /// A clock that stands at `start` until it is advanced, and a generator that repeats itself for
    /// the same `seed`. For tests and simulations: nothing secret may come from it.
    pub fn fixed(seed: u64, start: DateTime<Utc>) -> Self {
        Self::build(Some(start), Some(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    fn build(start: Option<DateTime<Utc>>, seeded: Option<Mutex<StdRng>>) -> Self {
        Self(Arc::new(Inner { start, shift: AtomicI64::new(0), last_id: AtomicU64::new(0), seeded }))
    }

    /// The time now, in whole microseconds: what Postgres stores is what was read here.
    pub fn now(&self) -> DateTime<Utc> {
        let base = self.0.start.unwrap_or_else(wall_clock);
        (base + TimeDelta::microseconds(self.0.shift.load(Ordering::Relaxed))).trunc_subsecs(6)
    }

    /// A new UUIDv7 of [`Source::now`]. Twelve bits below the millisecond hold its fraction
    /// (RFC 9562, 6.2 method 3) and ids of one source strictly increase.
    pub fn id(&self) -> Uuid {
        let micros = u64::try_from(self.now().timestamp_micros()).unwrap_or(0);
        let ticks = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
        let ticks = self.next_tick(ticks);
        let mut bytes = [0; 16];
        self.fill(&mut bytes[8..]);
        bytes[..6].copy_from_slice(&(ticks >> 12).to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&(0x7000 | (ticks & 0x0fff) as u16).to_be_bytes());
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Uuid::from_bytes(bytes)
    }

    fn next_tick(&self, now: u64) -> u64 {
        let last = &self.0.last_id;
        let next = |previous: u64| Some(now.max(previous + 1));
        match last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(previous) | Err(previous) => now.max(previous + 1),
        }
    }

    /// Fills `bytes` with random ones: fit for secrets when the source is [`Source::system`].
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0.seeded {
            Some(rng) => lock(rng).fill_bytes(bytes),
            None => rand::rng().fill_bytes(bytes),
        }
    }

    /// A random number in `[0, 1)`, for jitter.
    pub fn f64(&self) -> f64 {
        match &self.0.seeded {
            Some(rng) => lock(rng).random(),
            None => rand::rng().random(),
        }
    }

    /// Moves the wall clock of every clone by what it was found to be off.
    pub(crate) fn correct(&self, off: TimeDelta) {
        if self.0.start.is_none() {
            self.0.shift.fetch_add(off.num_microseconds().unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Moves the clock of every clone forward.
    #[cfg(any(test, feature = "testing"))]
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.shift.fetch_add(micros, Ordering::Relaxed);
    }

    /// `duration` with up to `share` (0..=1) of it taken away or added at random.
    pub fn jitter(&self, duration: Duration, share: f64) -> Duration {
        let factor = 1.0 + share.clamp(0.0, 1.0) * (2.0 * self.f64() - 1.0);
        duration.mul_f64(factor)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("now", &self.now()).finish_non_exhaustive()
    }
}

fn lock(rng: &Mutex<StdRng>) -> MutexGuard<'_, StdRng> {
    // A generator is whole after every draw, so a panic elsewhere does not spoil it.
    rng.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-01-02T03:04:05.678901Z".parse().expect("a valid time")
    }

    #[test]
    fn fixed_sources_repeat_themselves() {
        let (one, two) = (Source::fixed(7, start()), Source::fixed(7, start()));
        assert_eq!((one.id(), one.f64()), (two.id(), two.f64()));
        assert_eq!(one.now(), start());
    }

    #[test]
    fn advance_moves_every_clone() {
        let source = Source::fixed(1, start());
        let clone = source.clone();
        source.advance(Duration::from_millis(1500));
        assert_eq!(clone.now() - start(), TimeDelta::milliseconds(1500));
    }

    #[test]
    fn ids_are_version_7_carry_the_time_and_increase() {
        let source = Source::fixed(1, start());
        let ids: Vec<Uuid> = (0..5000).map(|_| source.id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0].get_version_num(), 7);
        assert_eq!(ids[0].get_variant(), uuid::Variant::RFC4122);
        let (secs, nanos) = ids[0].get_timestamp().expect("version 7 has a time").to_unix();
        assert_eq!((secs as i64, nanos / 1_000_000), (start().timestamp(), 678));
    }

    #[test]
    fn the_system_clock_has_whole_microseconds() {
        assert_eq!(Source::system().now().timestamp_subsec_nanos() % 1000, 0);
    }
}
