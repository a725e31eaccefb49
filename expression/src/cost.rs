//! What evaluating costs at worst, in steps. The prices are such that a step takes 100 ns at most,
//! of patterns that were made to be slow 400 ns: `tests/it/bounds.rs` measures the dearest
//! expressions that are accepted.

use crate::types::Size;

/// The most that an expression may cost.
pub const BUDGET: u64 = 150_000;

/// One part, evaluated once.
pub(crate) const NODE: u64 = 1;

/// An element of a comprehension beside what is done with it.
pub(crate) const ELEMENT: u64 = 8;

/// Bytes that one step compares or copies.
const COMPARED: u64 = 512;

/// Bytes that one step searches, counts or reads.
const SEARCHED: u64 = 64;

/// Bytes of text times bytes of compiled pattern that one step matches.
const MATCHED: u64 = 2048;

pub(crate) fn compare(size: Size) -> u64 {
    size.total() / COMPARED + size.len
}

pub(crate) fn search(bytes: u64) -> u64 {
    bytes / SEARCHED
}

/// A match visits, at worst, every state of the pattern for every byte.
pub(crate) fn pattern(bytes: u64, size: usize) -> u64 {
    1 + bytes.saturating_mul(size as u64) / MATCHED
}
