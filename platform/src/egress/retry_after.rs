use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::RETRY_AFTER;

/// How long an answer's Retry-After asks to wait from `now` on: seconds or a date (RFC 9110, 10.2.3), of
/// which one that is over asks for nothing. `None` without one that can be read.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn it_has_two_forms() {
        let now = "2026-01-02T03:04:05Z".parse().expect("a valid time");
        let asked = |value| {
            let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!((asked(" 120 "), asked("Fri, 02 Jan 2026 03:05:05 GMT")), (Some(120), Some(60)));
        assert_eq!(asked("Fri, 02 Jan 2026 03:00:00 GMT"), Some(0), "a date that is over");
        assert_eq!((asked("soon"), asked("-3"), retry_after(&HeaderMap::new(), now)), (None, None, None));
    }
}
