use prost_types::FieldMask;

use crate::validate::update::{Resource, changeable};
use crate::validate::{Path, Violation, Violations};

/// `current` with the top-level fields that `mask` names taken from `patch`; those that `patch`
/// does not set are cleared, lists, maps and messages are replaced whole. The caller then checks
/// the result with [`crate::check_resource`], because fields may be valid only together.
///
/// # Errors
/// A path that names no field, or one that only the server or a creation may set. Paths are
/// relative to the resource. The codec has refused such a mask before a handler sees it.
pub fn merge<M: Resource>(current: &M, patch: &M, mask: &FieldMask) -> Result<M, Vec<Violation>> {
    let mut violations = Violations::default();
    let mut merged = current.clone();
    for name in &mask.paths {
        if changeable::<M>(name, &Path::root(), &mut violations) {
            merged.copy_field(name, patch);
        }
    }
    violations.into_result().map(|()| merged)
}
