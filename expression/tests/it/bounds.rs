//! No text overflows the stack, none that is accepted takes long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use expression::{BUDGET, MAX_LENGTH};
use proptest::prelude::*;

use crate::{Message, compile};

/// Runs on a thread with little stack; an overflow would end the test's process.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(work)
        .expect("a thread")
        .join()
        .expect("no panic");
}

fn until_full(head: &str, link: &str, tail: &str) -> String {
    let links = (MAX_LENGTH - head.chars().count() - tail.chars().count()) / link.chars().count();
    format!("{head}{}{tail}", link.repeat(links))
}

/// Compiles, evaluates and drops.
fn go_through(text: &str) -> bool {
    compile(text).is_ok_and(|expression| {
        let _ = expression.holds(&Message::sample().bound());
        true
    })
}

/// Chains of everything that can be chained, as (before, link, after).
fn chains() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut chains = vec![
        ("true", ".a", ""),
        ("message.tags.a", ".a", ""),
        ("[0]", "[0]", " == 0"),
        ("message.kind", ".size()", " == 1"),
        ("message.tags", ".map(k, k)", " == []"),
        ("message.tags", ".filter(k, true)", " == []"),
        ("", "true ? true : ", "true"),
        ("", "true ? ", "true"),
        ("", "!", "true"),
        ("0 == ", "-", "1"),
        ("", "(", "true"),
        ("", "(", ""),
        ("", "[", "1"),
        ("[", "1,", "] == []"),
        ("message.kind in [", "'a',", "'b']"),
        ("message.kind in [", "", "'b'"),
        ("", "string(", ""),
        ("", "[1].all(x, ", ""),
        ("", "message.tags.all(x, ", ""),
        ("message.kind == '", "x", "'"),
        ("message.kind.matches('", "(", "')"),
        ("message.kind.matches('", "(a|b)*", "')"),
        ("message.kind == '", "\\n", "'"),
        ("", " ", "true"),
        ("", "//\n", "true"),
        ("", "{", ""),
        ("", "))", ""),
        ("'", "ä", "'=='"),
        ("message.kind == '' ", "|| message.kind == '' ", ""),
        ("message.kind == '' ", "&& message.kind == '' ", ""),
        ("true ", "&& true || true ", ""),
    ];
    for operator in ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", " in ", "&&", "||"] {
        for (head, value) in [("1", "1"), ("true", "true"), ("message.kind", "message.kind"), ("'a'", "'a'")]
        {
            let link: &'static str = format!("{operator}{value}").leak();
            chains.push((head, link, ""));
            chains.push((head, link, " == 1"));
            let nested: &'static str = format!("{value}{operator}(").leak();
            chains.push(("", nested, ""));
        }
    }
    chains
}

#[test]
fn no_chain_overflows_the_stack() {
    on_a_small_stack(|| {
        for (head, link, tail) in chains() {
            if !link.is_empty() {
                go_through(&until_full(head, link, tail));
            }
            // Also with every length at which a chain is barely accepted.
            for links in 1..70 {
                let closed = format!("{head}{}{tail}{}", link.repeat(links), ")".repeat(links));
                go_through(&format!("{head}{}{tail}", link.repeat(links)));
                go_through(&closed);
            }
        }
    });
}

#[test]
fn long_chains_of_conditions_are_accepted() {
    on_a_small_stack(|| {
        assert!(go_through(&until_full("true", "||true", "")));
        assert!(go_through(&until_full("message.kind == ''", " || message.kind == 'x'", "")));
        assert!(go_through(&until_full("message.kind in ['a'", ", 'abcdef'", "]")));
        assert!(go_through(&until_full("message.kind == '", "x", "'")));
        assert!(go_through(&format!("{}true{}", "(".repeat(15), ")".repeat(15))));
        assert!(go_through(&format!("1{} > 0", "+1".repeat(30))));
    });
    let text = format!("{} == ''", "'x'+".repeat(20));
    assert!(compile(&text).is_err(), "the last + has no right side");
}

#[test]
fn what_is_too_deep_or_too_long_is_said() {
    let message = |text: &str| compile(text).expect_err("too much").message;
    assert!(message(&format!("{}true", "(".repeat(17))).contains("inside one another"));
    assert!(message(&format!("1{} > 0", "+1".repeat(40))).contains("split the expression"));
    let nested = "message.tags.all(a, message.tags.all(b, message.tags.all(c, true)))";
    assert!(message(nested).contains("may stand inside one another"));
    assert!(message(&" ".repeat(MAX_LENGTH + 1)).contains("4096 characters"));
    let numbers: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    assert!(message(&format!("[{}].all(n, n > 0)", numbers.join(","))).contains("64 written values"));
}

#[test]
fn work_beyond_the_budget_is_refused() {
    for text in [
        "message.tags.all(a, message.tags.all(b, a != b && a.size() != b.size()))".to_owned(),
        "message.tags.all(a, message.tags.exists(b, message.tags[a] == message.tags[b]))".to_owned(),
        "message.tags.exists(a, message.tags[a].matches('([a-z]+)*x([0-9]{3}){20}'))".to_owned(),
        "message.kind.matches('(a{50}){50}')".to_owned(),
        until_full("message.kind.matches('", "a", "')"),
        "message.kind.matches('(.{100}){100}')".to_owned(),
        format!("message.tags.t{} == ''", " + message.tags.t".repeat(20)),
    ] {
        let fault = compile(&text).expect_err(&text);
        let known = ["too much work", "too large", "grow beyond", "1024 characters together"]
            .iter()
            .any(|it| fault.message.contains(it));
        assert!(known, "{text}: {fault}");
    }
    for text in [
        "message.tags.exists(a, a.startsWith('x-') && message.tags[a].contains('fail'))",
        "message.tags.all(a, ['a', 'b', 'c', 'd'].exists(b, a.endsWith(b)))",
        "message.tags.text.matches('^(GET|POST) /v\\\\d+/[a-z_]+ 5\\\\d\\\\d$')",
        "message.tags.text.matches('(?i)out of memory|oom[- ]kill')",
        "message.tags.exists(a, a.matches('^http_'))",
    ] {
        let cost = compile(text).expect(text).cost();
        assert!(cost <= BUDGET, "{text}: {cost}");
    }
}

