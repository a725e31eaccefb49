//! Exponential backoff with a cap and jitter.

use std::time::Duration;

/// The waits between tries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Before the second try; doubles from there.
    pub initial: Duration,
    /// No wait is longer.
    pub max: Duration,
    /// Share of the wait that is drawn at random, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// Of calls to our own services: a peer that is away is asked again soon, and for as long as
    /// the incident needs it.
    pub const PEER: Self =
        Self { initial: Duration::from_millis(250), max: Duration::from_secs(15), jitter: 0.2 };

    /// The wait after the `tries`-th failed try. `random` is in `[0, 1)`; the result lies between
    /// `(1 - jitter) * w` and `w`, where `w` is the doubled and capped wait.
    pub fn delay(&self, tries: u32, random: f64) -> Duration {
        let doublings = tries.saturating_sub(1).min(32);
        let wait = self.initial.saturating_mul(1 << doublings.min(31)).min(self.max);
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        wait.mul_f64(1.0 - jitter * (1.0 - random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(initial_ms: u64, max_ms: u64) -> Backoff {
        Backoff {
            initial: Duration::from_millis(initial_ms),
            max: Duration::from_millis(max_ms),
            jitter: 0.0,
        }
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<_> = (1..=6).map(|n| plain(100, 1000).delay(n, 0.5).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(
            initial in 0_u64..3_600_000, max in 0_u64..3_600_000, jitter in 0.0..=1.0_f64,
            tries in 0_u32..1000, random in 0.0..1.0_f64,
        ) {
            let full = plain(initial, max).delay(tries, 0.0);
            let wait = Backoff { jitter, ..plain(initial, max) }.delay(tries, random);
            let slack = Duration::from_nanos(10);
            prop_assert!(wait <= full + slack && full <= Duration::from_millis(max));
            prop_assert!(wait + slack >= full.mul_f64(1.0 - jitter));
        }

        #[test]
        fn waits_never_shrink(initial in 0_u64..10_000, max in 0_u64..100_000, tries in 1_u32..64) {
            let backoff = plain(initial, max);
            prop_assert!(backoff.delay(tries, 0.3) <= backoff.delay(tries + 1, 0.3));
        }
    }
}
