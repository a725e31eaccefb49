//! From descriptors to the table. Options are read dynamically by name.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, Kind, MethodDescriptor, Value,
};

use super::{Access, AccessError, AccessTable, OpSpec, OptionNames};
use crate::ctx::Permissions;

const PUBLIC: &str = "public";
const INTERNAL: &str = "internal";
const UNSPECIFIED: &str = "unspecified";

pub(super) fn read(pool: &DescriptorPool, names: OptionNames<'_>) -> Result<AccessTable, AccessError> {
    let op = extension(pool, names.op)?;
    let roles = extension(pool, names.roles)?;
    let permission = access_enum(&op).ok_or_else(|| AccessError::WrongType(names.op.to_owned()))?;
    let Kind::Enum(role) = roles.kind() else {
        return Err(AccessError::WrongType(names.roles.to_owned()));
    };
    let ops = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let ops = ops.map(|method| op_spec(&method, &op, &permission)).map(|op| (op.path.clone(), op));
    let (roles, all) = matrix(&permission, &roles, &role);
    Ok(AccessTable { ops: ops.collect::<HashMap<_, _>>(), roles, all })
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor, AccessError> {
    pool.get_extension_by_name(name).ok_or_else(|| AccessError::NoExtension(name.to_owned()))
}

fn access_enum(op: &ExtensionDescriptor) -> Option<EnumDescriptor> {
    match op.kind().as_message()?.get_field_by_name("access")?.kind() {
        Kind::Enum(permission) => Some(permission),
        _ => None,
    }
}

fn op_spec(
    method: &MethodDescriptor,
    extension: &ExtensionDescriptor,
    permission: &EnumDescriptor,
) -> OpSpec {
    let options = method.options();
    let op = options.get_extension(extension);
    let op = op.as_message();
    OpSpec {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()).into(),
        access: op.map_or(Access::Refused, |op| access_of(op, permission)),
        idempotent: op.is_none_or(is_idempotent),
    }
}

fn access_of(op: &DynamicMessage, permission: &EnumDescriptor) -> Access {
    let number = op.get_field_by_name("access").and_then(|value| value.as_enum_number());
    let name = number.and_then(|number| value_name(permission, number));
    match name.as_deref() {
        None | Some(UNSPECIFIED) => Access::Refused,
        Some(PUBLIC) => Access::Public,
        Some(INTERNAL) => Access::Internal,
        Some(name) => Access::Permission(name.into()),
    }
}

fn is_idempotent(op: &DynamicMessage) -> bool {
    let said = op.has_field_by_name("idempotent");
    let value = op.get_field_by_name("idempotent").and_then(|value| value.as_bool());
    !said || value.unwrap_or(true)
}

fn matrix(
    permission: &EnumDescriptor,
    extension: &ExtensionDescriptor,
    role: &EnumDescriptor,
) -> (BTreeMap<String, Permissions>, Permissions) {
    let mut matrix: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in role.values().map(|value| value.number()) {
        if let Some(name) = value_name(role, number).filter(|name| name != UNSPECIFIED) {
            matrix.insert(name, Vec::new());
        }
    }
    for value in permission.values() {
        let Some(name) = value_name(permission, value.number()) else {
            continue;
        };
        let options = value.options();
        let holders = options.get_extension(extension);
        for holder in holders.as_list().unwrap_or_default().iter().filter_map(Value::as_enum_number) {
            if let Some(held) = value_name(role, holder).and_then(|role| matrix.get_mut(&role)) {
                held.push(name.clone());
            }
        }
    }
    let all = matrix.values().flatten().map(String::as_str).collect();
    let roles = matrix.into_iter().map(|(role, held)| (role, held.into_iter().collect()));
    (roles.collect(), all)
}

/// `PERMISSION_RULES_READ` of `Permission` is `rules_read`.
fn value_name(of: &EnumDescriptor, number: i32) -> Option<String> {
    let value = of.get_value(number)?;
    let mut prefix = String::new();
    for (at, letter) in of.name().char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    let name = value.name();
    let bare = name.strip_prefix(&prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name);
    Some(bare.to_ascii_lowercase())
}
