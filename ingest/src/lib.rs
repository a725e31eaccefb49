//! An embeddable intake pipeline: many small requests in, few large durable writes out.
//!
//! ```text
//! submit ─▶ bounded buffer ─▶ micro-batches ─▶ workers ─▶ Sink::write ─▶ every waiting request answered
//! ```
//!
//! A batch is what arrived while the last one was being written: nothing lingers when it is quiet, and
//! under load several waiting requests are made durable by one write. The invariant that must never
//! break: a request that was answered with `Ok` was written, whole, exactly once; one that was refused
//! was not written at all. What is in flight counts against the buffer until it is written.
//!
//! Start reading at [`Pipeline`]; `buffer.rs` holds the queue and its limits, `worker.rs` the loop.

mod buffer;
mod pipeline;
mod worker;

pub use buffer::{Limits, Refused};
pub use pipeline::{Ack, NotWritten, Observer, Pipeline, Silent, Sink, Weigh};
pub use worker::Worker;