/// The largest message that the schema allows, made to be slow: keys and values that are alike up
/// to their last character.
fn largest() -> Message {
    let tag = |n: usize| (format!("{}{n:03}", "a".repeat(125)), format!("{}{n:03}", "ab".repeat(2046) + "c"));
    let mut tags: BTreeMap<String, String> = (0..126).map(tag).collect();
    tags.insert("t".to_owned(), shuffled(['a', 'b']));
    tags.insert("u".to_owned(), shuffled(['\u{10348}', '\u{10349}']));
    Message { kind: "a".repeat(255), tags, ..Message::sample() }
}

/// As many of two characters as fit, in no order that an automaton could learn.
fn shuffled(of: [char; 2]) -> String {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        of[usize::from(state & (1 << 30) == 0)]
    };
    (0..4096).map(|_| next()).collect()
}

/// Each as often as the budget and the length allow.
fn dearest() -> Vec<String> {
    let parts = [
        "message.tags.all(a, a == a)",
        "message.tags.all(a, message.tags[a] != '')",
        "message.tags.all(a, message.tags[a] == message.tags[a])",
        "message.tags.all(a, !message.tags[a].contains('abababababababababababababababcd'))",
        "message.tags.all(a, message.tags[a].size() > 1)",
        "message.tags.map(a, message.tags[a] + 'x').size() > 1",
        "message.tags.map(a, message.tags[a]) == message.tags.map(a, message.tags[a])",
        "message.tags.filter(a, message.tags[a] < 'b').size() >= 0",
        "message.tags.all(a, [1, 2, 3, 4, 5, 6, 7, 8].all(b, b < 9))",
        "message.tags.all(a, [1, 2, 3, 4].all(b, -b + 1 < 9 && !(b > 7)))",
        "message.tags.all(a, ['x', 'y', 'z', 'w'].all(b, !a.endsWith(b)))",
        "message.tags.all(a, !(a in ['x', 'y', 'z', 'w', 'v', 'n', 'o', 's', 'r', 'q', 'p']))",
        "message.tags.all(a, a in message.tags)",
        "message.tags.all(a, message.at < timestamp('2030-01-01T00:00:00Z') + duration('1h'))",
        "message.tags.all(a, message.at.getHours('Europe/Berlin') < 24)",
        "message.tags.all(a, string(message.value * 1.1e300).size() > 1)",
        "!message.tags.t.matches('a[ab]{12}[^ab]')",
        "!message.tags.t.matches('a[ab]{60}[^ab]')",
        "!message.tags.t.matches('[ab]*a[ab]{12}[ab]*[^ab]')",
        "!message.tags.t.matches('(a|b|ab|ba|aab)*(a[ab]{9}|b[ab]{8})[^ab]')",
        "!message.tags.u.matches('\u{10348}[\u{10348}\u{10349}]{8}[^\u{10348}\u{10349}]')",
        "!message.tags.u.matches('\u{10348}[\u{10348}\u{10349}]{12}[^\u{10348}\u{10349}]')",
        "message.tags.all(a, !a.matches('a[ab]{4}[^a0-9]'))",
        "message.tags.exists(a, int(message.tags[a]) == 1) || true",
    ];
    let as_often = |part: &&str| {
        let mut text = (*part).to_owned();
        loop {
            let longer = format!("{text} && {part}");
            if longer.len() > MAX_LENGTH || compile(&longer).is_err() {
                return text;
            }
            text = longer;
        }
    };
    parts.iter().map(as_often).collect()
}

/// The stated bound is for release builds; `cargo test --release -p expression -- --nocapture`
/// prints what each takes. Elsewhere ten times as long is allowed.
#[test]
fn the_dearest_expressions_stay_within_the_bound() {
    let message = largest();
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
    for text in dearest() {
        let expression = compile(&text).expect("accepted");
        let bindings = message.bound();
        let _ = expression.holds(&bindings);
        // The quickest of some: what else the machine does is not the expression's.
        let took = (0..5).map(|_| {
            let begun = Instant::now();
            let _ = expression.holds(&bindings);
            begun.elapsed()
        });
        let took = took.min().unwrap_or_default();
        let part = text.split(" && message").next().unwrap_or_default();
        println!(
            "{took:>10.1?} {:>6} steps {:>5} ns/step {part}",
            expression.cost(),
            took.as_nanos() / u128::from(expression.cost())
        );
        assert!(took < bound, "{took:?}: {text}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_compiler(text in ".{0,200}") {
        go_through(&text);
    }

    #[test]
    fn no_soup_of_words_breaks_it(words in prop::collection::vec(prop::sample::select(vec![
        "message", ".", "kind", "tags", "(", ")", "[", "]", "?", ":", ",", "==", "in", "!", "-", "+", "&&", "||",
        "all", "map", "x", "'a'", "1", "2.5", "true", "size", "matches", "has", "{", "}", "'", "\n", "//",
    ]), 0..80)) {
        go_through(&words.join(" "));
        go_through(&words.concat());
    }
}
