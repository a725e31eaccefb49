//! Reads `buf.validate` rules and `google.api.field_behavior` from a field's options into the calls
//! that check them. The calls are functions of `proto::validate::rules`.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, OneofDescriptor, Value};

use super::calls::{Call, scalar_calls, size_call};

/// What a field's options ask for.
#[derive(Default)]
pub struct FieldRules {
    pub required: bool,
    pub ignore: Ignore,
    /// Calls on the value (of a list or map: on the whole).
    pub calls: Vec<Call>,
    /// Rules for a list's items.
    pub items: Option<Box<FieldRules>>,
    /// Rules for a map's keys.
    pub keys: Option<Box<FieldRules>>,
    /// Rules for a map's values.
    pub values: Option<Box<FieldRules>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Ignore {
    #[default]
    Unset,
    ZeroValue,
    Always,
}

/// What a field's owner may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    Plain,
    Immutable,
    OutputOnly,
}

const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const IMMUTABLE: i32 = 5;

fn behaviors(field: &FieldDescriptor) -> Vec<i32> {
    let options = field.options();
    let Some(extension) = field.parent_pool().get_extension_by_name("google.api.field_behavior") else {
        return Vec::new();
    };
    let value = options.get_extension(&extension);
    value.as_list().unwrap_or_default().iter().filter_map(Value::as_enum_number).collect()
}

pub fn behavior(field: &FieldDescriptor) -> Behavior {
    let behaviors = behaviors(field);
    if behaviors.contains(&OUTPUT_ONLY) {
        Behavior::OutputOnly
    } else if behaviors.contains(&IMMUTABLE) {
        Behavior::Immutable
    } else {
        Behavior::Plain
    }
}

pub fn oneof_required(oneof: &OneofDescriptor) -> bool {
    let options = oneof.options();
    oneof.parent_pool().get_extension_by_name("buf.validate.oneof").is_some_and(|extension| {
        let rules = options.get_extension(&extension);
        rules.as_message().is_some_and(|rules| flag(rules, "required"))
    })
}

/// The rules of `field`; those of an output-only field are none.
pub fn field_rules(field: &FieldDescriptor) -> Result<FieldRules, String> {
    if behavior(field) == Behavior::OutputOnly {
        return Ok(FieldRules { ignore: Ignore::Always, ..FieldRules::default() });
    }
    let options = field.options();
    let shape = Shape::of(field);
    let mut rules = match field.parent_pool().get_extension_by_name("buf.validate.field") {
        Some(extension) if options.has_extension(&extension) => {
            let value = options.get_extension(&extension);
            read(value.as_message().ok_or("buf.validate.field is not a message")?, &shape)?
        }
        _ => FieldRules::default(),
    };
    rules.required |= behaviors(field).contains(&REQUIRED);
    rules.calls.extend(total_call(field, &shape)?);
    imply(&mut rules, &shape);
    if rules.required && matches!(shape, Shape::Single(Kind::Bool)) && !field.supports_presence() {
        return Err("a required bool without presence could only be true: make it optional".into());
    }
    Ok(rules)
}

/// The call for the option `pulseops.api.v1.max_total_bytes`.
fn total_call(field: &FieldDescriptor, shape: &Shape) -> Result<Option<Call>, String> {
    let options = field.options();
    let extension = field.parent_pool().get_extension_by_name("pulseops.api.v1.max_total_bytes");
    let Some(extension) = extension.filter(|extension| options.has_extension(extension)) else {
        return Ok(None);
    };
    if !matches!(shape, Shape::Map(Kind::String, Kind::String)) {
        return Err("max_total_bytes is for maps of strings".into());
    }
    let most = options.get_extension(&extension).as_u32().ok_or("max_total_bytes is not a number")?;
    Ok(Some(Call::new("total", [most.to_string()])))
}

/// Adds what holds for every value of a type, whatever the contract says.
fn imply(rules: &mut FieldRules, shape: &Shape) {
    let add = |inner: &mut Option<Box<FieldRules>>, kind: &Kind| {
        if let Some(call) = implied_call(kind) {
            inner.get_or_insert_default().calls.insert(0, call);
        }
    };
    match shape {
        Shape::Single(kind) => rules.calls.splice(0..0, implied_call(kind)).for_each(drop),
        Shape::List(item) => add(&mut rules.items, item),
        Shape::Map(key, value) => {
            add(&mut rules.keys, key);
            add(&mut rules.values, value);
        }
    }
}

