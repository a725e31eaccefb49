//! What generated code checks messages with. `impl Validate` for every message is written by
//! `build/validation` from the `buf.validate` rules and `google.api.field_behavior` of the
//! contract; its semantics are protovalidate's:
//!
//! - a field without presence is always checked, unless `ignore` says otherwise;
//! - a field with presence (`optional`, message, member of a oneof) is checked when it is set;
//! - `required` (or `REQUIRED`) means set, or different from zero where there is no presence; a
//!   violation of it is the only one reported for the field;
//! - an `OUTPUT_ONLY` field is never checked: the server wrote it.
//!
//! Two rules hold without being written: text, keys included, holds no U+0000, which a database
//! cannot store; a time lies in the years 1 to 9999, which is all that protobuf has.

mod path;
#[doc(hidden)]
pub mod rules;
pub mod update;

use std::fmt;

pub use path::Path;
pub use update::{Behavior, Resource};

/// The codes of [`Violation::code`]. Stable: clients compare with them.
pub mod code {
    pub const REQUIRED: &str = "required";
    pub const TOO_SHORT: &str = "too_short";
    pub const TOO_LONG: &str = "too_long";
    pub const PATTERN: &str = "pattern";
    pub const EMAIL: &str = "email";
    pub const URI: &str = "uri";
    /// Text with a character that cannot be stored.
    pub const INVALID_TEXT: &str = "invalid_text";
    pub const UUID: &str = "uuid";
    /// A number outside its bounds, or not finite; a time outside the years 1 to 9999.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// Not one of the values that the contract lists.
    pub const NOT_IN: &str = "not_in";
    /// One of the values that the contract excludes.
    pub const EXCLUDED: &str = "excluded";
    /// An enum's number without a name.
    pub const UNDEFINED_VALUE: &str = "undefined_value";
    pub const TOO_FEW: &str = "too_few";
    pub const TOO_MANY: &str = "too_many";
    pub const NOT_UNIQUE: &str = "not_unique";
    /// An update mask without a field.
    pub const EMPTY_UPDATE: &str = "empty_update";
    /// An update of a field that is fixed when the resource is created.
    pub const IMMUTABLE: &str = "immutable";
    /// An update of a field that only the server writes.
    pub const READ_ONLY: &str = "read_only";
    /// An update mask that names no top-level field of the resource.
    pub const UNKNOWN_FIELD: &str = "unknown_field";
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path from the checked message: `service.labels.region`, `steps[2].name`.
    pub field: String,
    /// One of [`code`].
    pub code: &'static str,
    /// For people, without the field's name and never with the value: "must be at least 1".
    pub detail: String,
}

/// A message that knows the rules of its fields.
pub trait Validate {
    /// Whether the message is what an RPC is asked with: only such are checked by the codec, so
    /// that a client does not refuse a newer server's answer.
    const INPUT: bool;

    /// Adds what is wrong with the message, which stands at `path`, to `out`.
    fn validate_into(&self, path: &Path<'_>, out: &mut Violations);
}

/// `google.protobuf.Empty`.
impl Validate for () {
    const INPUT: bool = false;

    fn validate_into(&self, _: &Path<'_>, _: &mut Violations) {}
}

/// Checks a whole message. Paths are relative to it.
///
/// # Errors
/// What is wrong, as far as [`Violations`] has room for it.
pub fn check<M: Validate>(message: &M) -> Result<(), Vec<Violation>> {
    let mut out = Violations::default();
    message.validate_into(&Path::root(), &mut out);
    out.into_result()
}

/// Checks the encoded input of an RPC as the codec does, by its full name; `None` when no RPC is
/// asked with it. For those who hold bytes and no type: tests over the whole contract.
///
/// # Errors
/// The bytes are no such message.
pub fn check_encoded(message: &str, bytes: &[u8]) -> Option<Result<Vec<Violation>, prost::DecodeError>> {
    crate::validations::validator(message).map(|check| check(bytes))
}

/// Checks a resource after a merge, as the field `name` of the request that carried it: paths read
/// `name.title`, like those of the codec.
///
/// # Errors
/// As [`check`].
pub fn check_resource<M: Validate>(name: &str, resource: &M) -> Result<(), Vec<Violation>> {
    let mut out = Violations::default();
    resource.validate_into(&Path::root().field(name), &mut out);
    out.into_result()
}

/// The violations found so far: as many as fit where they travel, the trailers of an HTTP/2 answer,
/// whose usual limit is 16 KiB in base64. More are dropped.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    bytes: usize,
}

impl Violations {
    /// How many are kept.
    pub const LIMIT: usize = 32;
    /// How many bytes of text are kept, the first violation apart.
    pub const BYTES: usize = 6 * 1024;

    /// Adds a violation at `path` while there is room.
    pub fn push(&mut self, path: &Path<'_>, code: &'static str, detail: fmt::Arguments<'_>) {
        if self.found.len() >= Self::LIMIT || self.bytes >= Self::BYTES {
            return;
        }
        let subject = if path.is_key() { "key " } else { "" };
        let violation = Violation { field: path.to_string(), code, detail: format!("{subject}{detail}") };
        self.bytes += violation.field.len() + code.len() + violation.detail.len();
        if self.found.is_empty() || self.bytes <= Self::BYTES {
            self.found.push(violation);
        }
    }

    /// Adds `required`.
    pub fn required(&mut self, path: &Path<'_>) {
        self.push(path, code::REQUIRED, format_args!("is required"));
    }

    /// Adds `required` at the message whose oneof has none of its `members` set: the oneof is no field of its own.
    pub fn one_required(&mut self, path: &Path<'_>, members: &[&str]) {
        self.push(path, code::REQUIRED, format_args!("needs one of {}", members.join(", ")));
    }

    /// # Errors
    /// The violations, when there are any.
    pub fn into_result(self) -> Result<(), Vec<Violation>> {
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }
}
