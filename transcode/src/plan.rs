//! What reading and writing need to know about every message, worked out once from the descriptors.

mod kinds;

use std::collections::HashMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as ProtoKind, MessageDescriptor};

use crate::annotations::{Annotations, Behavior};
use crate::names::enum_word;

pub(crate) use kinds::{Scalar, WellKnown};
use kinds::{scalar, well_known};

/// Index of a message in [`Plans`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(usize);

/// Index of an enum in [`Plans`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EnumId(usize);

/// All messages that operations reach, and their enums.
pub(crate) struct Plans {
    messages: Vec<MessagePlan>,
    /// Messages before this index have their fields; the others are only reserved.
    planned: usize,
    message_ids: HashMap<String, MessageId>,
    enums: Vec<EnumPlan>,
    enum_ids: HashMap<String, EnumId>,
}

pub(crate) struct MessagePlan {
    pub(crate) descriptor: MessageDescriptor,
    /// In the order of the .proto file.
    pub(crate) fields: Vec<FieldPlan>,
    by_name: HashMap<String, usize>,
    by_number: HashMap<u32, usize>,
}

pub(crate) struct FieldPlan {
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) name: String,
    pub(crate) number: u32,
    /// The JSON member's beginning, `"name":`.
    pub(crate) json_key: Vec<u8>,
    pub(crate) shape: Shape,
    /// Of the value; for a list of its items, for a map of its values.
    pub(crate) kind: Kind,
    /// Unset differs from zero: messages, `optional`, members of a oneof.
    pub(crate) presence: bool,
    pub(crate) behavior: Behavior,
    /// Index of the oneof in its message; the ones made for `optional` do not count.
    pub(crate) oneof: Option<usize>,
    /// Its least value where zero, which is less, passes all the same: it stands for a parameter that
    /// is not there.
    pub(crate) least_given: Option<i128>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Single,
    List,
    /// With the kind of its keys.
    Map(Scalar),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Enum(EnumId),
    Message(MessageId),
    WellKnown(WellKnown),
}

pub(crate) struct EnumPlan {
    pub(crate) descriptor: EnumDescriptor,
    /// (number, REST word) in the order of the .proto file, UNSPECIFIED left out.
    pub(crate) words: Vec<(i32, String)>,
    /// Zero is UNSPECIFIED, so it reads and writes as null.
    pub(crate) zero_is_null: bool,
}

impl EnumPlan {
    fn new(descriptor: EnumDescriptor) -> Self {
        let named =
            descriptor.values().map(|value| (value.number(), enum_word(descriptor.name(), value.name())));
        let (zero, words): (Vec<_>, Vec<_>) =
            named.partition(|(number, word)| *number == 0 && word == "unspecified");
        Self { zero_is_null: !zero.is_empty(), words, descriptor }
    }

    pub(crate) fn word(&self, number: i32) -> Option<&str> {
        self.words.iter().find(|(n, _)| *n == number).map(|(_, word)| word.as_str())
    }

    pub(crate) fn number(&self, word: &str) -> Option<i32> {
        self.words.iter().find(|(_, w)| w == word).map(|(number, _)| *number)
    }
}

impl MessagePlan {
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&FieldPlan> {
        self.index_of(name).map(|index| &self.fields[index])
    }

    pub(crate) fn index_of_number(&self, number: u32) -> Option<usize> {
        // Fields are mostly numbered from one in their order.
        let guess = (number as usize).wrapping_sub(1);
        match self.fields.get(guess) {
            Some(field) if field.number == number => Some(guess),
            _ => self.by_number.get(&number).copied(),
        }
    }
}

impl FieldPlan {
    /// Whether text (a path variable, a query parameter, a CSV cell) can hold one value of it.
    pub(crate) fn is_textual(&self) -> bool {
        match self.kind {
            Kind::Scalar(_) | Kind::Enum(_) => true,
            Kind::WellKnown(known) => matches!(known, WellKnown::Timestamp | WellKnown::Wrapper(_)),
            Kind::Message(_) => false,
        }
    }
}

impl Plans {
    pub(crate) fn new() -> Self {
        Self {
            messages: Vec::new(),
            planned: 0,
            message_ids: HashMap::new(),
            enums: Vec::new(),
            enum_ids: HashMap::new(),
        }
    }

    pub(crate) fn message(&self, id: MessageId) -> &MessagePlan {
        &self.messages[id.0]
    }

    pub(crate) fn enumeration(&self, id: EnumId) -> &EnumPlan {
        &self.enums[id.0]
    }

