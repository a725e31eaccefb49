//! Options of the contract, read dynamically: `google.api.http`, `field_behavior`, `buf.validate`
//! and the operation option whose name the host gives.

use http::Method;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MethodDescriptor,
    OneofDescriptor, ReflectMessage as _, Value,
};

use crate::names::enum_word;

pub(crate) struct Annotations {
    http: Option<ExtensionDescriptor>,
    op: ExtensionDescriptor,
    behavior: Option<ExtensionDescriptor>,
    rules: Option<ExtensionDescriptor>,
    oneof_rules: Option<ExtensionDescriptor>,
}

/// The REST face of an RPC as `google.api.http` gives it.
pub(crate) struct HttpRule {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Empty, `*` or a field's name.
    pub(crate) body: String,
}

/// What the operation option says.
#[derive(Default)]
pub(crate) struct OpFacts {
    pub(crate) access: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) etag: bool,
    pub(crate) idempotent: Option<bool>,
    pub(crate) csv: bool,
    pub(crate) hand: bool,
}

/// `google.api.field_behavior` of one field.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Behavior {
    pub(crate) required: bool,
    pub(crate) output_only: bool,
    pub(crate) input_only: bool,
    pub(crate) immutable: bool,
}

impl Annotations {
    pub(crate) fn new(pool: &DescriptorPool, op_extension: &str) -> Result<Self, String> {
        let op = pool
            .get_extension_by_name(op_extension)
            .ok_or_else(|| format!("the pool has no extension `{op_extension}`"))?;
        if !matches!(op.kind(), Kind::Message(_)) {
            return Err(format!("extension `{op_extension}` must be a message"));
        }
        Ok(Self {
            op,
            http: pool.get_extension_by_name("google.api.http"),
            behavior: pool.get_extension_by_name("google.api.field_behavior"),
            rules: pool.get_extension_by_name("buf.validate.field"),
            oneof_rules: pool.get_extension_by_name("buf.validate.oneof"),
        })
    }

    pub(crate) fn http_rule(&self, method: &MethodDescriptor) -> Result<Option<HttpRule>, String> {
        let Some(rule) = message_option(&method.options(), self.http.as_ref()) else {
            return Ok(None);
        };
        if list_len(&rule, "additional_bindings") > 0 {
            return Err("additional_bindings are not supported: one operation, one path".into());
        }
        if text(&rule, "response_body").is_some_and(|body| !body.is_empty()) {
            return Err("response_body is not supported".into());
        }
        let verbs = [
            ("get", Method::GET),
            ("put", Method::PUT),
            ("post", Method::POST),
            ("delete", Method::DELETE),
            ("patch", Method::PATCH),
        ];
        for (name, method) in verbs {
            if rule.has_field_by_name(name) {
                return Ok(Some(HttpRule {
                    method,
                    path: text(&rule, name).unwrap_or_default(),
                    body: text(&rule, "body").unwrap_or_default(),
                }));
            }
        }
        Err("google.api.http needs get, put, post, delete or patch".into())
    }

    /// `None` when the RPC does not carry the option.
    pub(crate) fn op(&self, method: &MethodDescriptor) -> Option<OpFacts> {
        let op = message_option(&method.options(), Some(&self.op))?;
        let status = number(&op, "status").and_then(|n| u16::try_from(n).ok());
        Some(OpFacts {
            access: enum_field(&op, "access"),
            status: status.filter(|status| *status != 0),
            etag: flag(&op, "etag"),
            idempotent: op.has_field_by_name("idempotent").then(|| flag(&op, "idempotent")),
            csv: flag(&op, "csv"),
            hand: enum_field(&op, "door").is_some_and(|door| door == "hand"),
        })
    }

    pub(crate) fn behavior(&self, field: &FieldDescriptor) -> Behavior {
        let mut behavior = Behavior::default();
        let options = field.options();
        let Some(extension) = self.behavior.as_ref().filter(|x| options.has_extension(x)) else {
            return behavior;
        };
        let values = options.get_extension(extension);
        for value in values.as_list().unwrap_or_default() {
            // Numbers of google.api.FieldBehavior.
            match value.as_enum_number() {
                Some(2) => behavior.required = true,
                Some(3) => behavior.output_only = true,
                Some(4) => behavior.input_only = true,
                Some(5) => behavior.immutable = true,
                _ => {}
            }
        }
        behavior
    }

    /// The `buf.validate.FieldRules` of the field.
    pub(crate) fn rules(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        message_option(&field.options(), self.rules.as_ref())
    }

    /// The bound `gte` of an integer whose rules are ignored at zero.
    pub(crate) fn least_given(&self, field: &FieldDescriptor) -> Option<i128> {
        const IF_ZERO_VALUE: i128 = 1;
        let rules = self.rules(field)?;
        let integers = ["int32", "int64", "uint32", "uint64"].into_iter();
        let least = integers.filter_map(|kind| number(&message(&rules, kind)?, "gte")).next()?;
        (number(&rules, "ignore") == Some(IF_ZERO_VALUE) && least > 0).then_some(least)
    }

    /// Whether one member of the oneof must be set.
    pub(crate) fn oneof_required(&self, oneof: &OneofDescriptor) -> bool {
        message_option(&oneof.options(), self.oneof_rules.as_ref())
            .is_some_and(|rules| flag(&rules, "required"))
    }
}

fn message_option(
    options: &DynamicMessage,
    extension: Option<&ExtensionDescriptor>,
) -> Option<DynamicMessage> {
    let extension = extension.filter(|x| options.has_extension(x))?;
    options.get_extension(extension).as_message().cloned()
}

/// A set message field of a dynamic message.
pub(crate) fn message(m: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    set(m, name)?.as_message().cloned()
}

/// A set string field.
pub(crate) fn text(m: &DynamicMessage, name: &str) -> Option<String> {
    set(m, name)?.as_str().map(str::to_owned)
}

/// A bool field; unset is false.
pub(crate) fn flag(m: &DynamicMessage, name: &str) -> bool {
    set(m, name).and_then(|value| value.as_bool()).unwrap_or(false)
}

/// A set integer field of any width.
pub(crate) fn number(m: &DynamicMessage, name: &str) -> Option<i128> {
    integer(&set(m, name)?)
}

/// The integer in a value of any width.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::I32(n) => Some(i128::from(*n)),
        Value::I64(n) => Some(i128::from(*n)),
        Value::U32(n) => Some(i128::from(*n)),
        Value::U64(n) => Some(i128::from(*n)),
        Value::EnumNumber(n) => Some(i128::from(*n)),
        _ => None,
    }
}

/// A field when it is set.
pub(crate) fn set(m: &DynamicMessage, name: &str) -> Option<Value> {
    m.has_field_by_name(name).then(|| m.get_field_by_name(name).map(|v| v.into_owned()))?
}

/// The items of a list field; unset is empty.
pub(crate) fn list(m: &DynamicMessage, name: &str) -> Vec<Value> {
    set(m, name).and_then(|v| v.as_list().map(<[_]>::to_vec)).unwrap_or_default()
}

fn list_len(m: &DynamicMessage, name: &str) -> usize {
    list(m, name).len()
}

/// The REST word of an enum field; `None` when unset, unnamed or the zero value.
fn enum_field(m: &DynamicMessage, name: &str) -> Option<String> {
    let number = set(m, name)?.as_enum_number().filter(|number| *number != 0)?;
    let field = m.descriptor().get_field_by_name(name)?;
    let Kind::Enum(descriptor) = field.kind() else {
        return None;
    };
    let value = descriptor.get_value(number)?;
    Some(enum_word(descriptor.name(), value.name()))
}
