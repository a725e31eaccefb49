//! Update requests: a resource, and a mask that names its fields to change. Only those are checked;
//! what the whole must obey is checked after the merge ([`crate::merge()`],
//! [`super::check_resource`]).

use prost_types::FieldMask;

use super::{Path, Validate, Violations, code};

/// Who may set a field, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Whoever may write the resource.
    Plain,
    /// Only when the resource is created.
    Immutable,
    /// The server.
    OutputOnly,
}

/// A message that an update request carries. Generated.
pub trait Resource: Validate + Clone + Default {
    /// Every field in proto order, members of oneofs too.
    const FIELDS: &'static [(&'static str, Behavior)];

    /// As [`Validate::validate_into`] for the field `name` alone; nothing when there is none.
    fn validate_field(&self, name: &str, path: &Path<'_>, out: &mut Violations);

    /// Makes the field `name` what it is in `from`, unset included. The member of a oneof that
    /// `from` does not hold is cleared if it is set, and the other members are left alone.
    fn copy_field(&mut self, name: &str, from: &Self);

    /// What the field `name` allows; `None` when there is no such top-level field.
    fn behavior(name: &str) -> Option<Behavior> {
        Self::FIELDS.iter().find(|(field, _)| *field == name).map(|(_, behavior)| *behavior)
    }
}

/// Checks an update request's `resource`, its field `name`. An unset resource reads as an empty
/// one, which clears what the mask names, unless it is `required`.
#[doc(hidden)]
pub fn validate<R: Resource>(
    resource: Option<&R>,
    mask: Option<&FieldMask>,
    path: &Path<'_>,
    name: &str,
    required: bool,
    out: &mut Violations,
) {
    let paths = mask.map_or(&[][..], |mask| &mask.paths);
    let at = path.field(name);
    if required && resource.is_none() {
        out.required(&at);
    } else if paths.is_empty() {
        out.push(&path.field("update_mask"), code::EMPTY_UPDATE, format_args!("names no field to change"));
    } else {
        let empty = R::default();
        validate_masked(resource.unwrap_or(&empty), paths, &at, out);
    }
}

fn validate_masked<R: Resource>(resource: &R, paths: &[String], at: &Path<'_>, out: &mut Violations) {
    for name in paths {
        if changeable::<R>(name, at, out) {
            resource.validate_field(name, at, out);
        }
    }
}

/// Whether a mask may name `name`; adds to `out` why not.
pub(crate) fn changeable<R: Resource>(name: &str, at: &Path<'_>, out: &mut Violations) -> bool {
    let (code, detail) = match R::behavior(name) {
        Some(Behavior::Plain) => return true,
        Some(Behavior::Immutable) => (code::IMMUTABLE, "cannot be changed once it is set"),
        Some(Behavior::OutputOnly) => (code::READ_ONLY, "is set by the server"),
        None => (code::UNKNOWN_FIELD, "is not a field of this resource"),
    };
    out.push(&at.field(name), code, format_args!("{detail}"));
    false
}
