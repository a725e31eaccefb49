//! A list as RFC 4180 text: every page, streamed, so that a long list never stands in memory.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, header};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::answer::off_contract;
use crate::call::{Transport, unary};
use crate::contract::Contract;
use crate::json::field_text;
use crate::plan::{FieldPlan, Kind, MessagePlan, Scalar};
use crate::route::{CsvPlan, Route};
use crate::wire::{Fields, Malformed, Raw, last, put_field};

/// Items asked for at once when the request does not say and the contract sets no other limit.
pub(crate) const PAGE_SIZE: u64 = 200;

/// Walks the pages of one list call.
pub(crate) struct Pages {
    pub(crate) contract: Arc<Contract>,
    /// Index of the route; it has a CSV plan.
    pub(crate) route: usize,
    pub(crate) transport: Transport,
    pub(crate) metadata: MetadataMap,
    pub(crate) extensions: http::Extensions,
    /// The input without the token of the next page: fields appended to it win.
    pub(crate) input: Vec<u8>,
}

enum Step {
    Text(Vec<u8>, Option<String>),
    Next(String),
    End,
}

impl Pages {
    /// The answer. Its first page is fetched before, so that a refusal is an ordinary problem.
    pub(crate) async fn answer(mut self) -> Result<Response<Body>, Status> {
        let plan = self.plan()?;
        if last(&self.input, plan.page_size).map_err(off_contract)?.is_none() {
            let (number, size) = (plan.page_size, plan.page_size_limit);
            put_field(&mut self.input, number, Raw::Varint(size));
        }
        let mut text = self.header()?;
        let next = self.page(None, &mut text).await?;
        let file = self.file_name();
        let rest = stream::try_unfold((self, Step::Text(text, next)), Self::step);
        let mut response = Response::new(Body::from_stream(rest));
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
        headers.insert(header::CONTENT_TYPE, media_type);
        let disposition = format!("attachment; filename=\"{file}.csv\"");
        let disposition = disposition.try_into().map_err(|_| off_contract(Malformed))?;
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        Ok(response)
    }

    async fn step((pages, step): (Self, Step)) -> Result<Option<(Bytes, (Self, Step))>, Status> {
        match step {
            Step::End => Ok(None),
            Step::Text(text, next) => {
                let then = next.map_or(Step::End, Step::Next);
                Ok(Some((text.into(), (pages, then))))
            }
            Step::Next(token) => {
                let mut text = Vec::new();
                let next = pages.page(Some(&token), &mut text).await.inspect_err(|status| {
                    tracing::warn!(rpc = %pages.route().rpc, %status, "a CSV answer was cut off");
                })?;
                // A token that repeats would never end.
                let then = next.filter(|next| *next != token).map_or(Step::End, Step::Next);
                Ok(Some((text.into(), (pages, then))))
            }
        }
    }

    fn route(&self) -> &Route {
        &self.contract.routes[self.route]
    }

    fn plan(&self) -> Result<&CsvPlan, Status> {
        self.route().csv.as_ref().ok_or_else(|| Status::internal("this list has no CSV form"))
    }

    /// `list_things` is saved as `things.csv`.
    fn file_name(&self) -> String {
        let name = &self.contract.operation_of(self.route()).name;
        name.strip_prefix("list_").unwrap_or(name).to_owned()
    }

    fn header(&self) -> Result<Vec<u8>, Status> {
        let plan = self.plan()?;
        let item = self.contract.plans.message(plan.item);
        let names: Vec<_> = plan.columns.iter().map(|i| item.fields[*i].name.as_str()).collect();
        Ok((names.join(",") + "\r\n").into_bytes())
    }

    /// Fetches a page, appends its rows and yields the token of the next one.
    async fn page(&self, token: Option<&str>, out: &mut Vec<u8>) -> Result<Option<String>, Status> {
        let plan = self.plan()?;
        let mut input = self.input.clone();
        if let Some(token) = token {
            put_field(&mut input, plan.page_token, Raw::Bytes(token.as_bytes()));
        }
        let request = Request::from_parts(self.metadata.clone(), self.extensions.clone(), Bytes::from(input));
        let limit = self.contract.options.answer_limit;
        let reply = unary(self.transport.clone(), self.route().rpc.clone(), request, limit).await?;
        self.rows(plan, reply.get_ref(), out).map_err(off_contract)
    }

    fn rows(&self, plan: &CsvPlan, page: &[u8], out: &mut Vec<u8>) -> Result<Option<String>, Malformed> {
        let item = self.contract.plans.message(plan.item);
        let mut next = None;
        for field in Fields(page) {
            match field? {
                (number, Raw::Bytes(row)) if number == plan.items => {
                    self.row(plan, item, row, out)?;
                }
                (number, Raw::Bytes(token)) if number == plan.next_page_token => {
                    next = Some(std::str::from_utf8(token).map_err(|_| Malformed)?.to_owned());
                }
                _ => {}
            }
        }
        Ok(next.filter(|token| !token.is_empty()))
    }

    fn row(
        &self,
        plan: &CsvPlan,
        item: &MessagePlan,
        row: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        for (position, index) in plan.columns.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            let field = &item.fields[*index];
            let text = field_text(&self.contract.plans, field, last(row, field.number)?)?;
            put_cell(&text, is_text(field), out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

fn is_text(field: &FieldPlan) -> bool {
    matches!(field.kind, Kind::Scalar(Scalar::String | Scalar::Bytes))
}

/// Quotes where RFC 4180 asks for it. Text that a spreadsheet would take for a formula gets a `'`.
fn put_cell(text: &str, guarded: bool, out: &mut Vec<u8>) {
    let guard = guarded && text.starts_with(['=', '+', '-', '@']);
    let quote = text.contains(['"', ',', '\r', '\n']);
    if quote {
        out.push(b'"');
    }
    if guard {
        out.push(b'\'');
    }
    if quote {
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_guarded() {
        let cell = |text: &str, guarded| {
            let mut out = Vec::new();
            put_cell(text, guarded, &mut out);
            String::from_utf8(out).expect("text stays text")
        };
        assert_eq!(cell("plain", true), "plain");
        assert_eq!(cell("a,\"b\"", true), "\"a,\"\"b\"\"\"");
        assert_eq!(cell("=1+1", true), "'=1+1");
        assert_eq!(cell("@x\n", true), "\"'@x\n\"");
        assert_eq!(cell("-5", false), "-5");
    }
}