    pub(crate) fn find(&self, full_name: &str) -> Option<MessageId> {
        self.message_ids.get(full_name).copied()
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &MessagePlan> {
        self.messages.iter()
    }

    pub(crate) fn enums(&self) -> impl Iterator<Item = &EnumPlan> {
        self.enums.iter()
    }

    /// Plans the message and all that it reaches. What cannot be carried is told in `faults`.
    pub(crate) fn add(
        &mut self,
        root: &MessageDescriptor,
        annotations: &Annotations,
        faults: &mut Vec<String>,
    ) -> MessageId {
        let id = self.reserve(root);
        while self.planned < self.messages.len() {
            let descriptor = self.messages[self.planned].descriptor.clone();
            let fields = self.fields(&descriptor, annotations, faults);
            let plan = &mut self.messages[self.planned];
            plan.by_name = index(&fields, |field| field.name.clone());
            plan.by_number = index(&fields, |field| field.number);
            plan.fields = fields;
            self.planned += 1;
        }
        id
    }

    fn reserve(&mut self, descriptor: &MessageDescriptor) -> MessageId {
        if let Some(id) = self.find(descriptor.full_name()) {
            return id;
        }
        let id = MessageId(self.messages.len());
        self.message_ids.insert(descriptor.full_name().to_owned(), id);
        self.messages.push(MessagePlan {
            descriptor: descriptor.clone(),
            fields: Vec::new(),
            by_name: HashMap::new(),
            by_number: HashMap::new(),
        });
        id
    }

    fn fields(
        &mut self,
        message: &MessageDescriptor,
        annotations: &Annotations,
        faults: &mut Vec<String>,
    ) -> Vec<FieldPlan> {
        let oneofs: Vec<String> = message
            .oneofs()
            .filter(|oneof| !oneof.is_synthetic())
            .map(|oneof| oneof.name().to_owned())
            .collect();
        let in_order = message.descriptor_proto().field.iter();
        let fields = in_order.filter_map(|field| message.get_field_by_name(field.name()));
        let mut plans = Vec::new();
        for field in fields {
            match self.field(field.clone(), &oneofs, annotations) {
                Ok(plan) => plans.push(plan),
                Err(why) => faults.push(format!("{}: {why}", field.full_name())),
            }
        }
        plans
    }

    fn field(
        &mut self,
        descriptor: FieldDescriptor,
        oneofs: &[String],
        annotations: &Annotations,
    ) -> Result<FieldPlan, String> {
        let (shape, value) = match descriptor.kind() {
            ProtoKind::Message(entry) if descriptor.is_map() => {
                let key =
                    scalar(&entry.map_entry_key_field().kind()).ok_or("a map's key must be a scalar")?;
                (Shape::Map(key), entry.map_entry_value_field().kind())
            }
            kind if descriptor.is_list() => (Shape::List, kind),
            kind => (Shape::Single, kind),
        };
        let oneof = descriptor
            .containing_oneof()
            .and_then(|oneof| oneofs.iter().position(|name| name == oneof.name()));
        Ok(FieldPlan {
            name: descriptor.name().to_owned(),
            number: descriptor.number(),
            json_key: format!("\"{}\":", descriptor.name()).into_bytes(),
            shape,
            kind: self.kind(&value)?,
            presence: descriptor.supports_presence(),
            behavior: annotations.behavior(&descriptor),
            least_given: annotations.least_given(&descriptor),
            oneof,
            descriptor,
        })
    }

    fn kind(&mut self, kind: &ProtoKind) -> Result<Kind, String> {
        Ok(match kind {
            ProtoKind::Enum(descriptor) => Kind::Enum(self.enum_id(descriptor)),
            ProtoKind::Message(message) => match well_known(message)? {
                Some(known) => Kind::WellKnown(known),
                None => Kind::Message(self.reserve(message)),
            },
            other => Kind::Scalar(scalar(other).ok_or("this kind has no JSON form")?),
        })
    }

    fn enum_id(&mut self, descriptor: &EnumDescriptor) -> EnumId {
        if let Some(id) = self.enum_ids.get(descriptor.full_name()) {
            return *id;
        }
        let id = EnumId(self.enums.len());
        self.enum_ids.insert(descriptor.full_name().to_owned(), id);
        self.enums.push(EnumPlan::new(descriptor.clone()));
        id
    }
}

fn index<K: std::hash::Hash + Eq>(fields: &[FieldPlan], key: impl Fn(&FieldPlan) -> K) -> HashMap<K, usize> {
    fields.iter().enumerate().map(|(i, field)| (key(field), i)).collect()
}
