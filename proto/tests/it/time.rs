use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use prost_types::Timestamp;
use proto::time::{from_timestamp, to_timestamp};

#[test]
fn what_is_finer_than_a_microsecond_is_cut_off() {
    let time: DateTime<Utc> = "2026-01-02T03:04:05.123456789Z".parse().expect("RFC 3339");
    let timestamp = to_timestamp(time);
    assert_eq!(timestamp, Timestamp { seconds: 1_767_323_045, nanos: 123_456_000 });
    assert_eq!(from_timestamp(&timestamp), Some(time - TimeDelta::nanoseconds(789)));
}

#[test]
fn times_before_1970_count_their_nanoseconds_forward() {
    let time: DateTime<Utc> = "1969-12-31T23:59:59.250Z".parse().expect("RFC 3339");
    assert_eq!(to_timestamp(time), Timestamp { seconds: -1, nanos: 250_000_000 });
    assert_eq!(from_timestamp(&to_timestamp(time)), Some(time));
}

#[test]
fn a_leap_second_stays_within_its_second() {
    let time: DateTime<Utc> = "2016-12-31T23:59:60.5Z".parse().expect("RFC 3339");
    assert_eq!(to_timestamp(time).nanos, 999_999_000);
}

#[test]
fn what_is_no_time_is_none() {
    assert_eq!(from_timestamp(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
    assert_eq!(from_timestamp(&Timestamp { seconds: 0, nanos: -1 }), None);
    assert_eq!(from_timestamp(&Timestamp { seconds: 0, nanos: 1_000_000_000 }), None);
}

proptest! {
    #[test]
    fn microseconds_survive_both_ways(us in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
        let time = DateTime::from_timestamp_micros(us).expect("between the years 1 and 9999");
        prop_assert_eq!(from_timestamp(&to_timestamp(time)), Some(time));
    }
}
