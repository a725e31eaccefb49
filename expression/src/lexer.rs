//! Text into tokens, in one pass.

use crate::fault::{At, Read};
use crate::literal;

/// A piece of the text.
#[derive(Clone, Debug)]
pub(crate) struct Token<'a> {
    /// Its first byte.
    pub(crate) at: usize,
    pub(crate) kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A name or a word of the language.
    Word(&'a str),
    /// Without a sign: how far down it may reach depends on what stands before.
    Int(u64),
    Double(f64),
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// The longer of two that begin alike stands first.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "!", "<", ">", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}", "`",
];

impl Kind<'_> {
    /// As a message names it.
    pub(crate) fn name(&self) -> String {
        match self {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Int(_) | Kind::Double(_) => "a number".to_owned(),
            Kind::Text(_) => "a text".to_owned(),
            Kind::Sign(sign) => format!("`{sign}`"),
            Kind::End => "the end".to_owned(),
        }
    }
}

/// The tokens of `text`; the last one is the end.
pub(crate) fn tokens(text: &str) -> Read<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at = skip_blanks(text, at);
        let Some(first) = text[at..].chars().next() else {
            tokens.push(Token { at: text.len(), kind: Kind::End });
            return Ok(tokens);
        };
        let (kind, end) = token(text, at, first)?;
        tokens.push(Token { at, kind });
        at = end;
    }
}

fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
        at += blank;
        if !text[at..].starts_with("//") {
            return at;
        }
        at = text[at..].find('\n').map_or(text.len(), |end| at + end);
    }
}

fn token(text: &str, at: usize, first: char) -> Read<(Kind<'_>, usize)> {
    let rest = &text[at..];
    let second = rest[first.len_utf8()..].chars().next();
    if first.is_ascii_digit() || first == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
        return literal::number(text, at);
    }
    if let Some(quoted) = literal::text(text, at) {
        return quoted;
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        return Ok((Kind::Word(&rest[..length]), at + length));
    }
    match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        Some(sign) => Ok((Kind::Sign(sign), at + sign.len())),
        None => Err(At::new(at, stray(first))),
    }
}

fn stray(character: char) -> String {
    match character {
        '=' => "`=` is no operator; to compare, write `==`".to_owned(),
        '&' => "`&` is no operator; for \"and\", write `&&`".to_owned(),
        '|' => "`|` is no operator; for \"or\", write `||`".to_owned(),
        '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => {
            format!("`{character}` is no quote here; text stands between plain quotes, \"like this\"")
        }
        _ => format!("`{}` means nothing here", character.escape_debug()),
    }
}
