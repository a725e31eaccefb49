//! Request headers that carry meaning: If-Match, If-None-Match, Idempotency-Key, Content-Type.

use http::{HeaderMap, HeaderName, header};

use crate::problem::{Fault, FieldFault};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const LONGEST_KEY: usize = 255;

/// The version that If-Match names, without quotes. `None` without the header and for `*`, which
/// any version of an existing thing matches.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let Some(tags) = tags(headers, header::IF_MATCH) else {
        return Err(invalid("If-Match", "must be an entity tag in double quotes, or *"));
    };
    let Tags::List(tags) = tags else {
        return Ok(None);
    };
    // If-Match compares strongly: a weak tag matches nothing.
    let mut strong = tags.into_iter().filter(|tag| !tag.weak);
    match (strong.next(), strong.next()) {
        (Some(tag), None) => Ok(Some(tag.opaque.to_owned())),
        (Some(_), Some(_)) => Err(invalid("If-Match", "must name one entity tag")),
        (None, _) => {
            let detail = "If-Match compares strongly: a weak entity tag matches no version".into();
            Err(Fault::VersionMismatch { detail })
        }
    }
}

/// Whether If-None-Match names this version: the client has it already. A malformed header counts
/// as absent.
pub(crate) fn none_match_names(headers: &HeaderMap, version: &str) -> bool {
    match tags(headers, header::IF_NONE_MATCH) {
        Some(Tags::Any) => true,
        Some(Tags::List(tags)) => tags.iter().any(|tag| tag.opaque == version),
        None => false,
    }
}

/// The Idempotency-Key, if there is one: 1 to 255 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > LONGEST_KEY || !visible || values.next().is_some() {
        return Err(invalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters"));
    }
    Ok(Some(key))
}

/// Whether the body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

fn invalid(header: &str, detail: &str) -> Fault {
    Fault::Invalid(FieldFault::new(header, "invalid_header", detail).into())
}

enum Tags<'a> {
    Any,
    List(Vec<Tag<'a>>),
}

struct Tag<'a> {
    weak: bool,
    opaque: &'a str,
}

/// `None` when the header is absent or malformed.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Tags<'_>> {
    let mut tags = Vec::new();
    for line in headers.get_all(name) {
        let line = line.to_str().ok()?.trim();
        if line == "*" {
            return Some(Tags::Any);
        }
        let mut rest = line;
        while !rest.is_empty() {
            let (tag, after) = tag(rest)?;
            tags.push(tag);
            rest = after;
        }
    }
    (!tags.is_empty()).then_some(Tags::List(tags))
}

/// One tag and what follows its comma.
fn tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let (weak, quoted) = match text.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
    let after = after.trim_start();
    let rest = match after.strip_prefix(',') {
        Some(rest) => rest.trim_start(),
        None if after.is_empty() => after,
        None => return None,
    };
    Some((Tag { weak, opaque }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a header value"))])
    }

    #[test]
    fn if_match_is_one_strong_tag() {
        let read = |value: &str| if_match(&with(header::IF_MATCH, value));
        assert_eq!(if_match(&HeaderMap::new()), Ok(None));
        assert_eq!(read("\"3\""), Ok(Some("3".into())));
        assert_eq!(read("W/\"2\", \"3\""), Ok(Some("3".into())));
        assert_eq!(read("*"), Ok(None));
        assert!(matches!(read("W/\"3\""), Err(Fault::VersionMismatch { .. })));
        for malformed in ["3", "\"3", "\"3\" \"4\"", "\"3\", \"4\"", ""] {
            assert!(matches!(read(malformed), Err(Fault::Invalid(_))), "{malformed}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let names = |value: &str| none_match_names(&with(header::IF_NONE_MATCH, value), "3");
        assert!(names("\"3\"") && names("W/\"3\"") && names("\"1\", \"3\"") && names("*"));
        assert!(!names("\"4\"") && !names("3") && !none_match_names(&HeaderMap::new(), "3"));
    }

    #[test]
    fn idempotency_keys_are_visible_and_short() {
        let read = |value: &str| idempotency_key(&with(IDEMPOTENCY_KEY, value)).is_ok();
        assert!(read("a-1_!") && read(&"k".repeat(255)));
        assert!(!read("") && !read("a b") && !read(&"k".repeat(256)));
    }

    #[test]
    fn json_may_carry_parameters() {
        let json = |value: &str| is_json(&with(header::CONTENT_TYPE, value));
        assert!(json("application/json") && json("Application/JSON; charset=utf-8"));
        assert!(!json("text/plain") && !json("application/merge-patch+json"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
