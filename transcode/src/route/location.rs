//! Where a created thing stands.

use super::{Output, is_plain};
use crate::operation::Operation;
use crate::plan::{Kind, MessageId, MessagePlan, Plans, Shape};
use crate::template::Segment;

/// The path of a created thing.
pub(crate) struct Location(pub(crate) Vec<LocationPart>);

pub(crate) enum LocationPart {
    Literal(String),
    /// The request's path variable of this position.
    Variable(usize),
    /// A field of the answer: indexes from the output inwards.
    Answer(Vec<usize>),
}

impl Location {
    /// The matching Get's path with the answer's values; nothing without a Get, for nothing answers there.
    pub(super) fn plan(
        operation: &Operation,
        operations: &[Operation],
        output: Output,
        plans: &Plans,
    ) -> Option<Self> {
        let thing = operation.descriptor.name().strip_prefix("Create")?;
        let Output::Message(answer) = output else {
            return None;
        };
        let variables = operation.path_variables();
        let value = |name: &str| {
            let position = variables.iter().position(|variable| *variable == name);
            position.map(LocationPart::Variable).or_else(|| answer_field(plans, answer, name))
        };
        let get = operations.iter().find(|other| {
            other.service == operation.service
                && other.descriptor.name().strip_prefix("Get") == Some(thing)
                && other.is_documented()
        });
        let template = &get?.http.as_ref()?.template;
        let id = |name: &str| value(name).or_else(|| answer_field(plans, answer, "id"));
        parts(template.segments(), &id).map(Self)
    }
}

fn parts(segments: &[Segment], value: &dyn Fn(&str) -> Option<LocationPart>) -> Option<Vec<LocationPart>> {
    let part = |segment: &Segment| match segment {
        Segment::Literal(text) => Some(LocationPart::Literal(text.clone())),
        Segment::Variable(name) => value(name),
    };
    segments.iter().map(part).collect()
}

/// A field of the answer, or of the first message in it that has one: `{key: {id}, secret}`.
fn answer_field(plans: &Plans, answer: MessageId, name: &str) -> Option<LocationPart> {
    let plan = plans.message(answer);
    let plain = |plan: &MessagePlan| plan.index_of(name).filter(|i| is_plain(&plan.fields[*i]));
    if let Some(index) = plain(plan) {
        return Some(LocationPart::Answer(vec![index]));
    }
    plan.fields.iter().enumerate().find_map(|(outer, field)| {
        let (Kind::Message(id), Shape::Single) = (field.kind, field.shape) else {
            return None;
        };
        plain(plans.message(id)).map(|inner| LocationPart::Answer(vec![outer, inner]))
    })
}
