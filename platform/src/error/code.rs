//! Codes that arrive from another process become `&'static str` like our own. The set of codes is
//! small and closed by the contract; the bound keeps a misbehaving peer from growing memory.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

const MAX_CODES: usize = 4096;
const MAX_LENGTH: usize = 64;

/// The one copy of `code`; `fallback` when it is no snake-case name or the set is full.
pub(super) fn intern(code: &str, fallback: &'static str) -> &'static str {
    static CODES: OnceLock<Mutex<HashSet<&'static str>>> = OnceLock::new();
    let well_formed = !code.is_empty()
        && code.len() <= MAX_LENGTH
        && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
    if !well_formed {
        return fallback;
    }
    let mut codes = CODES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = codes.get(code) {
        return known;
    }
    if codes.len() >= MAX_CODES {
        return fallback;
    }
    let code: &'static str = Box::leak(code.to_owned().into_boxed_str());
    codes.insert(code);
    code
}
