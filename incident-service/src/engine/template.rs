//! Text with {placeholders}, for dedup keys and titles. Checked when the rule is saved.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Characters of a rendered text at most.
const MAX_CHARS: usize = 255;
/// Characters of the hash that ends a text which was cut.
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

    /// The text for one event, at most 255 characters. A longer one is cut and ends with a hash of
    /// the whole, so that different keys stay different. A missing attribute is empty.
    pub fn render(&self, facts: &Facts<'_>) -> String {
        let text = self.0.iter().map(|part| part.value(facts)).collect();
        cut(text)
    }
}

impl Part {
    fn value<'a>(&'a self, facts: &Facts<'a>) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Rule => facts.rule,
            Self::Service => facts.service,
            Self::EventName => facts.event_name,
            Self::EventDedupKey => facts.event_dedup_key,
            Self::Attribute(name) => facts.attributes.get(name).map_or("", String::as_str),
        }
    }
}

/// `text` itself, or its beginning and a hash when it is too long for a key or title.
pub fn cut(text: String) -> String {
    if text.chars().nth(MAX_CHARS).is_none() {
        return text;
    }
    let mut hash = String::with_capacity(HASH_CHARS);
    for byte in &Sha256::digest(&text)[..HASH_CHARS / 2] {
        hash.push_str(&format!("{byte:02x}"));
    }
    let kept: String = text.chars().take(MAX_CHARS - HASH_CHARS - 1).collect();
    format!("{kept}…{hash}")
}

fn placeholder(name: &str) -> Option<Part> {
    match name {
        "rule" => Some(Part::Rule),
        "service" => Some(Part::Service),
        "event.name" => Some(Part::EventName),
        "event.dedup_key" => Some(Part::EventDedupKey),
        name => {
            let name = name.strip_prefix("event.").unwrap_or(name).strip_prefix("attributes.")?;
            (!name.is_empty()).then(|| Part::Attribute(name.to_owned()))
        }
    }
}

fn unknown(index: usize, name: &str) -> BadTemplate {
    let known = "rule, service, event.name, event.dedup_key, attributes.<name>";
    bad(index, format!("there is no placeholder {{{name}}}; there are {known}"))
}

fn bad(index: usize, detail: String) -> BadTemplate {
    BadTemplate { column: index + 1, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        let attributes = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
        let facts = Facts {
            rule: "charges",
            service: "payment",
            event_name: "charge.failed",
            event_dedup_key: "order-7",
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
    fn long_texts_are_cut_and_stay_different() {
        let (one, two) = (cut("a".repeat(300)), cut("a".repeat(301)));
        assert_eq!((one.chars().count(), two.chars().count()), (255, 255));
        assert_ne!(one, two);
        assert_eq!(cut("b".repeat(255)), "b".repeat(255));
    }
}
