//! Messages and enums as JSON Schemas: what is answered, what may be sent, what may be patched.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::example::Mode;
use super::rules::{allowed_numbers, constrain, demands_value};
use super::schema_names::SchemaNames;
use crate::contract::Contract;
use crate::plan::{EnumId, FieldPlan, Kind, MessageId, MessagePlan, Scalar, Shape, WellKnown};

pub(super) struct Schemas<'c> {
    contract: &'c Contract,
    names: SchemaNames,
    done: BTreeMap<String, Value>,
}

impl<'c> Schemas<'c> {
    pub(super) fn new(contract: &'c Contract) -> Self {
        let names = SchemaNames::new(&contract.plans);
        Self { contract, names, done: BTreeMap::new() }
    }

    pub(super) fn into_components(self) -> BTreeMap<String, Value> {
        self.done
    }

    /// A reference to the message's schema, which is made when it is not there yet.
    pub(super) fn reference(&mut self, id: MessageId, mode: Mode) -> Value {
        let plan = self.contract.plans.message(id);
        let name = self.names.get(plan.descriptor.full_name()).to_owned()
            + match mode {
                Mode::Answer => "",
                Mode::Input => "Input",
                Mode::Patch => "Patch",
            };
        if !self.done.contains_key(&name) {
            // Stands in while the message may refer to itself.
            self.done.insert(name.clone(), Value::Null);
            let schema = self.object(plan, mode, &[]);
            self.done.insert(name.clone(), schema);
        }
        component(&name)
    }

    /// The body that is the RPC's input without the fields that the path binds.
    pub(super) fn request(&mut self, id: MessageId, hidden: &[&str]) -> Value {
        let plan = self.contract.plans.message(id);
        let name = self.names.get(plan.descriptor.full_name()).to_owned();
        let schema = self.object(plan, Mode::Input, hidden);
        match self.done.get(&name) {
            Some(other) if *other != schema => schema,
            _ => {
                self.done.insert(name.clone(), schema);
                component(&name)
            }
        }
    }

    fn object(&mut self, plan: &MessagePlan, mode: Mode, hidden: &[&str]) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in plan.fields.iter().filter(|field| mode.has(field)) {
            if hidden.contains(&field.name.as_str()) {
                continue;
            }
            properties.insert(field.name.clone(), self.property(field, mode));
            let is_required = match mode {
                Mode::Answer => true,
                Mode::Input => self.is_demanded(field),
                Mode::Patch => false,
            };
            if is_required {
                required.push(field.name.as_str());
            }
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if mode != Mode::Answer {
            schema["additionalProperties"] = false.into();
        }
        if mode == Mode::Input {
            self.require_oneofs(plan, &mut schema);
        }
        if mode == Mode::Patch {
            schema["minProperties"] = 1.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        let descriptor = &plan.descriptor;
        let comments = &self.contract.comments;
        if let Some(text) = comments.text(&descriptor.parent_file(), descriptor.path()) {
            schema["description"] = text.into();
        }
        schema
    }

    /// A required oneof: one of its members must be there.
    fn require_oneofs(&self, plan: &MessagePlan, schema: &mut Value) {
        let mut choices = Vec::new();
        for oneof in plan.descriptor.oneofs() {
            if self.contract.annotations.oneof_required(&oneof) {
                let members = oneof.fields().map(|field| json!({ "required": [field.name()] }));
                choices.push(json!({ "anyOf": members.collect::<Vec<_>>() }));
            }
        }
        if !choices.is_empty() {
            schema["allOf"] = choices.into();
        }
    }

    /// Whether a request must carry the field.
    pub(super) fn is_demanded(&self, field: &FieldPlan) -> bool {
        let rules = self.contract.annotations.rules(&field.descriptor);
        demands_value(field, rules.as_ref())
    }

    /// A property with its description, nullable where null is read or written.
    fn property(&mut self, field: &FieldPlan, mode: Mode) -> Value {
        let mut schema = self.bare(field, mode);
        if self.is_nullable(field, mode) {
            schema = nullable(schema);
        }
        if let Some(text) = self.description(field) {
            schema["description"] = text.into();
        }
        if field.behavior.output_only {
            schema["readOnly"] = true.into();
        }
        if field.behavior.input_only {
            schema["writeOnly"] = true.into();
        }
        schema
    }

    pub(super) fn description(&self, field: &FieldPlan) -> Option<&'c str> {
        let file = field.descriptor.parent_message().parent_file();
        self.contract.comments.text(&file, field.descriptor.path())
    }

    fn is_nullable(&self, field: &FieldPlan, mode: Mode) -> bool {
        if field.shape != Shape::Single || self.is_demanded(field) {
            return false;
        }
        let is_unspecified = |id: EnumId| self.contract.plans.enumeration(id).zero_is_null;
        let writes_null = matches!(field.kind, Kind::Enum(id) if is_unspecified(id));
        field.presence || (mode == Mode::Answer && writes_null)
    }