fn implied_call(kind: &Kind) -> Option<Call> {
    let function = match kind {
        Kind::String => "text",
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "timestamp",
            "google.protobuf.Struct" => "structure",
            _ => return None,
        },
        _ => return None,
    };
    Some(Call::new(function, []))
}

/// The type that rules are read for.
enum Shape {
    Single(Kind),
    List(Kind),
    Map(Kind, Kind),
}

impl Shape {
    fn of(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                Self::Map(entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind())
            }
            kind if field.is_list() => Self::List(kind),
            kind => Self::Single(kind),
        }
    }

    /// The name of the member of `FieldRules.type` that fits.
    fn rules_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::List(_) => "repeated",
            Self::Map(..) => "map",
            Self::Single(kind) => match kind {
                Kind::Float => "float",
                Kind::Double => "double",
                Kind::Int32 => "int32",
                Kind::Int64 => "int64",
                Kind::Uint32 => "uint32",
                Kind::Uint64 => "uint64",
                Kind::Bool => "bool",
                Kind::String => "string",
                Kind::Bytes => "bytes",
                Kind::Enum(_) => "enum",
                _ => return None,
            },
        })
    }
}

fn read(message: &DynamicMessage, shape: &Shape) -> Result<FieldRules, String> {
    let mut rules = FieldRules { required: flag(message, "required"), ..FieldRules::default() };
    rules.ignore = match message.get_field_by_name("ignore").and_then(|value| value.as_enum_number()) {
        Some(1) => Ignore::ZeroValue,
        Some(3) => Ignore::Always,
        _ => Ignore::Unset,
    };
    for (field, value) in message.fields() {
        let Some(of_type) = value.as_message() else {
            continue;
        };
        if shape.rules_name() != Some(field.name()) {
            return Err(format!("rules `{}` do not fit the type of the field", field.name()));
        }
        match shape {
            Shape::Single(kind) => rules.calls = scalar_calls(kind, of_type)?,
            Shape::List(item) => read_list(&mut rules, of_type, item)?,
            Shape::Map(key, value) => read_map(&mut rules, of_type, key, value)?,
        }
    }
    Ok(rules)
}

fn read_list(rules: &mut FieldRules, of_type: &DynamicMessage, item: &Kind) -> Result<(), String> {
    rules.calls.extend(size_call("items", number(of_type, "min_items"), number(of_type, "max_items"))?);
    if flag(of_type, "unique") {
        if matches!(item, Kind::Message(_) | Kind::Float | Kind::Double) {
            return Err("rule `unique` is for lists of strings, bytes, integers and enums".into());
        }
        rules.calls.push(Call::new("unique", []));
    }
    rules.items = nested(of_type, "items", item)?;
    Ok(())
}

fn read_map(
    rules: &mut FieldRules,
    of_type: &DynamicMessage,
    key: &Kind,
    value: &Kind,
) -> Result<(), String> {
    rules.calls.extend(size_call("pairs", number(of_type, "min_pairs"), number(of_type, "max_pairs"))?);
    rules.keys = nested(of_type, "keys", key)?;
    rules.values = nested(of_type, "values", value)?;
    Ok(())
}

fn nested(message: &DynamicMessage, name: &str, kind: &Kind) -> Result<Option<Box<FieldRules>>, String> {
    if !message.has_field_by_name(name) {
        return Ok(None);
    }
    let value = message.get_field_by_name(name);
    let Some(rules) = value.as_ref().and_then(|value| value.as_message()) else {
        return Ok(None);
    };
    let rules = read(rules, &Shape::Single(kind.clone())).map_err(|fault| format!("{name}: {fault}"))?;
    Ok(Some(Box::new(rules)))
}

pub fn flag(message: &DynamicMessage, name: &str) -> bool {
    message.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or(false)
}

pub fn number(message: &DynamicMessage, name: &str) -> Option<u64> {
    message.has_field_by_name(name).then(|| message.get_field_by_name(name)?.as_u64()).flatten()
}
