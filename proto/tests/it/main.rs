//! Generated code is tested on a contract of its own, `tests/protos`, which the build script
//! compiles beside the real one.

mod codec;
mod contract;
mod generator;
mod implied;
mod json;
mod numbers;
mod properties;
mod rules;
mod scalars;
mod time;
mod updates;

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    dead_code,
    reason = "written by prost and tonic"
)]
mod sample {
    include!(concat!(env!("OUT_DIR"), "/sample/mod.rs"));
}

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    dead_code,
    unused_imports,
    unreachable_patterns,
    reason = "written by build/validation"
)]
mod sample_validations {
    include!(concat!(env!("OUT_DIR"), "/sample/validate.rs"));
}

use proto::{Validate, Violation};

/// `field: code` of each violation.
fn faults<M: Validate>(message: &M) -> Vec<String> {
    proto::check(message).err().unwrap_or_default().iter().map(fault).collect()
}

fn fault(violation: &Violation) -> String {
    format!("{}: {}", violation.field, violation.code)
}
