//! Between chrono and protobuf time.

use chrono::{DateTime, SubsecRound, Timelike, Utc};
use prost_types::Timestamp;

/// Microseconds, the precision of the database, are kept; what is finer is cut off, so that a time
/// reads the same before and after it was stored.
pub fn to_timestamp(time: DateTime<Utc>) -> Timestamp {
    let time = time.trunc_subsecs(6);
    // In a leap second chrono counts on past 10^9, which protobuf has no room for.
    let nanos = time.nanosecond().min(999_999_000);
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(nanos).unwrap_or_default() }
}

/// `None` when the seconds are outside chrono's years or the nanoseconds outside one second.
/// What is finer than a microsecond is cut off.
pub fn from_timestamp(timestamp: &Timestamp) -> Option<DateTime<Utc>> {
    let nanos = u32::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    DateTime::from_timestamp(timestamp.seconds, nanos).map(|time| time.trunc_subsecs(6))
}
