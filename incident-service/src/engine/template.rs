//! Text with {placeholders}, for dedup keys and titles. Checked when the rule is saved.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Characters of a key or title at most.
const MAX_CHARS: usize = 255;
/// Characters of the hash that ends a key which is not as it was rendered.
const HASH_CHARS: usize = 16;

/// A text whose placeholders are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Rule,
    Service,
    EventName,
    EventDedupKey,
    EventSeverity,
    EventValue,
    Attribute(String),
}

/// What is wrong with a template, and at which character (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTemplate {
    pub column: usize,
    pub detail: String,
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The rule's slug.
    pub rule: &'a str,
    /// The service's slug.
    pub service: &'a str,
    pub event_name: &'a str,
    pub event_dedup_key: &'a str,
    pub event_severity: &'a str,
    pub event_value: Option<f64>,
    pub attributes: &'a BTreeMap<String, String>,
}

impl Template {
    /// Reads `text`. `{{` and `}}` stand for the braces themselves.
    ///
    /// # Errors
    /// A placeholder that is not known or not closed.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().enumerate().peekable();
        while let Some((index, c)) = chars.next() {
            let doubled = chars.peek().is_some_and(|(_, next)| *next == c);
            match c {
                '{' | '}' if doubled => {
                    chars.next();
                    plain.push(c);
                }
                '{' => {
                    let name: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').collect();
                    if text.chars().nth(index + 1 + name.chars().count()) != Some('}') {
                        return Err(bad(index, "this placeholder is not closed".to_owned()));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(placeholder(&name).ok_or_else(|| unknown(index, &name))?);
                }
                '}' => return Err(bad(index, "this } closes nothing; write }} for a brace".to_owned())),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The text for one event. A missing attribute or value is empty.
    pub fn render(&self, facts: &Facts<'_>) -> String {
        self.0.iter().map(|part| part.value(facts)).collect()
    }
}

impl Part {
    fn value<'a>(&'a self, facts: &Facts<'a>) -> Cow<'a, str> {
        let text = match self {
            Self::Text(text) => text.as_str(),
            Self::Rule => facts.rule,
            Self::Service => facts.service,
            Self::EventName => facts.event_name,
            Self::EventDedupKey => facts.event_dedup_key,
            Self::EventSeverity => facts.event_severity,
            Self::EventValue => {
                return facts.event_value.map_or(Cow::Borrowed(""), |value| value.to_string().into());
            }
            Self::Attribute(name) => facts.attributes.get(name).map_or("", String::as_str),
        };
        Cow::Borrowed(text)
    }
}

/// `text` as a dedup key: at most 255 characters, none of control. What is not kept as it was ends
/// with a hash of the whole, so that different keys stay different.
pub fn key(text: &str) -> String {
    let clean = printable(text, '\u{FFFD}');
    if clean == text && clean.chars().nth(MAX_CHARS).is_none() {
        return clean;
    }
    let mut hash = String::with_capacity(HASH_CHARS);
    for byte in &Sha256::digest(text)[..HASH_CHARS / 2] {
        hash.push_str(&format!("{byte:02x}"));
    }
    let kept: String = clean.chars().take(MAX_CHARS - HASH_CHARS - 1).collect();
    format!("{kept}…{hash}")
}

/// `text` as a title: at most 255 characters on one line, none of control.
pub fn title(text: &str) -> String {
    let clean = printable(text.trim(), ' ');
    if clean.chars().nth(MAX_CHARS).is_none() {
        return clean;
    }
    let kept: String = clean.chars().take(MAX_CHARS - 1).collect();
    format!("{kept}…")
}

/// Without control characters: Postgres keeps no U+0000, and terminals and mails obey others.
fn printable(text: &str, line_break: char) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => line_break,
        c if c.is_control() => '\u{FFFD}',
        c => c,
    };
    text.chars().map(shown).collect()
}

fn placeholder(name: &str) -> Option<Part> {
    match name {
        "rule" => Some(Part::Rule),
        "service" => Some(Part::Service),
        "event.name" => Some(Part::EventName),
        "event.dedup_key" => Some(Part::EventDedupKey),
        "event.severity" => Some(Part::EventSeverity),
        "event.value" => Some(Part::EventValue),
        name => {
            let name = name.strip_prefix("event.").unwrap_or(name).strip_prefix("attributes.")?;
            (!name.is_empty()).then(|| Part::Attribute(name.to_owned()))
        }
    }
}

fn unknown(index: usize, name: &str) -> BadTemplate {
    let known = "rule, service, event.name, event.dedup_key, event.severity, event.value, attributes.<name>";
    bad(index, format!("there is no placeholder {{{name}}}; there are {known}"))
}

fn bad(index: usize, detail: String) -> BadTemplate {
    BadTemplate { column: index + 1, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        render_of(template, Some(95.5))
    }

    fn render_of(template: &str, event_value: Option<f64>) -> String {
        let attributes = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
        let facts = Facts {
            rule: "charges",
            service: "payment",
            event_name: "charge.failed",
            event_dedup_key: "order-7",
            event_severity: "high",
            event_value,
            attributes: &attributes,
        };
        Template::parse(template).expect("a good template").render(&facts)
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(
            render(
                "{service}/{rule}: {event.name} {event.dedup_key} in {attributes.region}{attributes.none}"
            ),
            "payment/charges: charge.failed order-7 in eu",
        );
        assert_eq!(render("{event.severity} at {event.value} %"), "high at 95.5 %");
        assert_eq!(render_of("{event.value}", Some(90.0)), "90");
        assert_eq!(render_of("[{event.value}]", None), "[]");
        assert_eq!(render("plain"), "plain");
        assert_eq!(render("{{{rule}}}"), "{charges}");
        assert_eq!(render(""), "");
    }

    #[test]
    fn bad_placeholders_are_pointed_at() {
        let column = |text| Template::parse(text).expect_err("bad").column;
        assert_eq!(column("ab {nonsense}"), 4);
        assert_eq!(column("é{attributes.}"), 2);
        assert_eq!(column("{rule"), 1);
        assert_eq!(column("a}b"), 2);
        assert_eq!(column("{}"), 1);
    }

    #[test]
    fn long_keys_are_cut_and_stay_different() {
        let (one, two) = (key(&"a".repeat(300)), key(&"a".repeat(301)));
        assert_eq!((one.chars().count(), two.chars().count()), (255, 255));
        assert_ne!(one, two);
        assert_eq!(key(&"b".repeat(255)), "b".repeat(255));
    }

    #[test]
    fn keys_without_control_characters_stay_different() {
        let keys = [key("a\0"), key("a\u{1}"), key("a\n"), key("a\u{FFFD}"), key("a")];
        assert!(keys.iter().all(|key| !key.contains(char::is_control)), "{keys:?}");
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn titles_stand_on_one_line() {
        assert_eq!(title(" no\0such\ttable\r\n"), "no\u{FFFD}such table");
        let long = title(&"é".repeat(300));
        assert_eq!((long.chars().count(), long.ends_with("é…")), (255, true));
    }
}
