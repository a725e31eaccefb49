//! Numbers and texts as they are written.

use crate::fault::{At, Read};
use crate::lexer::Kind;

/// The number that begins at `at`, and where it ends.
pub(crate) fn number(text: &str, at: usize) -> Read<(Kind<'_>, usize)> {
    let rest = &text[at..];
    let bad = |message: &str| At::new(at, message);
    let hexadecimal = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
    let (kind, length) = if let Some(digits) = hexadecimal {
        let length = run(digits, |c| c.is_ascii_hexdigit());
        let value = u64::from_str_radix(&digits[..length], 16)
            .map_err(|_| bad("this is no number; hexadecimal ones look like 0x1f, with 64 bits at most"))?;
        (Kind::Int(value), length + 2)
    } else {
        decimal(rest).ok_or_else(|| bad("this number does not fit into 64 bits"))?
    };
    match rest[length..].chars().next() {
        Some('u' | 'U') => Err(bad("there are no unsigned numbers here; write the number without the u")),
        Some(c) if c.is_ascii_alphanumeric() || c == '_' => {
            Err(At::new(at + length, "a number ends before this; names begin with a letter, text has quotes"))
        }
        _ => Ok((kind, at + length)),
    }
}

fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

fn decimal(rest: &str) -> Option<(Kind<'_>, usize)> {
    let digits = |from: usize| from + run(&rest[from..], |c| c.is_ascii_digit());
    let whole = digits(0);
    let mut end = whole;
    if rest[end..].starts_with('.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    if end == whole {
        return Some((Kind::Int(rest[..end].parse().ok()?), end));
    }
    let value: f64 = rest[..end].parse().ok()?;
    value.is_finite().then_some((Kind::Double(value), end))
}

/// The text that begins at `at` with its quotes, and where it ends; `None` when none begins there.
pub(crate) fn text(text: &str, at: usize) -> Option<Read<(Kind<'_>, usize)>> {
    let rest = &text[at..];
    let prefix = run(rest, |c| matches!(c, 'r' | 'R' | 'b' | 'B'));
    let quote = rest[prefix..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if prefix > 2 {
        return None;
    }
    if rest[..prefix].contains(['b', 'B']) {
        return Some(Err(At::new(at, "there are no bytes here; write the text without the b")));
    }
    Some(quoted(text, at, prefix, quote))
}

fn quoted(text: &str, at: usize, prefix: usize, quote: char) -> Read<(Kind<'_>, usize)> {
    let rest = &text[at + prefix..];
    let tripled = quote.to_string().repeat(3);
    let close = if rest.starts_with(&tripled) { tripled.as_str() } else { &tripled[..1] };
    let mut value = String::new();
    let mut from = close.len();
    loop {
        let inside = &rest[from..];
        let Some(next) = inside.chars().next() else {
            return Err(At::new(at, format!("this text has no closing {close}")));
        };
        if inside.starts_with(close) {
            return Ok((Kind::Text(value), at + prefix + from + close.len()));
        }
        if next == '\n' && close.len() == 1 {
            return Err(At::new(at, format!("this text has no closing {close} on its line")));
        }
        if next == '\\' && prefix == 0 {
            let (character, length) = escape(&inside[1..]).ok_or_else(|| {
                let at = at + prefix + from;
                At::new(at, "this escape is not known; a backslash itself is written \\\\, or r\"…\"")
            })?;
            value.push(character);
            from += 1 + length;
        } else {
            value.push(next);
            from += next.len_utf8();
        }
    }
}

/// The character that what follows a backslash stands for, and how long that is.
fn escape(rest: &str) -> Option<(char, usize)> {
    let first = rest.chars().next()?;
    let coded = |from: usize, length: usize, radix: u32| {
        let digits = rest.get(from..from + length)?;
        let all = digits.chars().all(|c| c.is_digit(radix));
        let code = u32::from_str_radix(digits, radix).ok().filter(|_| all)?;
        Some((char::from_u32(code)?, from + length))
    };
    let plain = match first {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '?' | '"' | '\'' | '`' => first,
        'x' | 'X' => return coded(1, 2, 16),
        'u' => return coded(1, 4, 16),
        'U' => return coded(1, 8, 16),
        '0'..='3' => return coded(0, 3, 8),
        _ => return None,
    };
    Some((plain, 1))
}
