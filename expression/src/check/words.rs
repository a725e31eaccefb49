//! Comparing fields that are one of some words: a misspelled word would never be equal, and the
//! alphabet is not the order that people mean.

use crate::ast::{Kind, Node};
use crate::fault::{At, Read};

type Words = &'static [&'static str];

/// Whether an operator fits what stands on its sides, of which a field may list its words.
pub(super) fn compared(
    at: usize,
    operator: &str,
    (left, left_words): (&Node, Option<Words>),
    (right, right_words): (&Node, Option<Words>),
) -> Read<()> {
    match (operator, left_words, right_words) {
        ("<" | "<=" | ">" | ">=", Some(words), _) | ("<" | "<=" | ">" | ">=", _, Some(words)) => {
            Err(At::new(at, no_order(operator, words)))
        }
        ("==" | "!=", Some(words), None) => known(right, words),
        ("==" | "!=", None, Some(words)) => known(left, words),
        ("in", Some(words), _) => match &right.kind {
            Kind::List(items) => items.iter().try_for_each(|item| known(item, words)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether text that is written out is one of the words.
fn known(node: &Node, words: Words) -> Read<()> {
    match &node.kind {
        Kind::Text(text) if !words.contains(&text.as_str()) => {
            let message = format!("this is never \"{text}\"; there are {}", written(words));
            Err(At::new(node.at, message))
        }
        _ => Ok(()),
    }
}

fn no_order(operator: &str, words: Words) -> String {
    let some = written(words.get(..2).unwrap_or(words));
    let all = written(words);
    format!(
        "`{operator}` compares by the alphabet, these words have no order; there are {all}: list those that are meant, as in [{some}]"
    )
}

/// As they stand in an expression.
fn written(words: Words) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}
