//! `count >= n in window` as a pure machine: the times of matched events that have not led to a
//! firing yet.

use chrono::{DateTime, TimeDelta, Utc};

/// The most times kept, whatever the rule says; beyond it the oldest go. Only an extreme rule can
/// come near: thousands of events within a second that never fire, over minutes of lateness.
const MAX_TIMES: usize = 65_536;
/// Version of [`Window::encode`].
const FORMAT: u8 = 1;
const MICROS: usize = size_of::<i64>();

/// When a window is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many events, at least 1.
    pub at_least: usize,
    /// Whose first and last are at most this far apart.
    pub window: TimeDelta,
}

/// The pending events of one rule and group, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Microseconds since 1970.
    times: Vec<i64>,
}

impl Window {
    /// Counts an event that happened at `at`, in whatever order events come. `true` when it fills
    /// the window: the rule fires and the window is empty again, so that the next firing needs
    /// as many new events.
    pub fn add(&mut self, at: DateTime<Utc>, limit: Limit) -> bool {
        let at = at.timestamp_micros();
        let index = self.times.partition_point(|time| *time <= at);
        self.times.insert(index, at);
        if self.is_full_around(index, limit) {
            self.times.clear();
            return true;
        }
        if self.times.len() > MAX_TIMES {
            self.times.remove(0);
        }
        false
    }

    /// Forgets what happened before `horizon`: nothing that can still come counts with it.
    pub fn forget_before(&mut self, horizon: DateTime<Utc>) {
        let horizon = horizon.timestamp_micros();
        let old = self.times.partition_point(|time| *time < horizon);
        self.times.drain(..old);
    }

    /// Time of the latest pending event.
    pub fn last(&self) -> Option<DateTime<Utc>> {
        self.times.last().and_then(|micros| DateTime::from_timestamp_micros(*micros))
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Only runs that hold the event at `index` can have become full by it.
    fn is_full_around(&self, index: usize, limit: Limit) -> bool {
        let n = limit.at_least.max(1);
        let span = limit.window.num_microseconds().unwrap_or(i64::MAX);
        let first = (index + 1).saturating_sub(n);
        (first..=index)
            .take_while(|start| start + n <= self.times.len())
            .any(|start| self.times[start + n - 1] - self.times[start] <= span)
    }

    /// The row's `state`.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.times.len() * MICROS);
        bytes.push(FORMAT);
        for time in &self.times {
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        bytes
    }

    /// Reads [`encode`](Self::encode)'s bytes; `None` when they are of something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [FORMAT, times @ ..] = bytes else { return None };
        let (times, rest) = times.as_chunks::<MICROS>();
        let times: Vec<i64> = times.iter().map(|time| i64::from_le_bytes(*time)).collect();
        (rest.is_empty() && times.is_sorted()).then_some(Self { times })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid time")
    }

    fn limit(at_least: usize, seconds: i64) -> Limit {
        Limit { at_least, window: TimeDelta::seconds(seconds) }
    }

    fn fire(window: &mut Window, seconds: &[i64], limit: Limit) -> Vec<i64> {
        seconds.iter().copied().filter(|second| window.add(at(*second), limit)).collect()
    }

    #[test]
    fn three_within_a_minute_fire_and_start_anew() {
        let mut window = Window::default();
        let three = limit(3, 60);
        assert_eq!(fire(&mut window, &[0, 30, 60, 61, 62, 63], three), [60, 63]);
        assert!(window.is_empty());
    }

    #[test]
    fn a_gap_of_more_than_the_window_does_not_count() {
        let mut window = Window::default();
        assert!(fire(&mut window, &[0, 30, 61], limit(3, 60)).is_empty());
        assert_eq!(fire(&mut window, &[90], limit(3, 60)), [90]);
    }

    #[test]
    fn a_late_event_fills_the_window_it_belongs_to() {
        let mut window = Window::default();
        assert_eq!(fire(&mut window, &[100, 0, 200, 20, 10], limit(3, 60)), [10]);
    }

    #[test]
    fn one_event_is_enough_for_a_limit_of_one() {
        assert_eq!(fire(&mut Window::default(), &[5, 6], limit(1, 60)), [5, 6]);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        assert_eq!(Window::decode(&[]), None);
        assert_eq!(Window::decode(&[2]), None);
        assert_eq!(Window::decode(&[FORMAT, 1]), None);
    }

    /// The definition, by brute force: any `n` pending events within `seconds` of one another.
    fn oracle(seconds: &[i64], n: usize, span: i64) -> Vec<usize> {
        let mut pending: Vec<i64> = Vec::new();
        let mut fired = Vec::new();
        for (index, second) in seconds.iter().enumerate() {
            pending.push(*second);
            let full = pending
                .iter()
                .any(|first| pending.iter().filter(|t| (*first..=first + span).contains(t)).count() >= n);
            if full {
                fired.push(index);
                pending.clear();
            }
        }
        fired
    }

    proptest! {
        #[test]
        fn fires_exactly_when_the_definition_says(
            seconds in prop::collection::vec(0_i64..300, 0..60),
            n in 1_usize..6,
            span in 1_i64..120,
        ) {
            let mut window = Window::default();
            let fired: Vec<usize> = (0..seconds.len())
                .filter(|index| window.add(at(seconds[*index]), limit(n, span)))
                .collect();
            prop_assert_eq!(fired, oracle(&seconds, n, span));
        }

        /// A crash between any two events changes nothing.
        #[test]
        fn survives_being_written_and_read(
            seconds in prop::collection::vec(0_i64..300, 0..40),
            n in 1_usize..6,
        ) {
            let (mut whole, mut restarted) = (Window::default(), Window::default());
            for second in seconds {
                let fired = whole.add(at(second), limit(n, 60));
                restarted = Window::decode(&restarted.encode()).expect("what was encoded");
                prop_assert_eq!(fired, restarted.add(at(second), limit(n, 60)));
            }
            prop_assert_eq!(whole, restarted);
        }

        /// With events at most `late` behind, forgetting what lies before window + lateness loses nothing.
        #[test]
        fn forgetting_beyond_the_horizon_changes_nothing(
            steps in prop::collection::vec((0_i64..40, 0_i64..30), 0..60),
            n in 1_usize..6,
        ) {
            let (mut all, mut pruned) = (Window::default(), Window::default());
            let mut now = 1000;
            for (pause, late) in steps {
                now += pause;
                pruned.forget_before(at(now - 60 - 30));
                let time = at(now - late);
                prop_assert_eq!(all.add(time, limit(n, 60)), pruned.add(time, limit(n, 60)));
            }
        }
    }
}
