//! How many records a batch may have: as many as the handler works through in the time it has.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::Options;

/// Fewer do not fit better: what a batch costs by itself outweighs its records.
const LEAST: usize = 32;

/// Follows what batches cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    limit: usize,
    max_records: usize,
    max_work: Duration,
}

impl Pace {
    pub(super) fn new(options: &Options) -> Self {
        let max_records = options.max_records.max(1);
        Self { limit: max_records, max_records, max_work: options.max_work }
    }

    /// Records that the next batch may have.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A batch of so many records was that much work.
    pub(super) fn worked(&mut self, records: usize, work: Duration) {
        let fitting = records as f64 * self.max_work.as_secs_f64() / work.as_secs_f64().max(1e-9);
        let fitting = (fitting as usize).max(LEAST);
        let limit = if work > self.max_work && self.limit > LEAST {
            fitting.min(self.limit)
        } else if records >= self.limit {
            fitting.clamp(self.limit, self.limit.saturating_mul(2))
        } else {
            // A small batch says nothing about a large one.
            self.limit
        };
        self.limit = limit.clamp(1, self.max_records);
    }

    /// A batch of so many records failed again, in a way that may pass; perhaps it is too large.
    pub(super) fn failed(&mut self, records: usize) {
        self.limit = (records / 2).clamp(1, self.limit);
    }
}

/// Runs `future`; says how long it was at work, which is not how long it took.
pub(super) async fn at_work<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut work = Duration::ZERO;
    let output = std::future::poll_fn(|cx| {
        let began = Instant::now();
        let polled = future.as_mut().poll(cx);
        work += began.elapsed();
        polled
    })
    .await;
    (output, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace() -> Pace {
        Pace::new(&Options { max_records: 500, max_work: 5 * MS, ..Options::default() })
    }

    #[test]
    fn batches_shrink_to_what_fits_and_grow_again() {
        let mut pace = pace();
        pace.worked(500, 50 * MS);
        assert_eq!(pace.limit(), 50);
        pace.worked(3, MS);
        assert_eq!(pace.limit(), 50, "a small batch says nothing");
        pace.worked(50, 5 * MS);
        assert_eq!(pace.limit(), 50);
        pace.worked(50, MS);
        assert_eq!(pace.limit(), 100, "twice at most");
        for _ in 0..5 {
            pace.worked(pace.limit(), Duration::ZERO);
        }
        assert_eq!(pace.limit(), 500);
        pace.worked(1, 60 * MS);
        assert_eq!(pace.limit(), LEAST, "what is slow by itself is not made slower");
        pace.worked(LEAST, 60 * MS);
        assert_eq!(pace.limit(), LEAST);
    }

    #[test]
    fn failures_halve_it() {
        let mut pace = pace();
        pace.failed(20);
        assert_eq!(pace.limit(), 10);
        pace.failed(1);
        assert_eq!(pace.limit(), 1);
        for grown in [2, 4, 8, 16, LEAST, LEAST] {
            pace.worked(pace.limit(), 60 * MS);
            assert_eq!(pace.limit(), grown);
        }
    }

    #[tokio::test]
    async fn waiting_is_no_work() {
        let began = Instant::now();
        let (output, work) = at_work(async {
            tokio::time::sleep(50 * MS).await;
            std::thread::sleep(10 * MS);
            7
        })
        .await;
        assert_eq!(output, 7);
        assert!(work >= 10 * MS && began.elapsed() - work >= 45 * MS, "{work:?}");
    }
}
