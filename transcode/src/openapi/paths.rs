//! One operation of the document: parameters, body, answers.

use http::Method;
use serde_json::{Map, Value, json};

use super::example::{Examples, Mode};
use super::schema::Schemas;
use crate::accept::{CSV, JSON, NDJSON};
use crate::contract::Contract;
use crate::operation::{Access, Binding, Body, Operation};
use crate::plan::{FieldPlan, Kind, MessageId, MessagePlan, Shape};
use crate::route::HTTP_BODY;

pub(super) fn operation_object<'c>(
    contract: &'c Contract,
    operation: &Operation,
    binding: &Binding,
    schemas: &mut Schemas<'c>,
) -> Value {
    let mut page = Page { contract, operation, binding, schemas, examples: Examples::new(contract) };
    let mut object = json!({
        "operationId": operation.name(),
        "tags": [operation.descriptor().parent_service().name()],
        "responses": page.responses(),
        "security": security(operation),
    });
    if let Some(comment) = operation.comment() {
        object["summary"] = summary(comment).into();
        object["description"] = comment.into();
    }
    let parameters = page.parameters();
    if !parameters.is_empty() {
        object["parameters"] = parameters.into();
    }
    if let Some(body) = page.request_body() {
        object["requestBody"] = body;
    }
    object
}

/// The first sentence, without its full stop.
fn summary(comment: &str) -> &str {
    let line = comment.lines().next().unwrap_or_default();
    let end = line.find(". ").or_else(|| line.find(": ")).unwrap_or(line.len());
    line[..end].trim_end_matches(['.', ':'])
}

fn security(operation: &Operation) -> Value {
    match operation.access() {
        Access::Public => json!([]),
        access => json!([{ "bearer": [access.as_str()] }]),
    }
}

struct Page<'p, 'c> {
    contract: &'c Contract,
    operation: &'p Operation,
    binding: &'p Binding,
    schemas: &'p mut Schemas<'c>,
    examples: Examples<'c>,
}

