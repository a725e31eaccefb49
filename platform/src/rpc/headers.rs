//! A context from the headers of a request, and the headers of a call from a context.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{IDEMPOTENCY_KEY, IF_MATCH, REQUEST_ID};
use crate::ctx::{Ctx, PrincipalKind, RequestId, Trace};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::source::Source;
use crate::token::{ServiceTokens, Verifier};

const TRACEPARENT: &str = "traceparent";
const GRPC_TIMEOUT: &str = "grpc-timeout";
const MAX_KEY: usize = 255;

/// The context of a request with these HTTP headers or gRPC metadata: caller from `authorization`,
/// trace from `traceparent`, id from `x-request-id`, deadline from `grpc-timeout`.
///
/// A missing or refused token gives an anonymous context that remembers why it was refused
/// ([`Ctx::refused`]): whether that matters is what
/// [`AccessTable::check`](crate::access::AccessTable::check) decides.
pub async fn http_parts(headers: &HeaderMap, verifier: &Verifier, source: &Source) -> Ctx {
    let mut cx = Ctx::anonymous(source.clone());
    match bearer(headers) {
        Ok(None) => {}
        Err(error) => cx.refused = Some(Arc::new(error)),
        Ok(Some(token)) => match verifier.verify(token).await {
            Err(error) => cx.refused = Some(Arc::new(error)),
            Ok(verified) => {
                cx.principal = verified.principal.clone();
                cx.org = verified.org;
                cx.cause = verified.cause;
                cx.token = Some(Secret::new(token.into()));
            }
        },
    }
    if let Some(trace) = text(headers, TRACEPARENT).and_then(Trace::parse) {
        cx.trace = trace.child(source);
    }
    if let Some(id) = text(headers, REQUEST_ID).and_then(|id| id.parse::<RequestId>().ok()) {
        cx.request_id = id;
    }
    cx.deadline = text(headers, GRPC_TIMEOUT).and_then(parse_timeout).and_then(in_time);
    cx
}

fn in_time(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Takes over what belongs to this call alone: idempotency key, expected version, deadline.
///
/// # Errors
/// Invalid, when one of them is malformed.
pub(crate) fn apply_call_headers(cx: &mut Ctx, headers: &HeaderMap) -> Result<()> {
    if let Some(value) = headers.get(IDEMPOTENCY_KEY) {
        let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
        cx.idempotency_key = Some(key.ok_or_else(bad_key)?.into());
    }
    if let Some(value) = headers.get(IF_MATCH) {
        let version = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
        cx.if_match = Some(version.ok_or_else(bad_version)?);
    }
    if let Some(timeout) = text(headers, GRPC_TIMEOUT).and_then(parse_timeout) {
        cx.deadline = [cx.deadline, in_time(timeout)].into_iter().flatten().min();
    }
    Ok(())
}

fn bad_key() -> Error {
    Error::invalid("invalid_idempotency_key", "an idempotency key has 1 to 255 visible characters")
}

fn bad_version() -> Error {
    Error::invalid("invalid_if_match", "if-match holds one version")
}

/// The bearer token of `authorization`.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    token
        .map(Some)
        .ok_or_else(|| Error::unauthenticated("invalid_token", "authorization must be: Bearer <token>"))
}

/// Writes the context of a call into the headers for another process. An idempotency key and an
/// expected version are there already when this call has them.
pub(super) fn write(cx: &Ctx, headers: &mut HeaderMap, tokens: &ServiceTokens) -> Result<()> {
    let token = match cx.principal.kind {
        PrincipalKind::Service => Some(tokens.token(&cx.principal.name, cx.org, cx.cause)?),
        PrincipalKind::Anonymous => None,
        _ => cx.token.as_ref().map(|token| token.expose().clone()),
    };
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    put(headers, TRACEPARENT, &cx.trace.to_string())?;
    put(headers, REQUEST_ID, &cx.request_id.to_string())?;
    if let Some(left) = cx.remaining() {
        // Milliseconds in at most 8 digits, as the protocol wants.
        put(headers, GRPC_TIMEOUT, &format!("{}m", left.as_millis().min(99_999_999)))?;
    }
    Ok(())
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<()> {
    let value = HeaderValue::try_from(value).map_err(Error::internal)?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `grpc-timeout` as the protocol writes it: at most 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let cases = [
            ("10S", Some(Duration::from_secs(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("1H", Some(Duration::from_secs(3600))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("5x", None),
            ("-5S", None),
            ("5é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn only_a_bearer_token_is_taken() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|e| e.code)
        };
        assert_eq!(read("Bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(read("bearer  abc"), Ok(Some("abc".to_owned())));
        for bad in ["Basic abc", "Bearer ", "Bearer", ""] {
            assert_eq!(read(bad), Err("invalid_token"), "{bad}");
        }
        assert!(matches!(bearer(&HeaderMap::new()), Ok(None)));
    }
}
