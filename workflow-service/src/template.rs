//! Text with `{placeholders}` for what is known of an incident. Only braces around a name are a
//! placeholder; every other brace stands for itself, so that JSON can be written as it is.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proto::events::v1::IncidentEvent;
use proto::incident::v1::Incident;

use crate::convert;

/// The placeholders beside `labels.<name>` and `attributes.<name>`.
pub const NAMES: [&str; 6] =
    ["incident.id", "incident.number", "incident.title", "incident.severity", "service.slug", "service.name"];
const LABELS: &str = "labels.";
const ATTRIBUTES: &str = "attributes.";
/// What may stand in a URL's path segment or query value as it is (RFC 3986, unreserved).
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a value is written into its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    None,
    /// Percent-encoded.
    Url,
    /// As the inside of a JSON string.
    Json,
}

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Placeholder(&'t str),
}

/// The first placeholder in `text` that is not one of ours.
pub fn unknown_placeholder(text: &str) -> Option<&str> {
    let is_of = |name: &str, map: &str| name.strip_prefix(map).is_some_and(|key| !key.is_empty());
    placeholders(text).find(|name| !NAMES.contains(name) && !is_of(name, LABELS) && !is_of(name, ATTRIBUTES))
}

/// Whether `text` needs the slug of the service, which an incident's snapshot does not hold.
pub fn needs_slug(text: &str) -> bool {
    placeholders(text).any(|name| name == "service.slug")
}

fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Placeholder(name) => Some(name),
        Piece::Text(_) => None,
    })
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let inside = &rest[open + 1..];
        let length = inside.bytes().take_while(|b| is_name_byte(*b)).count();
        let closes = inside[length..].starts_with('}');
        if closes && inside.starts_with(|c: char| c.is_ascii_lowercase()) {
            pieces.push(Piece::Text(&rest[..open]));
            pieces.push(Piece::Placeholder(&inside[..length]));
            rest = &inside[length + 1..];
        } else {
            pieces.push(Piece::Text(&rest[..=open]));
            rest = inside;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/')
}

/// The values of one incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    named: BTreeMap<&'static str, String>,
    labels: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
}

impl Values {
    /// Those of the incident in `event`; `slug` is its service's.
    pub fn new(event: &IncidentEvent, slug: &str) -> Self {
        let empty = Incident::default();
        let incident = event.incident.as_ref().unwrap_or(&empty);
        let service = event.service.as_ref().map_or("", |service| &service.name);
        let values = [
            incident.id.clone(),
            incident.number.to_string(),
            incident.title.clone(),
            convert::severity_name(incident.severity()).to_owned(),
            slug.to_owned(),
            service.to_owned(),
        ];
        Self {
            named: NAMES.into_iter().zip(values).collect(),
            labels: incident.labels.clone(),
            attributes: event.attributes.clone(),
        }
    }

    /// `text` with its placeholders filled in. A label or attribute that the incident does not carry is
    /// empty.
    pub fn render(&self, text: &str, escape: Escape) -> String {
        self.render_within(text, escape, usize::MAX).unwrap_or_default()
    }

    /// [`render`](Self::render); `None` when it becomes longer than `max` bytes.
    pub fn render_within(&self, text: &str, escape: Escape, max: usize) -> Option<String> {
        let mut rendered = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Placeholder(name) => rendered.push_str(&escaped(self.value(name), escape)),
            }
            if rendered.len() > max {
                return None;
            }
        }
        Some(rendered)
    }

    fn value(&self, name: &str) -> &str {
        let value = match (name.strip_prefix(LABELS), name.strip_prefix(ATTRIBUTES)) {
            (Some(label), _) => self.labels.get(label),
            (None, Some(attribute)) => self.attributes.get(attribute),
            (None, None) => self.named.get(name),
        };
        value.map_or("", String::as_str)
    }
}

/// The first `max` characters of `text`; the last of them is … when there were more.
pub fn cut(mut text: String, max: usize) -> String {
    if text.len() > max && text.chars().nth(max).is_some() {
        let end = text.char_indices().nth(max.saturating_sub(1)).map_or(0, |(at, _)| at);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn escaped(value: &str, escape: Escape) -> String {
    match escape {
        Escape::None => value.to_owned(),
        Escape::Url => utf8_percent_encode(value, URL).to_string(),
        Escape::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::api::v1::{Reference, Severity};

    use super::*;

    fn values() -> Values {
        let incident = Incident {
            number: 7,
            title: "\"Charges\" fail & burn".to_owned(),
            severity: Severity::Critical.into(),
            labels: [("region".to_owned(), "eu/1".to_owned())].into(),
            ..Incident::default()
        };
        let service = Reference { id: String::new(), name: "Payment".to_owned() };
        let event = IncidentEvent {
            incident: Some(incident),
            service: Some(service),
            attributes: [("http.status".to_owned(), "5 02".to_owned())].into(),
            ..IncidentEvent::default()
        };
        Values::new(&event, "payment")
    }

    #[test]
    fn values_are_written_as_their_place_needs() {
        let cases = [
            ("#{incident.number} {incident.severity}", Escape::None, "#7 critical"),
            (
                "/r/{labels.region}?t={incident.title}",
                Escape::Url,
                "/r/eu%2F1?t=%22Charges%22%20fail%20%26%20burn",
            ),
            (
                r#"{"t":"{incident.title}","n":{incident.number}}"#,
                Escape::Json,
                r#"{"t":"\"Charges\" fail & burn","n":7}"#,
            ),
            ("/{attributes.http.status}{attributes.none}", Escape::Url, "/5%2002"),
            ("{service.slug}/{service.name}{labels.none}", Escape::None, "payment/Payment"),
            ("{ {} {incident} {X} {incident.number", Escape::None, "{ {}  {X} {incident.number"),
        ];
        for (text, escape, expected) in cases {
            assert_eq!(values().render(text, escape), expected, "{text}");
        }
    }

    #[test]
    fn unknown_placeholders_are_found() {
        assert_eq!(unknown_placeholder("{incident.id} {labels.a.b/c} {\"a\": {}}"), None);
        assert_eq!(unknown_placeholder("{incident.id} {incident.nope}"), Some("incident.nope"));
        assert_eq!(unknown_placeholder("{labels.}"), Some("labels."));
        assert_eq!(unknown_placeholder("{attributes.region}{attributes.}"), Some("attributes."));
        assert!(needs_slug("x{service.slug}") && !needs_slug("{service.name}"));
    }

    #[test]
    fn long_text_is_cut_and_told() {
        for (text, expected) in [("", ""), ("abc", "abc"), ("abcd", "ab…"), ("äöü", "äöü"), ("äöüß", "äö…")]
        {
            assert_eq!(cut(text.to_owned(), 3), expected);
        }
    }

    #[test]
    fn what_becomes_too_long_is_not_rendered() {
        let within = |max| values().render_within("{labels.region}{labels.region}", Escape::None, max);
        assert_eq!((within(7), within(8).as_deref()), (None, Some("eu/1eu/1")));
    }

    proptest! {
        #[test]
        fn text_without_placeholders_stays_as_it_is(text in "[^}]{0,64}") {
            prop_assert_eq!(values().render(&text, Escape::Json), text);
        }
    }
}
