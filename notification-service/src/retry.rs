//! When a failed attempt is followed by another one: pure.

use std::time::Duration;

use crate::config::Delivery;

/// A receiver may ask for patience, but not for more than this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Part of a wait that chance takes away or adds, so that many failures do not come back as one wave.
const JITTER: f64 = 0.2;

/// How often and how patiently one delivery is tried.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    first: Duration,
    max: Duration,
    attempts: i32,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt after this long.
    Again(Duration),
    /// That was the last one.
    Dead,
}

impl Policy {
    pub fn new(config: &Delivery) -> Self {
        Self {
            first: Duration::from_millis(config.first_retry_ms),
            max: Duration::from_millis(config.max_retry_ms),
            attempts: config.max_attempts.max(1),
        }
    }

    /// Whether a budget of which `tries` are used is spent.
    pub fn is_spent(&self, tries: i32) -> bool {
        tries >= self.attempts
    }

    /// What follows try number `tries` (from 1) of this budget. `asked` is the receiver's
    /// Retry-After, which is never undercut; `chance` lies in `[0, 1)`.
    pub fn after(&self, tries: i32, asked: Option<Duration>, chance: f64) -> Next {
        if self.is_spent(tries) {
            return Next::Dead;
        }
        let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(31);
        let backoff = self.first.saturating_mul(1 << doublings).min(self.max);
        let backoff = backoff.mul_f64(1.0 + JITTER * (2.0 * chance - 1.0));
        Next::Again(backoff.max(asked.unwrap_or_default().min(MAX_RETRY_AFTER)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy::new(&Delivery::default())
    }

    #[test]
    fn waits_double_up_to_the_limit() {
        let wait = |tries| match policy().after(tries, None, 0.5) {
            Next::Again(wait) => wait.as_secs(),
            Next::Dead => 0,
        };
        assert_eq!((1..=8).map(wait).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 0]);
    }

    #[test]
    fn retry_after_is_honoured_and_clamped() {
        let asked = |secs| policy().after(1, Some(Duration::from_secs(secs)), 0.0);
        assert_eq!(asked(30), Next::Again(Duration::from_secs(30)));
        assert_eq!(asked(86_400), Next::Again(MAX_RETRY_AFTER));
        assert_eq!(asked(0), Next::Again(Duration::from_millis(800)));
    }

    proptest! {
        #[test]
        fn always_ends_and_never_hurries(
            tries in 1..1000_i32, asked in proptest::option::of(0..1_000_000_u64), chance in 0.0..1.0_f64,
        ) {
            let asked = asked.map(Duration::from_secs);
            match policy().after(tries, asked, chance) {
                Next::Dead => prop_assert!(tries >= 8),
                Next::Again(wait) => {
                    prop_assert!(tries < 8);
                    prop_assert!(wait >= Duration::from_millis(800));
                    prop_assert!(wait <= MAX_RETRY_AFTER);
                    prop_assert!(wait >= asked.unwrap_or_default().min(MAX_RETRY_AFTER));
                }
            }
        }
    }
}
