//! What both test binaries need.
#![allow(dead_code, reason = "each of the two uses a part")]

pub mod client;
pub mod ports;
pub mod story;
