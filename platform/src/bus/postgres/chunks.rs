//! Records grouped for one append: one chunk a partition, cut where it would grow past its limit.

use std::collections::BTreeMap;

use bytes::BytesMut;

use crate::bus::{Record, frame, partition_for};

/// A chunk is closed when it has grown to this; only a single larger record makes a larger one.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Parallel arrays, as the SQL function takes them.
#[derive(Default)]
pub(super) struct Chunks {
    pub(super) partitions: Vec<i32>,
    pub(super) counts: Vec<i32>,
    pub(super) payloads: Vec<BytesMut>,
}

impl Chunks {
    pub(super) fn of(records: &[Record], partitions: i32) -> Self {
        let mut chunks = Self::default();
        let mut open: BTreeMap<i32, (i32, BytesMut)> = BTreeMap::new();
        for record in records {
            let partition = partition_for(&record.key, partitions);
            let (count, payload) = open.entry(partition).or_default();
            frame::encode(record, payload);
            *count += 1;
            if payload.len() >= CHUNK_BYTES {
                let (count, payload) = std::mem::take(open.entry(partition).or_default());
                chunks.push(partition, count, payload);
            }
        }
        for (partition, (count, payload)) in open {
            if count > 0 {
                chunks.push(partition, count, payload);
            }
        }
        chunks
    }

    fn push(&mut self, partition: i32, count: i32, payload: BytesMut) {
        self.partitions.push(partition);
        self.counts.push(count);
        self.payloads.push(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Envelope;
    use crate::ctx::Ctx;
    use crate::source::Source;
    use bytes::Bytes;

    #[test]
    fn records_keep_their_order_and_large_chunks_are_cut() {
        let cx = Ctx::anonymous(Source::system());
        let record = |i: i64| Record {
            key: Bytes::from(vec![(i % 5) as u8]),
            envelope: Envelope::new(&cx, "test", "test", i, i),
            data: vec![0_u8; 100_000].into(),
        };
        let records: Vec<Record> = (0..40).map(record).collect();
        let chunks = Chunks::of(&records, 2);
        assert!(chunks.payloads.iter().all(|chunk| chunk.len() < CHUNK_BYTES + 200_000));
        assert!(chunks.partitions.len() > 2);
        let mut seen = 0;
        for partition in 0..2 {
            let mut last = -1;
            for i in (0..chunks.partitions.len()).filter(|i| chunks.partitions[*i] == partition) {
                let read = frame::decode(0, 0, chunks.payloads[i].clone().freeze()).expect("whole");
                assert_eq!(read.len(), chunks.counts[i] as usize);
                for delivered in read {
                    assert!(delivered.record.envelope.version > last);
                    last = delivered.record.envelope.version;
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 40);
    }
}
