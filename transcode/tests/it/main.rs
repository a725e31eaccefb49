//! The transcoder over a small library, through its router and a real tonic service.

mod answers;
mod bodies;
mod contract;
mod csv;
mod openapi;
mod parameters;
mod protocol;
mod roundtrip;
mod support;
mod transports;
