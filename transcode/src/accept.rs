//! Which media type the client wants of those that an operation offers.

use http::{HeaderMap, header};

use crate::problem::{Fault, FieldFault};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const CSV: &str = "text/csv";
/// Only doors by hand take it.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Judges `?format=` first, then Accept. Without either, and between equals, it is JSON.
pub(crate) fn negotiate(headers: &HeaderMap, query: Option<&str>, csv: bool) -> Result<Format, Fault> {
    if csv && let Some(format) = format_parameter(query)? {
        return Ok(format);
    }
    let lines = headers.get_all(header::ACCEPT);
    let ranges: Vec<_> = lines
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Ok(Format::Json);
    }
    let json = quality(&ranges, "application", "json");
    let csv_quality = if csv { quality(&ranges, "text", "csv") } else { 0 };
    match (json, csv_quality) {
        (0, 0) if csv => Err(Fault::NotAcceptable { offered: vec![JSON, CSV] }),
        (0, 0) => Err(Fault::NotAcceptable { offered: vec![JSON] }),
        (json, csv) if csv > json => Ok(Format::Csv),
        _ => Ok(Format::Json),
    }
}

fn format_parameter(query: Option<&str>) -> Result<Option<Format>, Fault> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match pairs.find(|(name, _)| name == "format").as_ref().map(|(_, value)| value.as_ref()) {
        None => Ok(None),
        Some("csv") => Ok(Some(Format::Csv)),
        Some("json") => Ok(Some(Format::Json)),
        Some(_) => {
            let fault = FieldFault::new("format", "undefined_value", "must be one of json, csv");
            Err(Fault::Invalid(fault.into()))
        }
    }
}

struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .and_then(|(_, value)| value.trim().parse::<f32>().ok())
            .map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
        Some(Self { kind, subtype, quality })
    }

    /// 0 does not match, 1 `*/*`, 2 `type/*`, 3 exactly.
    fn precision(&self, kind: &str, subtype: &str) -> u8 {
        match (self.kind, self.subtype) {
            ("*", "*") => 1,
            (k, "*") if k.eq_ignore_ascii_case(kind) => 2,
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => 3,
            _ => 0,
        }
    }
}

/// The quality that the most precise matching range gives.
fn quality(ranges: &[Range<'_>], kind: &str, subtype: &str) -> u16 {
    let matching = ranges.iter().filter(|range| range.precision(kind, subtype) > 0);
    matching.max_by_key(|range| range.precision(kind, subtype)).map_or(0, |range| range.quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &str, csv: bool) -> Result<Format, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header value"));
        negotiate(&headers, None, csv)
    }

    #[test]
    fn prefers_what_the_client_prefers() {
        assert_eq!(negotiate(&HeaderMap::new(), None, true), Ok(Format::Json));
        assert_eq!(asked("*/*", true), Ok(Format::Json));
        assert_eq!(asked("text/csv", true), Ok(Format::Csv));
        assert_eq!(asked("application/json;q=0.5, text/*", true), Ok(Format::Csv));
        assert_eq!(asked("text/html, application/*;q=0.1", false), Ok(Format::Json));
        assert!(asked("text/csv", false).is_err());
        assert!(asked("*/*, application/json;q=0", false).is_err());
        assert_eq!(negotiate(&HeaderMap::new(), Some("a=1&format=csv"), true), Ok(Format::Csv));
        assert!(negotiate(&HeaderMap::new(), Some("format=xml"), true).is_err());
        assert_eq!(negotiate(&HeaderMap::new(), Some("format=xml"), false), Ok(Format::Json));
    }
}
