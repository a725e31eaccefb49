//! The kinds of values that a contract may carry.

use prost_reflect::{Kind as ProtoKind, MessageDescriptor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
}

/// Messages of `google.protobuf` that have a JSON form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WellKnown {
    Timestamp,
    Struct,
    Value,
    ListValue,
    FieldMask,
    Wrapper(Scalar),
}

pub(super) fn scalar(kind: &ProtoKind) -> Option<Scalar> {
    Some(match kind {
        ProtoKind::Bool => Scalar::Bool,
        ProtoKind::Int32 => Scalar::Int32,
        ProtoKind::Int64 => Scalar::Int64,
        ProtoKind::Uint32 => Scalar::Uint32,
        ProtoKind::Uint64 => Scalar::Uint64,
        ProtoKind::Sint32 => Scalar::Sint32,
        ProtoKind::Sint64 => Scalar::Sint64,
        ProtoKind::Fixed32 => Scalar::Fixed32,
        ProtoKind::Fixed64 => Scalar::Fixed64,
        ProtoKind::Sfixed32 => Scalar::Sfixed32,
        ProtoKind::Sfixed64 => Scalar::Sfixed64,
        ProtoKind::Float => Scalar::Float,
        ProtoKind::Double => Scalar::Double,
        ProtoKind::String => Scalar::String,
        ProtoKind::Bytes => Scalar::Bytes,
        ProtoKind::Message(_) | ProtoKind::Enum(_) => return None,
    })
}

pub(super) fn well_known(message: &MessageDescriptor) -> Result<Option<WellKnown>, String> {
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else {
        return Ok(None);
    };
    Ok(Some(match name {
        "Timestamp" => WellKnown::Timestamp,
        "Struct" => WellKnown::Struct,
        "Value" => WellKnown::Value,
        "ListValue" => WellKnown::ListValue,
        "FieldMask" => WellKnown::FieldMask,
        "BoolValue" => WellKnown::Wrapper(Scalar::Bool),
        "Int32Value" => WellKnown::Wrapper(Scalar::Int32),
        "Int64Value" => WellKnown::Wrapper(Scalar::Int64),
        "UInt32Value" => WellKnown::Wrapper(Scalar::Uint32),
        "UInt64Value" => WellKnown::Wrapper(Scalar::Uint64),
        "FloatValue" => WellKnown::Wrapper(Scalar::Float),
        "DoubleValue" => WellKnown::Wrapper(Scalar::Double),
        "StringValue" => WellKnown::Wrapper(Scalar::String),
        "BytesValue" => WellKnown::Wrapper(Scalar::Bytes),
        "Empty" => return Ok(None),
        "Duration" => return Err("durations are int64 fields named `*_ms`".into()),
        other => {
            return Err(format!("google.protobuf.{other} has no place in a REST contract"));
        }
    }))
}
