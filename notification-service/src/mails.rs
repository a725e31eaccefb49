//! How many mails an organization's channels may send: a bucket for each, which fills evenly over the
//! hour.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use platform::ctx::OrgId;

const HOUR: f64 = 3600.0;
/// Beyond this many buckets the full ones are forgotten: a new one is full as well.
const MANY: usize = 10_000;

/// What is left of the hour's mails, in this process.
pub struct Mails {
    per_hour: f64,
    buckets: Mutex<HashMap<OrgId, Bucket>>,
}

struct Bucket {
    left: f64,
    at: DateTime<Utc>,
}

impl Mails {
    /// 0: no limit.
    pub fn new(per_hour: u32) -> Self {
        Self { per_hour: f64::from(per_hour), buckets: Mutex::default() }
    }

    /// Takes one mail of `org`; otherwise the time until there is one.
    pub fn take(&self, org: OrgId, now: DateTime<Utc>) -> Result<(), Duration> {
        if self.per_hour == 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MANY {
            buckets.retain(|_, bucket| self.left(bucket, now) < self.per_hour);
        }
        let bucket = buckets.entry(org).or_insert(Bucket { left: self.per_hour, at: now });
        *bucket = Bucket { left: self.left(bucket, now), at: now };
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) * HOUR / self.per_hour));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn left(&self, bucket: &Bucket, now: DateTime<Utc>) -> f64 {
        let passed = (now - bucket.at).to_std().unwrap_or_default().as_secs_f64();
        (bucket.left + passed * self.per_hour / HOUR).min(self.per_hour)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_hours_mails_are_each_organizations_own() {
        let (one, other) = (OrgId(Uuid::from_u128(1)), OrgId(Uuid::from_u128(2)));
        let now: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().expect("a valid time");
        let mails = Mails::new(2);
        assert_eq!([mails.take(one, now), mails.take(one, now)], [Ok(()), Ok(())]);
        assert_eq!(mails.take(one, now), Err(Duration::from_secs(1800)));
        assert_eq!(mails.take(other, now), Ok(()));
        let later = now + TimeDelta::minutes(30);
        assert_eq!(mails.take(one, later), Ok(()));
        assert!(mails.take(one, later).is_err());
        let next_day = now + TimeDelta::days(1);
        assert_eq!([mails.take(one, next_day), mails.take(one, next_day)], [Ok(()), Ok(())]);
        assert!(mails.take(one, next_day).is_err(), "no more than one hour is saved up");
        assert_eq!(Mails::new(0).take(one, now), Ok(()));
    }
}
