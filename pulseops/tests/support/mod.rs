//! What both test binaries need.

pub mod client;
pub mod left;
pub mod receiver;
pub mod story;
