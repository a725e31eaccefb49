//! Types, sizes and cost of an expression, found while it is written down for the evaluator.

mod calls;
mod comprehensions;
mod functions;
mod operations;
mod words;

use cel::IdedExpr;
use cel::common::ast::{LiteralValue, operators};

use crate::ast::{Kind, Node};
use crate::cost;
use crate::fault::{At, Read};
use crate::lower;
use crate::pattern::Pattern;
use crate::schema::Schema;
use crate::types::{Size, Ty};

/// A part, checked.
pub(crate) struct Checked {
    pub(crate) ty: Ty,
    pub(crate) size: Size,
    /// In steps.
    pub(crate) cost: u64,
    /// Of text that is read from a field which lists them: the only words that it can be.
    pub(crate) words: Option<&'static [&'static str]>,
    pub(crate) expr: IdedExpr,
}

impl Checked {
    fn new(ty: Ty, cost: u64, expr: IdedExpr) -> Self {
        Self { ty, size: Size::default(), cost: cost.saturating_add(cost::NODE), words: None, expr }
    }

    fn sized(self, size: Size) -> Self {
        Self { size, ..self }
    }
}

pub(crate) struct Checker<'s> {
    schema: &'s Schema,
    /// The variables of the comprehensions around.
    bound: Vec<(String, Ty, Size)>,
    /// By the names under which the evaluator finds them.
    pub(crate) patterns: Vec<(String, Pattern)>,
    /// Characters in them.
    pattern_length: usize,
}

