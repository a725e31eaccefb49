use prost_types::FieldMask;
use tonic::Status;

use crate::codec::invalid;
use crate::validate::update::{Resource, changeable};
use crate::validate::{Path, Violation, Violations, check_resource};

/// `current` with the top-level fields that `mask` names taken from `patch`; those that `patch`
/// does not set are cleared, lists, maps and messages are replaced whole. The result is unchecked, and
/// fields may be valid only together: [`update`] checks it, too.
///
/// # Errors
/// A path that names no field, or one that only the server or a creation may set. Paths are
/// relative to the resource. The codec has refused such a mask before a handler sees it.
pub fn merge<M: Resource>(current: &M, patch: &M, mask: &FieldMask) -> Result<M, Vec<Violation>> {
    merge_at(&Path::root(), current, patch, mask)
}

fn merge_at<M: Resource>(
    at: &Path<'_>,
    current: &M,
    patch: &M,
    mask: &FieldMask,
) -> Result<M, Vec<Violation>> {
    let mut violations = Violations::default();
    let mut merged = current.clone();
    for name in &mask.paths {
        if changeable::<M>(name, at, &mut violations) {
            merged.copy_field(name, patch);
        }
    }
    violations.into_result().map(|()| merged)
}

/// What an update request makes of `current`: [`merge`], then checked as a whole. `name` is the
/// request's field that carries the resource; an unset one reads as an empty resource.
///
/// # Errors
/// [`invalid`], the answer that the codec gives, with paths below `name`.
pub fn update<M: Resource>(
    name: &str,
    current: &M,
    patch: Option<&M>,
    mask: Option<&FieldMask>,
) -> Result<M, Status> {
    let empty = (M::default(), FieldMask::default());
    let (patch, mask) = (patch.unwrap_or(&empty.0), mask.unwrap_or(&empty.1));
    let merged = merge_at(&Path::root().field(name), current, patch, mask).map_err(invalid)?;
    check_resource(name, &merged).map_err(invalid)?;
    Ok(merged)
}
