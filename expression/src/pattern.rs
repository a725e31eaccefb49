//! Patterns of `matches`: compiled with the expression, once.

use std::any::Any;
use std::sync::Arc;

use cel::common::types::Type;
use cel::common::value::{StaticVal, Val};
use regex::{Regex, RegexBuilder};

static TYPE: Type = Type::new_unspecified_type("pattern");

/// The sizes, in bytes of the compiled form, that a pattern is tried with. The smallest that it
/// fits into is its price: a match visits, at worst, each of its states for each byte of the text.
const SIZES: [usize; 12] = [512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 32_768];

/// Groups inside one another.
const NESTING: u32 = 32;

/// Characters of all patterns of an expression: reading and compiling them takes time, too.
pub(crate) const MAX_LENGTH: usize = 1024;

/// Bytes of lazily built automaton that a pattern may keep.
const CACHE: usize = 256 << 10;

/// A compiled pattern, which the evaluator carries as a value.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Shared: a clone of the `Regex` itself would build its automaton anew.
    regex: Arc<Regex>,
    /// Bytes of the compiled form, rounded up.
    pub(crate) size: usize,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let pattern = ascii_classes(text)?;
        let build = |size: usize| {
            RegexBuilder::new(&pattern).size_limit(size).dfa_size_limit(CACHE).nest_limit(NESTING).build()
        };
        let largest = build(SIZES[SIZES.len() - 1]).map_err(|error| reason(&error))?;
        let smallest = SIZES.partition_point(|size| build(*size).is_err());
        let size = SIZES.get(smallest).copied().unwrap_or(SIZES[SIZES.len() - 1]);
        Ok(Self { regex: Arc::new(largest), size })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The last line of what the compiler says; the ones before draw a picture.
fn reason(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(_) = error {
        return "the pattern is too large; shorten its repetitions".to_owned();
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    format!("the pattern cannot be read: {}", last.strip_prefix("error: ").unwrap_or(last))
}

/// `\d`, `\w` and `\s` mean ASCII, as in RE2, which CEL's patterns are; thousands of digits and
/// letters of the world would make each of them a hundred times as large. So does `\p`.
fn ascii_classes(text: &str) -> Result<String, String> {
    let mut pattern = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            pattern.push(character);
            continue;
        }
        match characters.next() {
            Some('d') => pattern.push_str("[0-9]"),
            Some('D') => pattern.push_str("[^0-9]"),
            Some('w') => pattern.push_str("[0-9A-Za-z_]"),
            Some('W') => pattern.push_str("[^0-9A-Za-z_]"),
            Some('s') => pattern.push_str(r"[\t\n\f\r ]"),
            Some('S') => pattern.push_str(r"[^\t\n\f\r ]"),
            Some('p' | 'P') => return Err("\\p is not known here; name the characters instead".to_owned()),
            Some(other) => pattern.extend(['\\', other]),
            None => pattern.push('\\'),
        }
    }
    Ok(pattern)
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
