use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use platform::ctx::Ctx;
use platform::egress::Request;
use platform::error::{Error, Kind, Result};

use super::live::Live;
use super::{Executor, key};
use crate::engine::Outcome;
use crate::program::Http;
use crate::template::{self, Escape, Values};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Executor {
    /// One try of an http step.
    pub(super) async fn call(&self, cx: &Ctx, live: &Live, step: &Http) -> Outcome {
        let request = match self.request(cx, live, step).await {
            Ok(request) => request,
            Err(error) => return self.peer_failed(&error),
        };
        let began = Instant::now();
        let result = self.egress.send(request).await;
        let took = began.elapsed().as_millis();
        match result {
            Ok(answer) if step.succeeds(answer.status.as_u16()) => {
                Outcome::Done(format!("answered {} after {took} ms", answer.status.as_u16()))
            }
            Ok(answer) => Outcome::Failed(format!("answered {} after {took} ms", answer.status.as_u16())),
            Err(error) if error.kind == Kind::Invalid => Outcome::Refused(error.detail),
            Err(error) => Outcome::Failed(error.detail),
        }
    }

    async fn request(&self, cx: &Ctx, live: &Live, step: &Http) -> Result<Request> {
        let slug = self.slug(cx, live, [Some(&step.url), step.body.as_ref()]).await?;
        let values = Values::new(&live.incident, &slug);
        let url = self.egress.check(&values.render(&step.url, Escape::Url))?;
        let method = Method::from_str(&step.method).map_err(Error::internal)?;
        let mut headers = headers(step)?;
        let body = body(live, step, &method, &headers, &values)?;
        if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, JSON);
        }
        headers.insert(IDEMPOTENCY_KEY, ascii(&key(live.row.id, &live.path(), "http"))?);
        headers.insert(TRACEPARENT, ascii(&cx.trace.child(&cx.source).to_string())?);
        let timeout = Some(Duration::from_millis(step.timeout_ms));
        Ok(Request { headers, body, timeout, ..Request::new(method, url) })
    }

    /// `text` with its placeholders filled in, for people.
    pub(super) async fn fill(&self, cx: &Ctx, live: &Live, text: &str) -> Result<String> {
        let slug = self.slug(cx, live, [Some(&text.to_owned()), None]).await?;
        Ok(Values::new(&live.incident, &slug).render(text, Escape::None))
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

fn headers(step: &Http) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(step.headers.len() + 3);
    for (name, value) in &step.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::internal)?;
        headers.append(name, HeaderValue::from_str(value).map_err(Error::internal)?);
    }
    Ok(headers)
}

/// The step's body, its values escaped as JSON unless it says that it is something else; without
/// one, the incident.
fn body(live: &Live, step: &Http, method: &Method, headers: &HeaderMap, values: &Values) -> Result<Bytes> {
    if *method == Method::GET {
        return Ok(Bytes::new());
    }
    let Some(template) = &step.body else {
        let incident = live.incident.incident.clone().unwrap_or_default();
        let json = proto::json::to_json(&incident).map_err(Error::internal)?;
        return Ok(json.to_string().into());
    };
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("json");
    let escape = if kind.contains("json") { Escape::Json } else { Escape::None };
    Ok(values.render(template, escape).into())
}

fn ascii(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(Error::internal)
}
