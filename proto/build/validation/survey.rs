//! What must be known of all messages before the first is written.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};

use super::rules::{self, FieldRules, Ignore};

/// The field that makes a request an update.
pub const MASK: &str = "update_mask";

/// The rules of every field by its full name; what is wrong with them goes to `faults`.
pub fn read_rules(messages: &[MessageDescriptor], faults: &mut Vec<String>) -> BTreeMap<String, FieldRules> {
    let mut found = BTreeMap::new();
    for field in messages.iter().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        match rules::field_rules(&field).and_then(|rules| suits(&field, rules)) {
            Ok(rules) => {
                found.insert(field.full_name().to_owned(), rules);
            }
            Err(fault) => faults.push(format!("{}: {fault}", field.full_name())),
        }
    }
    found
}

fn suits(field: &FieldDescriptor, rules: FieldRules) -> Result<FieldRules, String> {
    if rules.required && real_oneof(field).is_some() {
        return Err("a member of a oneof cannot be required: put the rule on the oneof".into());
    }
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
        && entry.map_entry_key_field().kind() != Kind::String
        && rules.keys.is_some()
    {
        return Err("rules for keys need a map with string keys".into());
    }
    Ok(rules)
}

/// The update requests among `inputs`: those with a field mask and one resource.
pub fn find_updates(
    messages: &[MessageDescriptor],
    inputs: &BTreeSet<String>,
    faults: &mut Vec<String>,
) -> BTreeMap<String, FieldDescriptor> {
    let mut found = BTreeMap::new();
    for message in messages.iter().filter(|message| inputs.contains(message.full_name())) {
        if message.get_field_by_name(MASK).is_none() {
            continue;
        }
        let mut resources: Vec<_> = message
            .fields()
            .filter(|field| field.cardinality() != Cardinality::Repeated && real_oneof(field).is_none())
            .filter(|field| message_of(field).is_some_and(|of| super::is_ours(&of)))
            .collect();
        match (resources.pop(), resources.is_empty()) {
            (Some(resource), true) => {
                found.insert(message.full_name().to_owned(), resource);
            }
            _ => faults.push(format!("{}: {MASK} needs exactly one resource beside it", message.full_name())),
        }
    }
    found
}

/// Messages with something to check, themselves or in a message they hold.
pub fn find_active(
    messages: &[MessageDescriptor],
    rules: &BTreeMap<String, FieldRules>,
    updates: &BTreeMap<String, FieldDescriptor>,
) -> BTreeSet<String> {
    let mut active: BTreeSet<String> = messages
        .iter()
        .filter(|message| updates.contains_key(message.full_name()) || has_rules(message, rules))
        .map(|message| message.full_name().to_owned())
        .collect();
    loop {
        let more: Vec<_> = messages
            .iter()
            .filter(|message| !active.contains(message.full_name()))
            .filter(|message| message.fields().any(|field| holds_active(&field, rules, &active)))
            .map(|message| message.full_name().to_owned())
            .collect();
        if more.is_empty() {
            return active;
        }
        active.extend(more);
    }
}

fn has_rules(message: &MessageDescriptor, rules: &BTreeMap<String, FieldRules>) -> bool {
    let on_fields = message.fields().filter_map(|field| rules.get(field.full_name())).any(|rules| {
        let nested = rules.items.is_some() || rules.keys.is_some() || rules.values.is_some();
        rules.ignore != Ignore::Always && (rules.required || nested || !rules.calls.is_empty())
    });
    on_fields || message.oneofs().any(|oneof| rules::oneof_required(&oneof))
}

fn holds_active(
    field: &FieldDescriptor,
    rules: &BTreeMap<String, FieldRules>,
    active: &BTreeSet<String>,
) -> bool {
    let ignored = rules.get(field.full_name()).is_some_and(|rules| rules.ignore == Ignore::Always);
    !ignored && message_of(field).is_some_and(|message| active.contains(message.full_name()))
}

/// The message that the field, a list's item or a map's value is.
pub fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind().as_message().cloned(),
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// The oneof that was written down, not the one behind an `optional` field.
pub fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}
