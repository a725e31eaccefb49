//! OpenAPI 3.1 of a contract: every documented operation, those served by hand too.

mod example;
mod paths;
mod pattern;
mod rules;
mod schema;
mod schema_names;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::contract::Contract;
use paths::operation_object;
use schema::Schemas;

pub(crate) use example::{Examples, Mode};
pub(crate) use rules::unsupported as unsupported_rules;
pub(crate) use schema_names::clashes as schema_name_clashes;

/// What the document says about itself.
#[derive(Debug, Clone, Default)]
pub struct OpenApiInfo {
    pub title: String,
    /// Of the API, not of OpenAPI.
    pub version: String,
    /// CommonMark.
    pub description: String,
    /// Base URLs, the first one is the default; empty means the document's own origin.
    pub servers: Vec<String>,
}

impl Contract {
    /// The OpenAPI 3.1 document. The same contract gives the same document, key for key; internal
    /// operations are not in it.
    pub fn openapi(&self, info: &OpenApiInfo) -> Value {
        let mut schemas = Schemas::new(self);
        let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for operation in self.operations().iter().filter(|operation| operation.is_documented()) {
            let Some(binding) = &operation.http else {
                continue;
            };
            let object = operation_object(self, operation, binding, &mut schemas);
            let verb = binding.method.as_str().to_ascii_lowercase();
            paths.entry(binding.template.as_str().to_owned()).or_default().insert(verb, object);
        }
        let mut document = json!({
            "openapi": "3.1.0",
            "info": info_object(info),
            "tags": self.tags(),
            "paths": paths,
            "components": components(schemas.into_components()),
        });
        if !info.servers.is_empty() {
            document["servers"] = info.servers.iter().map(|url| json!({ "url": url })).collect();
        }
        sorted(document)
    }

    /// One tag for each service with documented operations.
    fn tags(&self) -> Vec<Value> {
        let documented =
            |service: &str| self.operations().iter().any(|o| o.service() == service && o.is_documented());
        let services = self.services.iter().filter(|service| documented(service.full_name()));
        services
            .map(|service| {
                let mut tag = json!({ "name": service.name() });
                let text = self.comments.text(&service.parent_file(), service.path());
                if let Some(text) = text {
                    tag["description"] = text.into();
                }
                tag
            })
            .collect()
    }
}

fn info_object(info: &OpenApiInfo) -> Value {
    let mut object = json!({ "title": info.title, "version": info.version });
    if !info.description.is_empty() {
        object["description"] = info.description.as_str().into();
    }
    object
}

fn components(mut schemas: BTreeMap<String, Value>) -> Value {
    schemas.insert("Problem".into(), problem_schema());
    schemas.insert("FieldError".into(), field_error_schema());
    json!({
        "schemas": schemas,
        "securitySchemes": { "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token or an API key.",
        }},
        "responses": { "Problem": {
            "description": "The request was refused or failed (RFC 9457).",
            "content": { "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
                "example": {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "code": "invalid",
                    "detail": "1 field is invalid",
                    "errors": [{ "field": "name", "code": "required", "detail": "is required" }],
                },
            }},
        }},
        "parameters": {
            "IdempotencyKey": header_parameter("Idempotency-Key", json!({
                "type": "string", "minLength": 1, "maxLength": 255,
            }), "Makes a repetition of the request safe: it is done once and answered alike for 24 hours."),
            "IfMatch": header_parameter("If-Match", json!({ "type": "string" }),
                "The ETag that the change is based on; another version answers 412."),
            "IfNoneMatch": header_parameter("If-None-Match", json!({ "type": "string" }),
                "The ETag that the client has; an unchanged one answers 304."),
        },
        "headers": {
            "ETag": response_header("The version of the answer, a strong entity tag."),
            "Location": response_header("The path of what was created."),
            "IdempotencyReplayed": response_header("`true` when an earlier answer is repeated."),
        },
    })
}

fn header_parameter(name: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": "header", "schema": schema, "description": description })
}

fn response_header(description: &str) -> Value {
    json!({ "schema": { "type": "string" }, "description": description })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong, as RFC 9457 has it.",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string", "description": "The kind of problem." },
            "status": { "type": "integer", "description": "The HTTP status." },
            "code": { "type": "string", "description": "A stable word for programs." },
            "detail": { "type": "string", "description": "What happened this time." },
            "instance": { "type": "string", "format": "uri-reference" },
            "errors": {
                "type": "array",
                "items": { "$ref": "#/components/schemas/FieldError" },
                "description": "One entry for each field at fault.",
            },
        },
    })
}

fn field_error_schema() -> Value {
    json!({
        "type": "object",
        "description": "One thing wrong with one field.",
        "required": ["field", "code", "detail"],
        "properties": {
            "field": { "type": "string", "description": "Path in the body, or a parameter's name." },
            "code": { "type": "string", "description": "A stable word for programs." },
            "detail": { "type": "string" },
        },
    })
}

/// The order of keys must not depend on which features of serde_json a build happens to turn on.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}
