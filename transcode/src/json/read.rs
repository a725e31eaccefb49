//! JSON to protobuf bytes. The walk never stops at a fault: each is noted with its path, so that a
//! client learns all of them at once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use super::document::Node;
use super::scalar::{self, Bound, Wrong};
use crate::plan::{FieldPlan, Kind, MessagePlan, Plans, Scalar, Shape, WellKnown};
use crate::problem::{Faults, FieldFault, push_cut};
use crate::wire::{Raw, put_field};

type Members<'n> = [(Cow<'n, str>, Node<'n>)];

/// Reads bodies and parameters against the plans and collects their faults.
pub(crate) struct Reader<'p> {
    plans: &'p Plans,
    path: String,
    /// Messages entered and not left again.
    nesting: usize,
    faults: Faults,
}

/// Messages may nest this deep: services refuse to decode more than 100, and the input, its body
/// and the lists and maps of a Value count too.
const MAX_NESTING: usize = 90;

/// How the members of one object are judged.
struct Rules<'r> {
    /// Fields that the path binds: the body does not know them.
    hidden: &'r [usize],
    /// Collects the keys when the object is a PATCH.
    mask: Option<&'r mut Vec<String>>,
}

impl<'p> Reader<'p> {
    pub(crate) fn new(plans: &'p Plans) -> Self {
        Self { plans, path: String::new(), nesting: 0, faults: Faults::default() }
    }

    pub(crate) fn into_faults(self) -> Faults {
        self.faults
    }

    /// Notes a fault of the parameter or header `name`.
    pub(crate) fn note(&mut self, name: &str, code: &'static str, detail: &str) {
        self.under(name, |reader| reader.fault(code, detail.to_owned()));
    }

    /// A whole message; `hidden` fields are unknown to the body.
    pub(crate) fn message(
        &mut self,
        plan: &MessagePlan,
        node: &Node<'_>,
        hidden: &[usize],
        out: &mut Vec<u8>,
    ) {
        if let Some(members) = self.object(node) {
            self.members(plan, members, Rules { hidden, mask: None }, out);
        }
    }

    /// A PATCH body: present keys are the mask, nested messages are replaced whole.
    pub(crate) fn patch(&mut self, plan: &MessagePlan, node: &Node<'_>, out: &mut Vec<u8>) -> Vec<String> {
        let mut mask = Vec::new();
        if let Some(members) = self.object(node) {
            if members.is_empty() {
                self.fault("empty_update", "names no field to change");
            }
            self.members(plan, members, Rules { hidden: &[], mask: Some(&mut mask) }, out);
        }
        mask
    }

    /// One value of a path variable or query parameter.
    pub(crate) fn parameter(&mut self, field: &FieldPlan, text: &str, out: &mut Vec<u8>) {
        let bound = match field.kind {
            Kind::Scalar(kind) => scalar::from_text(kind, text),
            Kind::Enum(id) => scalar::from_word(self.plans.enumeration(id), text),
            Kind::WellKnown(WellKnown::Timestamp) => scalar::from_time(text),
            Kind::WellKnown(WellKnown::Wrapper(kind)) => scalar::from_text(kind, text).map(|bound| {
                let mut wrapped = Vec::new();
                bound.put(&mut wrapped, Some(1));
                Bound::Owned(wrapped)
            }),
            Kind::WellKnown(_) | Kind::Message(_) => Err(("invalid_type", "cannot be a parameter".into())),
        };
        self.under(&field.name, |reader| match (reader.bound(bound), field.least_given) {
            // Zero on the wire is an absent parameter, and this one is not absent.
            (Some(Bound::Raw(Raw::Varint(0))), Some(least)) => {
                reader.fault("out_of_range", format!("must be at least {least}"));
            }
            (Some(bound), _) => bound.put(out, Some(field.number)),
            (None, _) => {}
        });
    }