impl<'c> Page<'_, 'c> {
    /// `None` for a body with a media type of its own.
    fn input(&self) -> Option<(MessageId, &'c MessagePlan)> {
        let id = self.contract.plans.find(self.operation.input().full_name())?;
        Some((id, self.contract.plans.message(id)))
    }

    fn parameters(&mut self) -> Vec<Value> {
        let mut parameters = Vec::new();
        let input = self.input().map(|(_, plan)| plan);
        for name in self.binding.template.variables() {
            if let Some(field) = input.and_then(|plan| plan.field(name)) {
                parameters.push(self.parameter(field, "path"));
            }
        }
        if self.binding.body != Body::Whole {
            for field in input.iter().flat_map(|plan| &plan.fields) {
                if self.is_query(field) {
                    parameters.push(self.parameter(field, "query"));
                }
            }
        }
        let shared = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
        if self.operation.csv() {
            parameters.push(json!({
                "name": "format", "in": "query", "schema": { "type": "string", "enum": ["json", "csv"] },
                "description": "`csv` answers every page as text/csv, as `Accept: text/csv` does.",
            }));
        }
        if self.operation.idempotent() {
            parameters.push(shared("IdempotencyKey"));
        }
        if self.operation.etag() && self.binding.method == Method::GET {
            parameters.push(shared("IfNoneMatch"));
        } else if self.operation.etag() && !self.creates() {
            parameters.push(shared("IfMatch"));
        }
        parameters
    }

    fn creates(&self) -> bool {
        self.operation.status() == 201
    }

    fn is_query(&self, field: &FieldPlan) -> bool {
        let is_path = self.binding.template.variables().any(|name| name == field.name);
        let is_body = self.operation.body_field() == Some(field.name.as_str());
        let is_mask = self.binding.method == Method::PATCH && field.name == "update_mask";
        let fits = field.is_textual() && !matches!(field.shape, Shape::Map(_));
        !is_path && !is_body && !is_mask && fits
    }

    fn parameter(&mut self, field: &FieldPlan, place: &str) -> Value {
        let mut parameter = json!({
            "name": field.name,
            "in": place,
            "schema": self.schemas.bare(field, Mode::Input),
        });
        if let Some(text) = self.schemas.description(field) {
            parameter["description"] = text.into();
        }
        if place == "path" || self.schemas.is_demanded(field) {
            parameter["required"] = true.into();
            parameter["example"] = self.examples.field(field, Mode::Input);
        }
        parameter
    }

    fn request_body(&mut self) -> Option<Value> {
        let (id, plan) = self.input()?;
        let (schema, example, required) = match &self.binding.body {
            Body::None => return None,
            Body::Whole => {
                let hidden: Vec<_> = self.binding.template.variables().collect();
                let fields = || plan.fields.iter().filter(|f| !hidden.contains(&f.name.as_str()));
                fields().next()?;
                let required = fields().any(|field| self.schemas.is_demanded(field));
                let example = self.examples.message(id, Mode::Input, &hidden);
                (self.schemas.request(id, &hidden), example, required)
            }
            Body::Field(name) => {
                let field = plan.field(name)?;
                let Kind::Message(resource) = field.kind else { return None };
                if field.shape == Shape::List {
                    return Some(self.batch_body(resource));
                }
                let patches = self.binding.method == Method::PATCH;
                let mode = if patches { Mode::Patch } else { Mode::Input };
                let example = self.examples.message(resource, mode, &[]);
                (self.schemas.reference(resource, mode), example, true)
            }
        };
        let content = json!({ JSON: { "schema": schema, "example": example } });
        Some(json!({ "required": required, "content": content }))
    }

    /// Doors by hand whose body is a repeated field take one object, an array or a line for each.
    fn batch_body(&mut self, item: MessageId) -> Value {
        let schema = self.schemas.reference(item, Mode::Input);
        let example = self.examples.message(item, Mode::Input, &[]);
        let one_or_many = json!({ "oneOf": [schema, { "type": "array", "items": schema }] });
        json!({ "required": true, "content": {
            JSON: { "schema": one_or_many, "example": example },
            NDJSON: { "schema": schema, "example": example },
        }})
    }

    fn responses(&mut self) -> Value {
        let status = self.operation.status();
        let description = match status {
            201 => "Created",
            202 => "Accepted: the work goes on",
            204 => "Done",
            _ => "The answer",
        };
        let mut success = json!({ "description": description });
        if let Some(content) = self.content() {
            success["content"] = content;
        }
        let headers = self.response_headers();
        if !headers.is_empty() {
            success["headers"] = headers.into();
        }
        let mut responses = Map::new();
        responses.insert(status.to_string(), success);
        if self.operation.etag() && self.binding.method == Method::GET {
            responses.insert("304".into(), json!({ "description": "The client has this version" }));
        }
        responses.insert("default".into(), json!({ "$ref": "#/components/responses/Problem" }));
        responses.into()
    }

    fn content(&mut self) -> Option<Value> {
        let output = self.operation.output();
        if output.full_name() == HTTP_BODY {
            return Some(json!({ "*/*": {} }));
        }
        if self.operation.status() == 204 {
            return None;
        }
        let id = self.contract.plans.find(output.full_name())?;
        let schema = self.schemas.reference(id, Mode::Answer);
        let example = self.examples.message(id, Mode::Answer, &[]);
        if self.operation.descriptor().is_server_streaming() {
            return Some(json!({ "text/event-stream": { "schema": schema } }));
        }
        let mut content = json!({ JSON: { "schema": schema, "example": example } });
        if self.operation.csv() {
            content[CSV] = json!({ "schema": { "type": "string" } });
        }
        Some(content)
    }

    fn response_headers(&self) -> Map<String, Value> {
        let routes = &mut self.contract.routes.iter();
        let route = routes.find(|route| std::ptr::eq(self.contract.operation_of(route), self.operation));
        let located = route.is_some_and(|route| route.location.is_some());
        let headers = [
            (self.operation.etag() && self.operation.status() != 204, "ETag", "ETag"),
            (located, "Location", "Location"),
            (self.operation.idempotent(), "Idempotency-Replayed", "IdempotencyReplayed"),
        ];
        let present = headers.into_iter().filter(|(present, ..)| *present);
        present
            .map(|(_, header, component)| {
                let reference = json!({ "$ref": format!("#/components/headers/{component}") });
                (header.to_owned(), reference)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn summaries_are_the_first_sentence() {
        assert_eq!(summary("Opens a thing. Then more."), "Opens a thing");
        assert_eq!(summary("Opens a thing.\n\nMore."), "Opens a thing");
        assert_eq!(summary("Things"), "Things");
    }
}
