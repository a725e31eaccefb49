//! One record as bytes: four bytes of length (big endian) and a protobuf message. Frames put one
//! behind the other are a chunk, so SQL can join them without knowing what is in them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use prost::Message;
use uuid::Uuid;

use super::{Delivered, Envelope, Record};
use crate::ctx::OrgId;
use crate::error::{Error, Result};

/// Numbers and types are the log's format: fields may be added, never changed.
#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(string, tag = "2")]
    ty: String,
    #[prost(string, tag = "3")]
    source: String,
    #[prost(string, tag = "4")]
    subject: String,
    #[prost(bytes = "bytes", tag = "5")]
    org: Bytes,
    #[prost(sfixed64, tag = "6")]
    time_us: i64,
    #[prost(int64, tag = "7")]
    version: i64,
    #[prost(string, tag = "8")]
    trace: String,
    #[prost(bytes = "bytes", optional, tag = "9")]
    cause: Option<Bytes>,
    #[prost(uint32, tag = "10")]
    depth: u32,
    #[prost(bytes = "bytes", tag = "11")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "12")]
    data: Bytes,
}

/// Appends `record` as a frame.
pub(crate) fn encode(record: &Record, out: &mut BytesMut) {
    let envelope = &record.envelope;
    let frame = Frame {
        id: id_bytes(envelope.id),
        ty: envelope.ty.clone(),
        source: envelope.source.clone(),
        subject: envelope.subject.clone(),
        org: id_bytes(envelope.org.uuid()),
        time_us: envelope.time.timestamp_micros(),
        version: envelope.version,
        trace: envelope.trace.clone(),
        cause: envelope.cause.map(id_bytes),
        depth: envelope.depth,
        key: record.key.clone(),
        data: record.data.clone(),
    };
    let length = frame.encoded_len();
    out.reserve(4 + length);
    out.put_u32(u32::try_from(length).expect("a record of 4 GiB does not fit into memory limits"));
    frame.encode(out).expect("the buffer grows");
}

/// The records of a chunk whose first one has offset `base`.
///
/// # Errors
/// Internal, code `log_corrupt`.
pub(crate) fn decode(partition: i32, base: i64, mut chunk: Bytes) -> Result<Vec<Delivered>> {
    let mut records = Vec::new();
    let mut offset = base;
    while chunk.has_remaining() {
        let record = next(&mut chunk).map_err(|what| corrupt(partition, offset, what))?;
        records.push(Delivered { partition, offset, record });
        offset += 1;
    }
    Ok(records)
}

fn corrupt(partition: i32, offset: i64, what: impl std::fmt::Display) -> Error {
    let source = format!("partition {partition} offset {offset}: {what}");
    Error { code: "log_corrupt", ..Error::internal(source) }
}

fn next(chunk: &mut Bytes) -> Result<Record, Box<dyn std::error::Error + Send + Sync>> {
    let length = chunk.try_get_u32()? as usize;
    if chunk.remaining() < length {
        return Err(format!("{length} bytes announced, {} there", chunk.remaining()).into());
    }
    let frame = Frame::decode(chunk.split_to(length))?;
    let time = DateTime::<Utc>::from_timestamp_micros(frame.time_us).ok_or("time out of range")?;
    let envelope = Envelope {
        id: Uuid::from_slice(&frame.id)?,
        ty: frame.ty,
        source: frame.source,
        subject: frame.subject,
        org: OrgId(Uuid::from_slice(&frame.org)?),
        time,
        version: frame.version,
        trace: frame.trace,
        cause: frame.cause.map(|id| Uuid::from_slice(&id)).transpose()?,
        depth: frame.depth,
    };
    Ok(Record { key: frame.key, envelope, data: frame.data })
}

fn id_bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctx::Ctx;
    use crate::source::Source;

    fn record(cx: &Ctx, subject: &str, data: &'static [u8]) -> Record {
        let envelope = Envelope::new(cx, "incident", "pulseops.incident.created.v1", subject, 3);
        Record { key: Bytes::from_static(b"key"), envelope, data: Bytes::from_static(data) }
    }

    #[test]
    fn a_chunk_gives_back_its_records() {
        let cx = Ctx::anonymous(Source::system());
        let mut caused = record(&cx, "b", b"");
        caused.envelope.cause = Some(cx.id());
        caused.envelope.depth = 2;
        let records = [record(&cx, "a", b"one"), caused];
        let mut chunk = BytesMut::new();
        records.iter().for_each(|record| encode(record, &mut chunk));
        let read = decode(5, 40, chunk.freeze()).expect("whole");
        assert_eq!(read.iter().map(|r| (r.partition, r.offset)).collect::<Vec<_>>(), [(5, 40), (5, 41)]);
        assert!(read.into_iter().map(|r| r.record).eq(records));
    }

    #[test]
    fn a_torn_chunk_is_an_error() {
        let mut chunk = BytesMut::new();
        encode(&record(&Ctx::anonymous(Source::system()), "a", b"one"), &mut chunk);
        for length in 1..chunk.len() {
            let torn = chunk.clone().freeze().slice(..length);
            assert_eq!(decode(0, 0, torn).expect_err("torn").code, "log_corrupt");
        }
    }
}
