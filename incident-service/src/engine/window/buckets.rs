use prost::encoding::{decode_varint, encode_varint};

use super::Limit;

/// Buckets of one window's length: events count together that lie up to a thousandth of the window
/// further apart than it says.
const PER_WINDOW: i64 = 1_000;
/// The most buckets kept; beyond it the oldest go. They reach over window and lateness for windows of
/// five minutes and more; in a shorter one that is this full, only the latest two windows' lengths
/// take late events in.
const MAX: usize = 2_048;

/// Pending events counted by when they happened, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buckets {
    /// Microseconds of one bucket, at least 1.
    width: i64,
    counts: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// It holds the microseconds from `index * width` to the next one's.
    index: i64,
    count: u32,
}

impl Buckets {
    /// What happened at `times`, in buckets that fit `limit`.
    pub(super) fn of(times: &[i64], limit: Limit) -> Self {
        let mut buckets = Self { width: (limit.micros() / PER_WINDOW).max(1), counts: Vec::new() };
        for time in times {
            buckets.count(*time);
        }
        buckets
    }

    /// Counts an event. `true` when it fills the window.
    pub(super) fn add(&mut self, at: i64, limit: Limit) -> bool {
        let place = self.count(at);
        let full = self.is_full_around(place, limit);
        if self.counts.len() > MAX {
            self.counts.remove(0);
        }
        full
    }

    fn count(&mut self, at: i64) -> usize {
        let index = at.div_euclid(self.width);
        let place = self.counts.partition_point(|bucket| bucket.index < index);
        match self.counts.get_mut(place) {
            Some(bucket) if bucket.index == index => bucket.count = bucket.count.saturating_add(1),
            _ => self.counts.insert(place, Bucket { index, count: 1 }),
        }
        place
    }

    /// Only runs that hold the bucket at `place` can have become full.
    fn is_full_around(&self, place: usize, limit: Limit) -> bool {
        let reach = limit.micros() / self.width;
        let oldest = self.counts[place].index.saturating_sub(reach);
        let first = self.counts.partition_point(|bucket| bucket.index < oldest);
        let (mut end, mut sum) = (first, 0_u64);
        (first..=place).any(|start| {
            let Bucket { index, count } = self.counts[start];
            while let Some(next) = self.counts.get(end).filter(|next| next.index <= index + reach) {
                sum += u64::from(next.count);
                end += 1;
            }
            let full = sum >= limit.at_least.max(1) as u64;
            sum -= u64::from(count);
            full
        })
    }

    /// Forgets what happened before `horizon`, as far as whole buckets lie there.
    pub(super) fn forget_before(&mut self, horizon: i64) {
        let oldest = horizon.div_euclid(self.width);
        let old = self.counts.partition_point(|bucket| bucket.index < oldest);
        self.counts.drain(..old);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Bytes held beside the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<Bucket>()
    }

    /// Varints: the width, then each bucket's distance to the one before it and its count.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_varint(self.width.cast_unsigned(), out);
        let mut before = 0_i64;
        for bucket in &self.counts {
            encode_varint(bucket.index.wrapping_sub(before).cast_unsigned(), out);
            encode_varint(u64::from(bucket.count), out);
            before = bucket.index;
        }
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut varint = || (!bytes.is_empty()).then(|| decode_varint(&mut bytes).ok());
        let width = varint()??.cast_signed();
        let (mut counts, mut before) = (Vec::<Bucket>::new(), 0_i64);
        while let Some(step) = varint() {
            let index = before.wrapping_add(step?.cast_signed());
            counts.push(Bucket { index, count: u32::try_from(varint()??).ok()? });
            before = index;
        }
        let sorted = counts.is_sorted_by(|a, b| a.index < b.index);
        (width > 0 && sorted).then_some(Self { width, counts })
    }
}
