//! Fields that are one of some words.

use crate::{compile, holds};

#[test]
fn they_are_compared_with_their_words() {
    for (text, expected) in [
        ("message.colour == 'amber'", true),
        ("'red' != message.colour", true),
        ("message.colour in ['red', 'green']", false),
        ("message.colour == message.colour", true),
        ("message.colour in [message.kind, 'amber']", true),
        ("message.colour == message.tags.region", false),
        ("has(message.colour) && message.colour.startsWith('am')", true),
        ("message.colour + '!' == 'amber!'", true),
        ("['red', 'amber'].exists(c, c == message.colour)", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn words_that_there_are_not_are_refused_where_they_stand() {
    for (text, column, word) in [
        ("message.colour == 'AMBER'", 19, "AMBER"),
        ("'' != message.colour", 1, ""),
        ("message.colour in ['red', 'gren']", 27, "gren"),
        ("message.tags.all(t, message.colour == t && message.colour == 'blue')", 62, "blue"),
    ] {
        let fault = compile(text).expect_err(text);
        assert_eq!(fault.column, column, "{text}: {fault}");
        let message = format!("this is never \"{word}\"; there are \"red\", \"amber\", \"green\"");
        assert_eq!(fault.message, message, "{text}");
    }
}

#[test]
fn they_have_no_order() {
    for text in
        ["message.colour >= 'red'", "message.kind < message.colour", "message.colour > message.colour"]
    {
        let fault = compile(text).expect_err(text);
        assert!(fault.message.contains("there are \"red\", \"amber\", \"green\": list"), "{text}: {fault}");
        assert!(fault.message.ends_with("as in [\"red\", \"amber\"]"), "{text}: {fault}");
    }
}
