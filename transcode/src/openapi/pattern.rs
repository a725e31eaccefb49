//! A text that matches a pattern, for examples.

use regex_syntax::hir::{Class, Hir, HirKind};

/// How often an unbounded repetition is repeated.
const REPEATS: u32 = 3;

/// Characters that look like something, in the order they are preferred.
const PREFERRED: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.";

/// The same text for the same pattern; `None` when the pattern does not parse.
pub(super) fn sample(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut out = String::new();
    put(&hir, &mut out);
    Some(out)
}

fn put(hir: &Hir, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.extend(pick(class)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX).max(repetition.min);
            for _ in 0..REPEATS.clamp(repetition.min, most) {
                put(&repetition.sub, out);
            }
        }
        HirKind::Capture(capture) => put(&capture.sub, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| put(part, out)),
        HirKind::Alternation(branches) => {
            if let Some(first) = branches.first() {
                put(first, out);
            }
        }
    }
}

fn pick(class: &Class) -> Option<char> {
    match class {
        Class::Unicode(class) => {
            let holds = |c: &char| class.ranges().iter().any(|r| r.start() <= *c && *c <= r.end());
            let first = class.ranges().first().map(|range| range.start());
            PREFERRED.chars().find(holds).or(first)
        }
        Class::Bytes(class) => class.ranges().first().map(|range| char::from(range.start())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_match_their_pattern() {
        let patterns = [
            "^[a-z0-9-]{1,63}$",
            r"^\d{4}-\d{2}$",
            "^(low|high)$",
            r"^#[0-9a-fA-F]{6}$",
            "^[A-Z]{2,5}_[^a-z]+$",
            r"^\+?[1-9]\d{6,14}$",
            "x{0,0}y*",
        ];
        for pattern in patterns {
            let text = sample(pattern).expect("a valid pattern");
            let regex = regex::Regex::new(pattern).expect("a valid pattern");
            assert!(regex.is_match(&text), "{pattern} gave {text}");
        }
    }
}