impl<'s> Checker<'s> {
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self { schema, bound: Vec::new(), patterns: Vec::new(), pattern_length: 0 }
    }

    /// The whole expression.
    pub(crate) fn answer(&mut self, root: &Node) -> Read<Checked> {
        let checked = self.check(root)?;
        match checked.ty {
            Ty::Bool => Ok(checked),
            ty => Err(At::new(root.at, format!("the answer must be true or false, not {}", ty.name()))),
        }
    }

    fn check(&mut self, node: &Node) -> Read<Checked> {
        let checked = match &node.kind {
            Kind::Bool(value) => scalar(Ty::Bool, LiteralValue::Boolean((*value).into())),
            Kind::Int(value) => scalar(Ty::Int, LiteralValue::Int((*value).into())),
            Kind::Double(value) => scalar(Ty::Double, LiteralValue::Double((*value).into())),
            Kind::Text(text) => {
                scalar(Ty::Text, LiteralValue::String(text.clone().into())).sized(Size::bytes(text.len()))
            }
            Kind::Name(name) => self.name(node.at, name)?,
            Kind::Field(target, field) => self.field(node.at, target, field, false)?,
            Kind::Index(target, index) => self.index(node.at, target, index)?,
            Kind::Call { target, function, args } => self.call(node.at, target.as_deref(), function, args)?,
            Kind::Not(operand) => {
                let inner = self.truth(operand, "`!`")?;
                Checked::new(Ty::Bool, inner.cost, lower::call(operators::LOGICAL_NOT, vec![inner.expr]))
            }
            Kind::Negate(operand) => self.negate(node.at, operand)?,
            Kind::Binary(operator, left, right) => self.binary(node.at, operator, left, right)?,
            Kind::Logic(operator, parts) => self.logic(operator, parts)?,
            Kind::If(parts) => self.conditional(parts)?,
            Kind::List(items) => self.list(items)?,
        };
        if checked.cost > cost::BUDGET {
            let message = format!(
                "this is too much work: {} steps at worst, where {} are allowed; go over less or compare less",
                checked.cost,
                cost::BUDGET
            );
            return Err(At::new(node.at, message));
        }
        Ok(checked)
    }

    /// A part that `of` needs to be true or false.
    fn truth(&mut self, node: &Node, of: &str) -> Read<Checked> {
        let checked = self.check(node)?;
        match checked.ty {
            Ty::Bool => Ok(checked),
            ty => Err(At::new(node.at, format!("{of} takes true or false, not {}", ty.name()))),
        }
    }

    fn name(&self, at: usize, name: &str) -> Read<Checked> {
        if let Some((_, ty, size)) = self.bound.iter().rfind(|(bound, ..)| bound == name) {
            return Ok(Checked::new(ty.clone(), 0, lower::name(name)).sized(*size));
        }
        if self.schema.fields(name).is_some() {
            return Ok(Checked::new(Ty::Variable(name.to_owned()), 0, lower::name(name)));
        }
        let mut names = self.schema.names();
        names.extend(self.bound.iter().map(|(name, ..)| name.as_str()));
        let there = names.join(", ");
        let message = format!("there is no variable {name}, only {there}; text needs quotes: \"{name}\"");
        Err(At::new(at, message))
    }

    /// `target.field`, or whether it is there.
    fn field(&mut self, at: usize, target: &Node, field: &str, test: bool) -> Read<Checked> {
        let Checked { ty, size, cost, expr, .. } = self.check(target)?;
        let (held, held_size, words) = match &ty {
            Ty::Map => (Ty::Text, Size { bytes: size.bytes, ..Size::default() }, None),
            Ty::Variable(variable) => match self.schema.field(variable, field) {
                Some(field) => (field.of().into(), Size::of(field.of()), field.listed()),
                None => return Err(At::new(at, self.no_field(variable, field))),
            },
            other => return Err(At::new(at, format!("{} has no fields", other.name()))),
        };
        let expr = lower::select(expr, field, test);
        let (held, held_size, words) =
            if test { (Ty::Bool, Size::default(), None) } else { (held, held_size, words) };
        Ok(Checked { words, ..Checked::new(held, cost + cost::NODE, expr).sized(held_size) })
    }

    fn no_field(&self, variable: &str, field: &str) -> String {
        let fields = self.schema.fields(variable).unwrap_or_default();
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        format!("{variable} has no field {field}; it has {}", names.join(", "))
    }

    fn index(&mut self, at: usize, target: &Node, index: &Node) -> Read<Checked> {
        let (of, by) = (self.check(target)?, self.check(index)?);
        let held = match (&of.ty, &by.ty) {
            (Ty::Map, Ty::Text) => Ty::Text,
            (Ty::List(Some(held)), Ty::Int) => (**held).clone(),
            (Ty::List(None), _) => return Err(At::new(at, "this list is empty")),
            (Ty::Map, by) => {
                return Err(At::new(at, format!("a map is indexed by text, not by {}", by.name())));
            }
            (Ty::List(_), by) => {
                return Err(At::new(
                    at,
                    format!("a list is indexed by a whole number, not by {}", by.name()),
                ));
            }
            (Ty::Variable(name), _) => {
                return Err(At::new(at, format!("fields of {name} are written {name}.field")));
            }
            (of, _) => return Err(At::new(at, format!("{} cannot be indexed", of.name()))),
        };
        let size = Size { bytes: of.size.bytes, ..Size::default() };
        let cost = of.cost + by.cost + cost::compare(by.size);
        Ok(Checked::new(held, cost, lower::call(operators::INDEX, vec![of.expr, by.expr])).sized(size))
    }

    fn list(&mut self, items: &[Node]) -> Read<Checked> {
        let (mut held, mut size, mut cost) = (None::<Ty>, Size::default(), 0_u64);
        let mut elements = Vec::with_capacity(items.len());
        for item in items {
            let element = self.check(item)?;
            if !element.ty.is_scalar() {
                let message = format!("a list holds text, numbers and the like, not {}", element.ty.name());
                return Err(At::new(item.at, message));
            }
            match &held {
                Some(first) if *first != element.ty => {
                    let (first, other) = (first.name(), element.ty.name());
                    let message = format!("a list holds values of one type; this is {other} after {first}");
                    return Err(At::new(item.at, message));
                }
                _ => held = Some(element.ty),
            }
            size.bytes = size.bytes.max(element.size.bytes);
            cost = cost.saturating_add(element.cost).saturating_add(cost::compare(element.size));
            elements.push(element.expr);
        }
        size.len = items.len() as u64;
        Ok(Checked::new(Ty::List(held.map(Box::new)), cost, lower::list(elements)).sized(size))
    }
}

fn scalar(ty: Ty, value: LiteralValue) -> Checked {
    Checked::new(ty, 0, lower::literal(value))
}