    fn object<'n>(&mut self, node: &'n Node<'n>) -> Option<&'n Members<'n>> {
        match node {
            Node::Object(members) => Some(members),
            _ => self.wrong("invalid_type", "must be an object"),
        }
    }

    fn members(
        &mut self,
        plan: &MessagePlan,
        members: &Members<'_>,
        mut rules: Rules<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut seen = vec![false; plan.fields.len()];
        let mut chosen: Vec<(usize, &str)> = Vec::new();
        for (key, node) in members {
            self.under(key, |reader| {
                let Some(field) = reader.admit(plan, key, node, &mut rules, &mut seen) else {
                    return;
                };
                if node == &Node::Null {
                    return;
                }
                if let Some(oneof) = field.oneof {
                    match chosen.iter().find(|(other, _)| *other == oneof) {
                        Some((_, first)) => {
                            let detail = format!("cannot be given together with {first}");
                            reader.fault("conflicting_fields", detail);
                            return;
                        }
                        None => chosen.push((oneof, &field.name)),
                    }
                }
                reader.field(field, node, out);
            });
        }
    }

    /// Whether a key may stand here; notes the fault when it may not.
    fn admit<'f>(
        &mut self,
        plan: &'f MessagePlan,
        key: &str,
        node: &Node<'_>,
        rules: &mut Rules<'_>,
        seen: &mut [bool],
    ) -> Option<&'f FieldPlan> {
        let Some(index) = plan.index_of(key).filter(|index| !rules.hidden.contains(index)) else {
            return self.wrong("unknown_field", "is not a field of this object");
        };
        let field = &plan.fields[index];
        if std::mem::replace(&mut seen[index], true) {
            return self.wrong("duplicate_key", "is given twice");
        }
        if field.behavior.output_only {
            return self.wrong("read_only", "is set by the server");
        }
        if let Some(mask) = rules.mask.as_deref_mut() {
            if field.behavior.immutable {
                return self.wrong("immutable", "cannot be changed");
            }
            if node == &Node::Null && !field.presence {
                return self.wrong("required", "cannot be cleared");
            }
            mask.push(key.to_owned());
        }
        Some(field)
    }

    fn field(&mut self, field: &FieldPlan, node: &Node<'_>, out: &mut Vec<u8>) {
        match field.shape {
            Shape::Single => self.value(field.kind, node, Some(field.number), out),
            Shape::List => self.list(field, node, out),
            Shape::Map(key) => self.map(field, key, node, out),
        }
    }

    fn list(&mut self, field: &FieldPlan, node: &Node<'_>, out: &mut Vec<u8>) {
        let Node::Array(items) = node else {
            self.fault("invalid_type", "must be an array");
            return;
        };
        let packs = match field.kind {
            Kind::Scalar(scalar) => !matches!(scalar, Scalar::String | Scalar::Bytes),
            Kind::Enum(_) => true,
            Kind::Message(_) | Kind::WellKnown(_) => false,
        };
        let mut packed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.at(index, |reader| {
                if packs {
                    reader.value(field.kind, item, None, &mut packed);
                } else {
                    reader.value(field.kind, item, Some(field.number), out);
                }
            });
        }
        if !packed.is_empty() {
            put_field(out, field.number, Raw::Bytes(&packed));
        }
    }

    fn map(&mut self, field: &FieldPlan, key_kind: Scalar, node: &Node<'_>, out: &mut Vec<u8>) {
        let Some(members) = self.object(node) else {
            return;
        };
        let mut seen = HashSet::with_capacity(members.len());
        for (key, node) in members {
            let fresh = seen.insert(key.as_ref());
            self.under(key, |reader| {
                if !fresh {
                    reader.fault("duplicate_key", "is given twice");
                    return;
                }
                let mut entry = Vec::new();
                if let Some(bound) = reader.bound(scalar::from_text(key_kind, key)) {
                    bound.put(&mut entry, Some(1));
                }
                reader.nested(|reader| reader.value(field.kind, node, Some(2), &mut entry));
                put_field(out, field.number, Raw::Bytes(&entry));
            });
        }
    }

    /// One value, as the field of this number or bare for a packed list.
    fn value(&mut self, kind: Kind, node: &Node<'_>, number: Option<u32>, out: &mut Vec<u8>) {
        let bound = match kind {
            Kind::Scalar(kind) => self.bound(scalar::from_node(kind, node)),
            Kind::Enum(id) => match node {
                Node::String(word) => {
                    let bound = scalar::from_word(self.plans.enumeration(id), word);
                    self.bound(bound)
                }
                _ => self.wrong("invalid_type", "must be a string"),
            },
            Kind::WellKnown(known) => self.known(known, node).map(Bound::Owned),
            Kind::Message(id) => {
                let plans = self.plans;
                let mut inner = Vec::new();
                self.nested(|reader| reader.message(plans.message(id), node, &[], &mut inner));
                Some(Bound::Owned(inner))
            }
        };
        if let Some(bound) = bound {
            bound.put(out, number);
        }
    }

    /// Runs one message deeper, unless that is too deep.
    pub(super) fn nested(&mut self, run: impl FnOnce(&mut Self)) {
        if self.nesting == MAX_NESTING {
            self.fault("too_deep", "nests too deep");
            return;
        }
        self.nesting += 1;
        run(self);
        self.nesting -= 1;
    }

    pub(super) fn bound<'b>(&mut self, bound: Result<Bound<'b>, Wrong>) -> Option<Bound<'b>> {
        match bound {
            Ok(bound) => Some(bound),
            Err((code, detail)) => self.wrong(code, detail),
        }
    }

    /// Notes a fault at the current path and yields nothing.
    pub(super) fn wrong<T>(&mut self, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Option<T> {
        self.fault(code, detail);
        None
    }

    pub(super) fn fault(&mut self, code: &'static str, detail: impl Into<Cow<'static, str>>) {
        let path = self.path.as_str();
        self.faults.add(|| FieldFault::new(path, code, detail.into()));
    }

    /// Runs with the path one member longer.
    pub(super) fn under<T>(&mut self, key: &str, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        push_cut(&mut self.path, key);
        let result = run(self);
        self.path.truncate(length);
        result
    }

    /// Runs with the path one index longer.
    pub(super) fn at<T>(&mut self, index: usize, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        write!(self.path, "[{index}]").expect("writing to a String cannot fail");
        let result = run(self);
        self.path.truncate(length);
        result
    }
}
