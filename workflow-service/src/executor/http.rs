use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use platform::ctx::Ctx;
use platform::egress::{Request, retry_after};
use platform::error::{Error, Kind, Result};

use super::live::Live;
use super::{Executor, key};
use crate::engine::Outcome;
use crate::program::Http;
use crate::template::{self, Escape, Values};
use crate::vault::Owner;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Longest address of a call, in bytes.
const MAX_URL: usize = 8 * 1024;
/// Longest body of a call, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// Most characters of a text for people: what the services that take it allow.
const MAX_TEXT: usize = 4_000;

impl Executor {
    /// One try of an http step, whose request is ready.
    pub(super) async fn call(&self, step: &Http, request: Request) -> Outcome {
        let began = Instant::now();
        let result = self.egress.send(request).await;
        let took = began.elapsed().as_millis();
        match result {
            Ok(answer) if step.succeeds(answer.status.as_u16()) => {
                Outcome::Done(format!("answered {} after {took} ms", answer.status.as_u16()))
            }
            Ok(answer) => Outcome::Failed {
                detail: format!("answered {} after {took} ms", answer.status.as_u16()),
                after: asked_wait(answer.status, &answer.headers, self.source.now()),
            },
            Err(error) if error.kind == Kind::Invalid => Outcome::Refused(error.detail),
            Err(error) => Outcome::Failed { detail: error.detail, after: None },
        }
    }

    /// What an http step sends, the same on every try.
    ///
    /// # Errors
    /// Those of incident-service, which is asked for what the step mentions; Invalid, when it cannot
    /// be sent.
    pub(super) async fn request(&self, cx: &Ctx, live: &Live, step: &Http) -> Result<Request> {
        let slug = self.slug(cx, live, [Some(&step.url), step.body.as_ref()]).await?;
        let values = Values::new(&live.incident, &slug);
        let url = values.render_within(&step.url, Escape::Url, MAX_URL);
        let url = url.ok_or_else(|| Error::invalid("too_long", "the address became too long"))?;
        let url = self.egress.check(&url)?;
        let method = Method::from_str(&step.method).map_err(|_| unusable("method"))?;
        let mut headers = self.headers(live, step)?;
        let body = body(live, step, &method, &headers, &values)?;
        if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, JSON);
        }
        headers.insert(IDEMPOTENCY_KEY, ascii(&key(live.row.id, live.path(), "http"))?);
        headers.insert(TRACEPARENT, ascii(&cx.trace.child(&cx.source).to_string())?);
        let timeout = Some(Duration::from_millis(step.timeout_ms));
        Ok(Request { headers, body, timeout, ..Request::new(method, url) })
    }

    /// The step's headers, opened.
    fn headers(&self, live: &Live, step: &Http) -> Result<HeaderMap> {
        let owner = Owner { org: live.row.org_id, workflow: live.row.program_id };
        let mut headers = HeaderMap::with_capacity(step.headers.len() + 3);
        for (name, sealed) in &step.headers {
            let value = self.vault.open(owner, name, sealed).map_err(|error| {
                tracing::error!(run.id = %live.row.id, header = name, error = %error.chain(), "a header cannot be opened");
                let detail = format!("the value of header {name} cannot be read any more: save it again");
                Error::invalid("sealed_header", detail)
            })?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| unusable(name))?;
            value.set_sensitive(true);
            headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable(name))?, value);
        }
        Ok(headers)
    }

    /// `text` with its placeholders filled in, for people: as much of it as may be told.
    pub(super) async fn fill(&self, cx: &Ctx, live: &Live, text: &str) -> Result<String> {
        let slug = self.slug(cx, live, [Some(&text.to_owned()), None]).await?;
        Ok(template::cut(Values::new(&live.incident, &slug).render(text, Escape::None), MAX_TEXT))
    }

    /// The slug of the incident's service when one of the texts needs it: events do not carry it.
    async fn slug(&self, cx: &Ctx, live: &Live, texts: [Option<&String>; 2]) -> Result<Arc<str>> {
        if !texts.into_iter().flatten().any(|text| template::needs_slug(text)) {
            return Ok(Arc::from(""));
        }
        let service = live.incident.incident.as_ref().map_or("", |it| it.service_id.as_str());
        let of = (live.row.org_id, service.to_owned());
        if let Some(slug) = self.slugs.get(&of) {
            return Ok(slug);
        }
        let found = self.peers.services(cx, vec![service.to_owned()]).await?;
        let slug: Arc<str> = found.first().map_or("", |service| service.slug.as_str()).into();
        self.slugs.insert(of, slug.clone());
        Ok(slug)
    }
}

/// The step's body, its values escaped as its content type needs; without one, the incident.
fn body(live: &Live, step: &Http, method: &Method, headers: &HeaderMap, values: &Values) -> Result<Bytes> {
    if *method == Method::GET {
        return Ok(Bytes::new());
    }
    let text = match &step.body {
        Some(template) => values.render_within(template, escape(headers), MAX_BODY),
        None => {
            let incident = live.incident.incident.clone().unwrap_or_default();
            let json = proto::json::to_json(&incident).map_err(|_| unusable("incident"))?.to_string();
            Some(json).filter(|json| json.len() <= MAX_BODY)
        }
    };
    let too_long =
        || Error::invalid("too_long", format!("the body became longer than {} KiB", MAX_BODY / 1024));
    Ok(text.ok_or_else(too_long)?.into())
}

/// How values are written into a body of this content type; JSON when there is none.
fn escape(headers: &HeaderMap) -> Escape {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Escape::Json };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    if kind.contains("json") {
        Escape::Json
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        Escape::Url
    } else {
        Escape::None
    }
}

/// The Retry-After of an endpoint that has too much to do.
fn asked_wait(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    is_busy.then(|| retry_after(headers, now)).flatten()
}

fn unusable(what: &str) -> Error {
    Error::invalid("unusable_step", format!("the step's {what} cannot be sent"))
}

fn ascii(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn values_are_escaped_for_their_body() {
        let cases = [
            (None, Escape::Json),
            (Some("Application/JSON; charset=utf-8"), Escape::Json),
            (Some("application/vnd.api+json"), Escape::Json),
            (Some("application/X-WWW-Form-Urlencoded"), Escape::Url),
            (Some("text/plain"), Escape::None),
        ];
        for (kind, expected) in cases {
            let headers = kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind)));
            assert_eq!(escape(&headers.into_iter().collect()), expected, "{kind:?}");
        }
    }

    #[test]
    fn endpoints_that_have_too_much_to_do_may_ask_for_a_wait() {
        let now = "2026-01-02T03:04:05Z".parse().expect("a valid time");
        let asked = |code, value| {
            let status = StatusCode::from_u16(code).expect("a status");
            let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            asked_wait(status, &headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!((asked(429, " 7 "), asked(503, "7"), asked(500, "7")), (Some(7), Some(7), None));
        assert_eq!((asked(503, "Fri, 02 Jan 2026 03:05:05 GMT"), asked(429, "soon")), (Some(60), None));
    }
}
