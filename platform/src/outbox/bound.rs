use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::OpenTransactions;

/// How long after a row was sent the transactions are noted that may still bring a lower id: much
/// longer than from taking an id to taking a transaction's number.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Finds what a person set back to unsent, and tries what is held.
const FULL_LOOK_EVERY: Duration = Duration::from_secs(30);

/// Below which id nothing unsent is looked for. Under a long snapshot the index keeps every sent row,
/// so looking from its beginning grows slower and slower. But ids are given before the commit: a
/// lower one may appear late, and later events of its aggregate must not be sent before it. So the
/// bound follows an id only when every transaction has ended that could bring a lower one, and a look
/// has found all of theirs sent. Nothing that waits or is held ever lies below. Now and then there is
/// no bound.
#[derive(Default)]
pub(super) struct LowerBound {
    settled: Arc<AtomicI64>,
    sent: VecDeque<(Instant, i64)>,
    /// An id, and the transaction number below which all must have ended for it to be settled.
    settling: Option<(i64, i64)>,
    full_look_at: Option<Instant>,
}

impl LowerBound {
    /// The bound as others read it, without the full looks.
    pub(super) fn settled(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.settled)
    }

    /// From which id to look now, and whether that is a full look.
    pub(super) fn at(&mut self, now: Instant) -> (i64, bool) {
        if self.full_look_at.is_some_and(|at| now < at) {
            return (self.settled.load(Ordering::Relaxed), false);
        }
        self.full_look_at = Some(now + FULL_LOOK_EVERY);
        (0, true)
    }

    /// A look has found everything it saw up to `sent` to be sent.
    pub(super) fn looked(&mut self, now: Instant, sent: Option<i64>, open: OpenTransactions) {
        let ended = |(id, until): &mut (i64, i64)| open.oldest >= *until && sent >= Some(*id);
        if let Some((id, _)) = self.settling.take_if(ended) {
            self.settled.fetch_max(id, Ordering::Relaxed);
        }
        if self.settling.is_none() {
            let mut last = None;
            while let Some((_, id)) =
                self.sent.pop_front_if(|(at, _)| now.duration_since(*at) >= SETTLED_AFTER)
            {
                last = last.max(Some(id));
            }
            self.settling = last.map(|id| (id, open.next));
        }
        let noted = self.sent.back().is_some_and(|(at, _)| now.duration_since(*at) < Duration::from_secs(1));
        if let Some(id) = sent.filter(|_| !noted) {
            self.sent.push_back((now, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_trails_and_waits_for_open_transactions() {
        let start = Instant::now();
        let mut bound = LowerBound::default();
        let mut look = |seconds, sent, oldest, next| {
            bound.looked(start + Duration::from_secs(seconds), sent, OpenTransactions { oldest, next });
            bound.settled.load(Ordering::Relaxed)
        };
        assert_eq!(look(0, Some(100), 7, 9), 0);
        assert_eq!(look(5, Some(200), 7, 12), 0);
        assert_eq!(look(10, None, 7, 20), 0, "number 7 may still bring 99");
        assert_eq!(look(15, Some(300), 8, 30), 0, "and so may 8 to 19");
        assert_eq!(look(16, None, 20, 31), 0, "they may have brought more than one look sends");
        assert_eq!(look(16, Some(99), 20, 31), 0, "they have");
        assert_eq!(look(16, Some(100), 20, 31), 100);
        assert_eq!(look(17, Some(300), 31, 31), 200, "nobody was open when it came of age");
        assert_eq!(look(20, Some(300), 40, 40), 200, "too young");
        assert_eq!(look(25, Some(250), 40, 41), 200);
        assert_eq!(look(26, Some(300), 41, 41), 300);
        for second in 30..90 {
            look(second, None, 50, 50);
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!([90, 119, 120, 121].map(|seconds| bound.at(after(seconds)).0), [0, 300, 0, 300]);
    }
}
