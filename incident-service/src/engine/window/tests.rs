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
    assert_eq!(window, Window::default());
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
    assert_eq!(Window::decode(&[9]), None);
    assert_eq!(Window::decode(&[TIMES, 1]), None);
    for broken in
        [&[BUCKETS][..], &[BUCKETS, 0], &[BUCKETS, 5, 1], &[BUCKETS, 5, 1, 1, 0, 1], &[BUCKETS, 0x80]]
    {
        assert_eq!(Window::decode(broken), None, "{broken:?}");
    }
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

#[test]
fn a_full_window_of_many_fires_and_counts_exactly_again() {
    let many = limit(1_000, 3600);
    let mut window = Window::default();
    let fired: Vec<i64> = (0..2_000).filter(|n| window.add(at(*n), many)).collect();
    assert_eq!(fired, [999, 1999]);
    assert_eq!(window, Window::default());
}

#[test]
fn whatever_a_rule_counts_its_state_stays_small() {
    let day = 86_400;
    for (limit, pause) in [(limit(10_000, day), 9), (limit(10_000, 1), 0), (limit(10_000, 60), 1)] {
        let (mut window, mut time, mut largest) = (Window::default(), at(0), 0);
        for number in 0..9_999 {
            time += TimeDelta::milliseconds(pause * 1_000 + number % 2);
            window.forget_before(time - limit.window - TimeDelta::seconds(300));
            assert!(!window.add(time, limit), "{limit:?} {number}");
            if number % 97 == 0 {
                largest = largest.max(window.encode().len().max(window.heap_bytes() / 8));
                assert_eq!(Window::decode(&window.encode()).as_ref(), Some(&window));
            }
        }
        assert!(largest <= 8 * 1024, "{limit:?} has {largest} bytes");
    }
}

/// Whether some `n` of `times`, the last among them, lie within `span` microseconds.
fn lie_within(times: &[i64], n: usize, span: i64) -> bool {
    let (last, mut sorted) = (times[times.len() - 1], times.to_vec());
    sorted.sort_unstable();
    let of_last = |run: &&[i64]| run[0] <= last && last <= run[n - 1];
    sorted.windows(n).filter(of_last).any(|run| run[n - 1] - run[0] <= span)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Counted in buckets a window fires when the definition says, or at most a thousandth of
    /// the window too generously; never later.
    #[test]
    fn many_fire_within_a_thousandth_of_the_window(
        pauses in prop::collection::vec((0_i64..400, 0_i64..20_000), 200..600),
        n in 150_usize..350,
        written in any::<bool>(),
    ) {
        let limit = Limit { at_least: n, window: TimeDelta::seconds(60) };
        let span = limit.micros();
        let (mut window, mut times, mut now) = (Window::default(), Vec::new(), 0);
        for (pause, late) in pauses {
            now += pause;
            let time = at(now / 1000 - late / 1000);
            times.push(time.timestamp_micros());
            let fired = window.add(time, limit);
            if written {
                window = Window::decode(&window.encode()).expect("what was encoded");
            }
            if fired {
                prop_assert!(lie_within(&times, n, span + span / 1000));
                break;
            }
            prop_assert!(times.len() < n || !lie_within(&times, n, span));
        }
    }
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
