use crate::compile;

/// The fault of `text`: its place and its message.
fn fault(text: &str) -> (usize, usize, String) {
    match compile(text) {
        Ok(_) => panic!("{text} is accepted"),
        Err(fault) => (fault.line, fault.column, fault.message),
    }
}

#[test]
fn faults_are_pointed_at() {
    let cases = [
        ("", 1, "an expression is missing"),
        ("message.kind = 'x'", 14, "`=` is no operator; to compare, write `==`"),
        ("message.urgent & true", 16, "`&` is no operator; for \"and\", write `&&`"),
        ("message.urgent and true", 16, "for \"and\", write `&&`"),
        ("not message.urgent", 1, "write `!`"),
        ("message.kind ==", 16, "expected a value, a name or a bracket, found the end"),
        ("message.kind == == 'x'", 17, "expected a value, a name or a bracket, found `==`"),
        ("(message.urgent", 16, "expected an operator or `)` to close this bracket, found the end"),
        ("message.urgent)", 15, "expected an operator or the end, found `)`"),
        ("message.urgent message.urgent", 16, "expected an operator or the end, found `message`"),
        ("message.kind == “x”", 17, "text stands between plain quotes"),
        ("message.kind == 'x", 17, "this text has no closing '"),
        ("message.kind == 'a\\q'", 19, "this escape is not known"),
        ("message.count == 7u", 18, "no unsigned numbers"),
        ("message.kind == b'x'", 17, "no bytes"),
        ("message.value == null", 18, "has(…) asks whether something is there"),
        ("message.count == 99999999999999999999", 18, "does not fit into 64 bits"),
        ("{'a': 1}.a == 1", 1, "maps and messages cannot be made here"),
        ("true && mesage.urgent", 9, "there is no variable mesage, only message"),
        ("message.kind == disk", 17, "text needs quotes: \"disk\""),
        (
            "message.knd == 'x'",
            9,
            "message has no field knd; it has kind, value, count, urgent, colour, at, tags",
        ),
        ("message.kind.name == 'x'", 14, "text has no fields"),
        ("message.kind.upper() == 'X'", 14, "there is no function upper; there are has, all, exists"),
        ("message.kind.startswith('X')", 14, "there is no function startswith; it is written startsWith"),
        ("message.kind.contains()", 14, "contains is written text.contains(\"text\"); here it is on text"),
        ("message.value.contains('x')", 15, "here it is on a number with a fraction, with text"),
        ("message.kind", 9, "the answer must be true or false, not text"),
        ("1 + 1", 3, "the answer must be true or false, not a whole number"),
        ("message.tags.tier > 3", 19, "or read the text as a number with double(…)"),
        ("message.value + 1 > 2.0", 15, "write the whole number with a fraction, as in 1.0"),
        ("message.at > '2026-01-01'", 12, "a time is written timestamp(\"2026-01-31T08:00:00Z\")"),
        ("message.at > timestamp('yesterday')", 24, "timestamp cannot read this; a time looks like"),
        ("message.at.getHours('Mars') == 1", 21, "a time zone looks like"),
        ("message.kind in 'disk.full'", 14, "for a part of a text, write text.contains(part)"),
        ("message.kind in ['a', 1]", 23, "this is a whole number after text"),
        ("message.kind && true", 9, "`&&` takes true or false, not text"),
        ("-message.kind == 'x'", 1, "`-` takes a number, not text"),
        ("message == message", 9, "`==` does not fit message as a whole and message as a whole"),
        ("message.tags == message.tags", 14, "`==` does not fit a map and a map"),
        ("message.all(m, true)", 9, "all goes over a map or a list, not over message as a whole"),
        ("message.tags.all(message, true)", 18, "message is there already; take another name"),
        ("message.tags.all(key)", 14, "all is written many.all(name, condition)"),
        ("message.kind.matches(message.tags.p)", 35, "a pattern is written out, between quotes"),
        ("message.kind.matches('(')", 22, "the pattern cannot be read: unclosed group"),
        (r"message.kind.matches('\\pL')", 22, "\\p is not known here; name the characters instead"),
        ("message.urgent ? 1 : 'x'", 22, "both sides of `:`"),
        ("[[1]] == [[1]]", 2, "a list holds text, numbers and the like, not a list"),
    ];
    for (text, column, message) in cases {
        let (line, found, said) = fault(text);
        assert_eq!((line, found), (1, column), "{text}: {said}");
        assert!(said.contains(message), "{text}: {said}");
    }
    let (line, column, _) = fault("message.kind ==\n  == 'ä'");
    assert_eq!((line, column), (2, 3));
    assert_eq!(fault("'äöü' == message.knd").1, 18, "columns are counted in characters");
    let display = compile("message.urgent\n&& x").expect_err("no x").to_string();
    assert!(display.starts_with("line 2, column 4: there is no variable x"), "{display}");
}
