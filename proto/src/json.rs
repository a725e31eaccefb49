//! Messages as the JSON of the REST API, for what has a message in hand and no HTTP in between:
//! rendering, the CLI's `--json`, tests. snake_case names, enums in lower case without their prefix,
//! RFC 3339 times, 64-bit numbers as numbers, every field present, unset ones null.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::SecondsFormat;
use prost::Name;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use serde_json::{Map, Number, Value as Json};

/// Why JSON is not a message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The type is not of this contract.
    #[error("{0} is not a message of the contract")]
    UnknownType(String),
    /// A field is unknown or of another type.
    #[error("not a {message}: {source}")]
    Mismatch {
        /// The full name of the message.
        message: String,
        source: serde_json::Error,
    },
    /// The descriptors and the generated type disagree.
    #[error("generated type and descriptor disagree")]
    Decode(#[from] prost::DecodeError),
}

/// `message` as JSON.
///
/// # Errors
/// [`Error::UnknownType`] for a message of another crate.
pub fn to_json<M: Name>(message: &M) -> Result<Json, Error> {
    let dynamic = DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice())?;
    Ok(message_to_json(&dynamic))
}

/// The message that `json` is. Missing and null fields stay unset.
///
/// # Errors
/// [`Error::Mismatch`] at the first unknown field or value of a wrong type, and as [`to_json`].
pub fn from_json<M: Name + Default>(json: &Json) -> Result<M, Error> {
    let descriptor = descriptor::<M>()?;
    let canonical = canonical_message(json, &descriptor);
    let dynamic = DynamicMessage::deserialize(descriptor, canonical)
        .map_err(|source| Error::Mismatch { message: M::full_name(), source })?;
    Ok(dynamic.transcode_to()?)
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, Error> {
    let name = M::full_name();
    crate::descriptor_pool().get_message_by_name(&name).ok_or(Error::UnknownType(name))
}

fn message_to_json(message: &DynamicMessage) -> Json {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => timestamp_to_json(message),
        name if name.starts_with("google.protobuf.") => serde_json::to_value(message).unwrap_or(Json::Null),
        _ => {
            let fields = descriptor.fields().map(|field| {
                let unset = field.supports_presence() && !message.has_field(&field);
                let json = if unset { Json::Null } else { field_to_json(&field, &message.get_field(&field)) };
                (field.name().to_owned(), json)
            });
            Json::Object(fields.collect())
        }
    }
}

fn timestamp_to_json(message: &DynamicMessage) -> Json {
    let timestamp = message.transcode_to::<prost_types::Timestamp>().ok();
    let time = timestamp.as_ref().and_then(crate::time::from_timestamp);
    time.map_or(Json::Null, |time| {
        let whole_ms = time.timestamp_subsec_micros().is_multiple_of(1000);
        let precision = if whole_ms { SecondsFormat::Millis } else { SecondsFormat::Micros };
        time.to_rfc3339_opts(precision, true).into()
    })
}

fn field_to_json(field: &FieldDescriptor, value: &Value) -> Json {
    match value {
        Value::List(items) => items.iter().map(|item| single_to_json(&field.kind(), item)).collect(),
        Value::Map(pairs) => {
            let entry = field.kind();
            let Some(entry) = entry.as_message() else {
                return Json::Null;
            };
            let kind = entry.map_entry_value_field().kind();
            let pairs = pairs.iter().map(|(key, value)| (key_to_json(key), single_to_json(&kind, value)));
            Json::Object(pairs.collect())
        }
        single => single_to_json(&field.kind(), single),
    }
}

fn key_to_json(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn single_to_json(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        Value::F32(value) => float_to_json(f64::from(*value)),
        Value::F64(value) => float_to_json(*value),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => BASE64_STANDARD.encode(value).into(),
        Value::EnumNumber(number) => enum_to_json(kind, *number),
        Value::Message(message) => message_to_json(message),
        Value::List(_) | Value::Map(_) => Json::Null,
    }
}

/// JSON has no NaN and no infinity.
fn float_to_json(value: f64) -> Json {
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

fn enum_to_json(kind: &Kind, number: i32) -> Json {
    let Some(value) = kind.as_enum().and_then(|of| of.get_value(number)) else {
        return number.into();
    };
    match rest_name(value.parent_enum(), value.name()) {
        name if number == 0 && name == "unspecified" => Json::Null,
        name => name.into(),
    }
}

/// `SEVERITY_VERY_HIGH` of `Severity` as REST has it: `very_high`.
fn rest_name(of: &EnumDescriptor, name: &str) -> String {
    name.strip_prefix(&prefix(of)).unwrap_or(name).to_ascii_lowercase()
}

/// `ApiKeyKind` -> `API_KEY_KIND_`.
fn prefix(of: &EnumDescriptor) -> String {
    let mut prefix = String::new();
    for (index, c) in of.name().char_indices() {
        if index > 0 && c.is_ascii_uppercase() {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix + "_"
}

/// The REST form rewritten to protobuf's canonical JSON, which differs in the names of enum values.
fn canonical_message(json: &Json, descriptor: &MessageDescriptor) -> Json {
    let Json::Object(fields) = json else {
        return json.clone();
    };
    if descriptor.package_name() == "google.protobuf" {
        return json.clone();
    }
    let fields = fields.iter().map(|(name, value)| {
        let value = match descriptor.get_field_by_name(name) {
            Some(field) => canonical_field(value, &field),
            None => value.clone(),
        };
        (name.clone(), value)
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

fn canonical_field(json: &Json, field: &FieldDescriptor) -> Json {
    match (json, field.kind()) {
        (Json::Object(pairs), Kind::Message(entry)) if field.is_map() => {
            let kind = entry.map_entry_value_field().kind();
            pairs.iter().map(|(key, value)| (key.clone(), canonical_single(value, &kind))).collect()
        }
        (Json::Array(items), kind) if field.is_list() => {
            items.iter().map(|item| canonical_single(item, &kind)).collect()
        }
        (_, kind) => canonical_single(json, &kind),
    }
}

fn canonical_single(json: &Json, kind: &Kind) -> Json {
    match (json, kind) {
        (Json::String(name), Kind::Enum(of)) => {
            let value = of.values().find(|value| rest_name(of, value.name()) == *name);
            value.map_or_else(|| json.clone(), |value| value.name().into())
        }
        (_, Kind::Message(descriptor)) => canonical_message(json, descriptor),
        _ => json.clone(),
    }
}
