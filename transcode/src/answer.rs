//! The HTTP answer of a call that succeeded: status, ETag, Location, body.

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tonic::Status;

use crate::accept::JSON;
use crate::contract::Contract;
use crate::headers::{IDEMPOTENCY_REPLAYED, none_match_names};
use crate::json::{field_text, write_message};
use crate::plan::{Kind, MessagePlan};
use crate::route::{Location, LocationPart, Output, Route};
use crate::wire::{Malformed, Raw, last};

/// What a path segment may hold unescaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Renders the answer; `path` holds the values of the request's path variables.
pub(crate) fn render(
    contract: &Contract,
    route: &Route,
    request: &Parts,
    path: &[&str],
    reply: tonic::Response<Bytes>,
) -> Result<Response<Body>, Status> {
    let (metadata, bytes, _) = reply.into_parts();
    let mut headers = HeaderMap::new();
    if metadata.get(IDEMPOTENCY_REPLAYED.as_str()).is_some_and(|value| value == "true") {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    let answer = Answer { contract, route, bytes: &bytes };
    let status = answer.head(request, path, &mut headers).map_err(off_contract)?;
    let body = match status {
        StatusCode::NOT_MODIFIED => Body::empty(),
        _ => answer.body(&mut headers).map_err(off_contract)?,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The service answered something that its contract does not describe.
pub(crate) fn off_contract(_: Malformed) -> Status {
    Status::internal("the service's answer does not follow its contract")
}

struct Answer<'a> {
    contract: &'a Contract,
    route: &'a Route,
    bytes: &'a [u8],
}

impl Answer<'_> {
    /// The status; ETag and Location go into `headers`.
    fn head(&self, request: &Parts, path: &[&str], headers: &mut HeaderMap) -> Result<StatusCode, Malformed> {
        let status = self.contract.operation_of(self.route).status;
        let status = StatusCode::from_u16(status).map_err(|_| Malformed)?;
        if let Some(version) = self.version()? {
            let tag = format!("\"{version}\"");
            headers.insert(header::ETAG, tag.try_into().map_err(|_| Malformed)?);
            let reads = matches!(request.method, Method::GET | Method::HEAD);
            if reads && none_match_names(&request.headers, &version) {
                return Ok(StatusCode::NOT_MODIFIED);
            }
        }
        if status == StatusCode::CREATED
            && let Some(location) = &self.route.location
        {
            // A thing that was made is not called a failure because its path cannot be told.
            if let Some(location) = self.location(location, path)? {
                headers.insert(header::LOCATION, location.try_into().map_err(|_| Malformed)?);
            }
        }
        Ok(status)
    }

    fn body(&self, headers: &mut HeaderMap) -> Result<Body, Malformed> {
        match self.route.output {
            Output::Empty => Ok(Body::empty()),
            Output::HttpBody => {
                let part = |number| match last(self.bytes, number)? {
                    None => Ok(&[][..]),
                    Some(Raw::Bytes(bytes)) => Ok(bytes),
                    Some(_) => Err(Malformed),
                };
                let content_type = HeaderValue::from_bytes(part(1)?).map_err(|_| Malformed)?;
                headers.insert(header::CONTENT_TYPE, content_type);
                Ok(Body::from(part(2)?.to_vec()))
            }
            Output::Message(id) => {
                let plans = &self.contract.plans;
                let mut json = Vec::with_capacity(self.bytes.len() * 2 + 128);
                write_message(plans, plans.message(id), self.bytes, &mut json)?;
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
                Ok(Body::from(json))
            }
        }
    }

    fn plan(&self) -> Option<&MessagePlan> {
        match self.route.output {
            Output::Message(id) => Some(self.contract.plans.message(id)),
            Output::Empty | Output::HttpBody => None,
        }
    }

    fn version(&self) -> Result<Option<String>, Malformed> {
        let field = self.plan().zip(self.route.etag).map(|(plan, index)| &plan.fields[index]);
        let Some(field) = field else { return Ok(None) };
        field_text(&self.contract.plans, field, last(self.bytes, field.number)?).map(Some)
    }

    /// `None` when the answer lacks a part of it.
    fn location(&self, location: &Location, path: &[&str]) -> Result<Option<String>, Malformed> {
        let mut text = String::new();
        for part in &location.0 {
            text.push('/');
            match part {
                LocationPart::Literal(literal) => text.push_str(literal),
                LocationPart::Variable(position) => {
                    text.extend(utf8_percent_encode(path.get(*position).ok_or(Malformed)?, SEGMENT));
                }
                LocationPart::Answer(indexes) => match self.field(indexes)? {
                    Some(value) => text.extend(utf8_percent_encode(&value, SEGMENT)),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(text))
    }

    /// The text of a field, found from the output inwards; `None` when it is empty.
    fn field(&self, indexes: &[usize]) -> Result<Option<String>, Malformed> {
        let plans = &self.contract.plans;
        let mut plan = self.plan().ok_or(Malformed)?;
        let mut bytes = self.bytes;
        let (leaf, outer) = indexes.split_last().ok_or(Malformed)?;
        for index in outer {
            let field = &plan.fields[*index];
            let Kind::Message(id) = field.kind else {
                return Err(Malformed);
            };
            plan = plans.message(id);
            bytes = match last(bytes, field.number)? {
                Some(Raw::Bytes(inner)) => inner,
                Some(_) => return Err(Malformed),
                None => return Ok(None),
            };
        }
        let field = &plan.fields[*leaf];
        let text = field_text(plans, field, last(bytes, field.number)?)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}
