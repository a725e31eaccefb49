//! Turns the rules of a descriptor pool into Rust: `impl Validate` for every message, `impl
//! Resource` for the resource of every update request. What it writes is plain calls into
//! `proto::validate::rules`, one line a rule, so that the generated file can be read.
//!
//! `rules` and `calls` read the options, `survey` looks over all messages, `names` knows what prost
//! calls things, `message` and `field` write.

mod calls;
mod field;
mod message;
mod names;
mod rules;
mod survey;

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use message::Writer;

/// Where the generated code finds things.
pub struct Paths {
    /// The module that holds the prost modules, such as `crate::generated`.
    pub messages: &'static str,
    /// The crate that holds `validate` and `codec`: `crate` or `proto`.
    pub runtime: &'static str,
}

/// The Rust text for all messages of `pool`, or every fault of the contract at once.
pub fn generate(pool: &DescriptorPool, paths: &Paths) -> Result<String, Vec<String>> {
    let messages: Vec<_> = pool.all_messages().filter(is_ours).collect();
    let inputs: BTreeSet<_> = methods(pool).map(|method| method.input().full_name().to_owned()).collect();
    let outputs: BTreeSet<_> = methods(pool).map(|method| method.output().full_name().to_owned()).collect();

    let mut faults: Vec<String> = inputs
        .intersection(&outputs)
        .filter(|name| messages.iter().any(|message| message.full_name() == name.as_str()))
        .map(|name| format!("{name}: is both asked and answered; the codec could not tell which to validate"))
        .collect();

    let mut writer = Writer::new(paths, &messages, inputs, &mut faults);
    for message in &messages {
        writer.message(message);
    }
    let text = writer.finish();
    if faults.is_empty() { Ok(text) } else { Err(faults) }
}

fn methods(pool: &DescriptorPool) -> impl Iterator<Item = prost_reflect::MethodDescriptor> + '_ {
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>())
}

/// Whether the messages of a file are wanted as Rust types: those that only describe options are
/// read from the pool.
pub fn has_types(file: &str) -> bool {
    !matches!(
        file,
        "buf/validate/validate.proto"
            | "google/api/annotations.proto"
            | "google/api/field_behavior.proto"
            | "google/api/http.proto"
    )
}

/// Messages that prost generates a type for here: not maps' entries, not those of prost-types.
fn is_ours(message: &MessageDescriptor) -> bool {
    !message.is_map_entry()
        && message.package_name() != "google.protobuf"
        && has_types(message.parent_file().name())
}