    /// The schema of a field without description. Rules bind what is sent; what is answered may be
    /// older than they are.
    pub(super) fn bare(&mut self, field: &FieldPlan, mode: Mode) -> Value {
        let rules = self.contract.annotations.rules(&field.descriptor);
        let rules = rules.filter(|_| mode != Mode::Answer);
        let one = match (field.kind, &rules) {
            (Kind::Enum(id), Some(rules)) if field.shape == Shape::Single => {
                let plan = self.contract.plans.enumeration(id);
                let all: Vec<_> = plan.words.iter().map(|(number, _)| *number).collect();
                let left = allowed_numbers(rules, &all);
                if left.len() < all.len() {
                    let words: Vec<_> = left.iter().filter_map(|number| plan.word(*number)).collect();
                    json!({ "type": "string", "enum": words })
                } else {
                    self.enumeration(id)
                }
            }
            (kind, _) => self.kind(kind, mode),
        };
        let mut schema = match field.shape {
            Shape::Single => one,
            Shape::List => json!({ "type": "array", "items": one }),
            Shape::Map(_) => json!({ "type": "object", "additionalProperties": one }),
        };
        if let (Value::Object(schema), Some(rules)) = (&mut schema, &rules) {
            constrain(schema, field.shape, rules);
        }
        schema
    }

    fn kind(&mut self, kind: Kind, mode: Mode) -> Value {
        match kind {
            Kind::Scalar(scalar) => scalar_schema(scalar),
            Kind::Enum(id) => self.enumeration(id),
            // Nested messages of a PATCH are replaced whole.
            Kind::Message(id) if mode == Mode::Patch => self.reference(id, Mode::Input),
            Kind::Message(id) => self.reference(id, mode),
            Kind::WellKnown(known) => match known {
                WellKnown::Timestamp => json!({ "type": "string", "format": "date-time" }),
                WellKnown::Struct => json!({ "type": "object", "additionalProperties": true }),
                WellKnown::Value => json!({}),
                WellKnown::ListValue => json!({ "type": "array", "items": {} }),
                WellKnown::FieldMask => json!({ "type": "string" }),
                WellKnown::Wrapper(scalar) => scalar_schema(scalar),
            },
        }
    }

    fn enumeration(&mut self, id: EnumId) -> Value {
        let plan = self.contract.plans.enumeration(id);
        let name = self.names.get(plan.descriptor.full_name()).to_owned();
        if !self.done.contains_key(&name) {
            let words: Vec<_> = plan.words.iter().map(|(_, word)| word.as_str()).collect();
            let mut schema = json!({ "type": "string", "enum": words });
            let text = self.enum_description(id);
            if !text.is_empty() {
                schema["description"] = text.into();
            }
            self.done.insert(name.clone(), schema);
        }
        component(&name)
    }

    /// The enum's comment and one line for each value that has one.
    fn enum_description(&self, id: EnumId) -> String {
        let plan = self.contract.plans.enumeration(id);
        let (comments, file) = (&self.contract.comments, plan.descriptor.parent_file());
        let mut text = comments.text(&file, plan.descriptor.path()).unwrap_or_default().to_owned();
        for value in plan.descriptor.values() {
            let word = plan.word(value.number());
            if let Some((word, line)) = word.zip(comments.text(&file, value.path())) {
                text.push_str(&format!("\n- `{word}`: {line}"));
            }
        }
        text.trim_start().to_owned()
    }
}

fn component(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn nullable(schema: Value) -> Value {
    match schema.get("type").cloned() {
        Some(kind) => {
            let mut schema = schema;
            schema["type"] = json!([kind, "null"]);
            if let Some(Value::Array(words)) = schema.get_mut("enum") {
                words.push(Value::Null);
            }
            schema
        }
        None if schema.get("$ref").is_some() => json!({ "anyOf": [schema, { "type": "null" }] }),
        // No type: anything, null included.
        None => schema,
    }
}

fn scalar_schema(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => json!({ "type": "boolean" }),
        Scalar::String => json!({ "type": "string" }),
        Scalar::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Scalar::Float => json!({ "type": "number", "format": "float" }),
        Scalar::Double => json!({ "type": "number", "format": "double" }),
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => {
            json!({ "type": "integer", "format": "int32" })
        }
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => {
            json!({ "type": "integer", "format": "int64" })
        }
        Scalar::Uint32 | Scalar::Uint64 | Scalar::Fixed32 | Scalar::Fixed64 => {
            json!({ "type": "integer", "minimum": 0 })
        }
    }
}
