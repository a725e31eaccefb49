//! The contract of PulseOps as Rust: what `pulseops/<area>/v1/*.proto` says, compiled by
//! `build/main.rs` without protoc. It owns no table and no topic.
//!
//! - Messages and gRPC stubs, one module an area: [`auth::v1`], [`incident::v1`], …
//! - [`descriptor_pool`]: descriptors with options and comments, from which REST routes, OpenAPI and
//!   the authorization table are derived; [`FILE_DESCRIPTOR_SET`] is the same as bytes.
//! - [`Validate`]: the fields' rules as generated code; [`codec`] runs it in every stub, so no
//!   invalid request reaches a handler. [`update`] applies an update request.
//! - [`time`] and [`json`]: the two conversions that everybody needs.
//!
//! The invariant: nothing about the API is written here that does not stand in a .proto. Comments
//! stay in the descriptors; a stub's documentation is its .proto file.
//!
//! Start reading in `pulseops/api/v1/options.proto`, then `src/validate.rs`.

pub mod audit;
pub mod codec;
pub mod json;
mod merge;
pub mod time;
pub mod topics;
pub mod validate;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub use generated::pulseops::*;
pub use merge::{merge, update};
pub use validate::{Validate, Violation, check, check_encoded, check_resource};

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    dead_code,
    missing_docs,
    reason = "written by prost and tonic"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contract/mod.rs"));
}

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    unused_imports,
    unreachable_patterns,
    reason = "written by build/validation"
)]
mod validations {
    include!(concat!(env!("OUT_DIR"), "/contract/validate.rs"));
}

/// The contract as an encoded `google.protobuf.FileDescriptorSet` with imports, custom options and
/// comments; what gRPC reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract/descriptors.bin"));

/// The contract's descriptors, decoded once.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build script wrote these descriptors")
    });
    &POOL
}
