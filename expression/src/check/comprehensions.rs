//! `all`, `exists`, `exists_one`, `filter` and `map`.

use super::{Checked, Checker};
use crate::ast::{Kind, Node};
use crate::cost;
use crate::fault::{At, Read};
use crate::lower::{self, Fold};
use crate::types::{Size, Ty};

/// Inside one another at most.
const MAX_DEPTH: usize = 2;

/// Elements of a written list that a comprehension goes over.
const MAX_LITERAL: usize = 64;

pub(super) const NAMES: [&str; 5] = ["all", "exists", "exists_one", "filter", "map"];

impl Checker<'_> {
    /// `range.function(variable, body)`.
    pub(super) fn comprehension(
        &mut self,
        at: usize,
        range: &Node,
        function: &str,
        args: &[Node],
    ) -> Read<Checked> {
        let (variable, bodies) = match args {
            [variable, body] => (variable, [Some(body), None]),
            [variable, only, to] if function == "map" => (variable, [Some(to), Some(only)]),
            _ => return Err(At::new(at, usage(function))),
        };
        let Kind::Name(name) = &variable.kind else { return Err(At::new(variable.at, usage(function))) };
        let over = self.range(at, range, function)?;
        let (of, element) = match &over.ty {
            Ty::List(held) => (held.as_deref().cloned().unwrap_or(Ty::Int), over.size.bytes),
            _ => (Ty::Text, over.size.key),
        };
        let element = Size { bytes: element, ..Size::default() };
        self.bind(variable.at, at, name, of.clone(), element)?;
        let parts = bodies.map(|body| body.map(|body| self.body(body, function)));
        self.bound.pop();
        let [Some(body), only] = parts else { return Err(At::new(at, usage(function))) };
        let (body, only) = (body?, only.transpose()?);
        if let Some(only) = &only
            && only.ty != Ty::Bool
        {
            return Err(At::new(args[1].at, "the condition of map must be true or false"));
        }
        let each = only.as_ref().map_or(0, |only| only.cost).saturating_add(body.cost);
        let kept = if function == "map" { body.size } else { element };
        let each = each.saturating_add(cost::ELEMENT + cost::compare(element) + 2 * cost::compare(kept));
        let cost = over.size.len.saturating_mul(each).saturating_add(over.cost);
        let (ty, size) = match function {
            "filter" => (Ty::List(Some(Box::new(of))), Size { len: over.size.len, ..element }),
            "map" => (Ty::List(Some(Box::new(body.ty))), Size { len: over.size.len, ..body.size }),
            _ => (Ty::Bool, Size::default()),
        };
        let fold = fold(function, body.expr, only.map(|only| only.expr));
        Ok(Checked::new(ty, cost, lower::comprehension(over.expr, name, fold)).sized(size))
    }

    fn range(&mut self, at: usize, range: &Node, function: &str) -> Read<Checked> {
        if let Kind::List(items) = &range.kind
            && items.len() > MAX_LITERAL
        {
            let message = format!("{function} goes over at most {MAX_LITERAL} written values");
            return Err(At::new(range.at, message));
        }
        let over = self.check(range)?;
        match over.ty {
            Ty::List(_) | Ty::Map => Ok(over),
            ty => Err(At::new(at, format!("{function} goes over a map or a list, not over {}", ty.name()))),
        }
    }

    fn bind(&mut self, at: usize, function: usize, name: &str, of: Ty, size: Size) -> Read<()> {
        if self.bound.len() == MAX_DEPTH {
            let names = NAMES.join(", ");
            return Err(At::new(
                function,
                format!("at most {MAX_DEPTH} of {names} may stand inside one another"),
            ));
        }
        if self.schema.fields(name).is_some() || self.bound.iter().any(|(bound, ..)| bound == name) {
            return Err(At::new(at, format!("{name} is there already; take another name")));
        }
        self.bound.push((name.to_owned(), of, size));
        Ok(())
    }

    fn body(&mut self, body: &Node, function: &str) -> Read<Checked> {
        if function != "map" {
            return self.truth(body, &format!("what {function} asks"));
        }
        let checked = self.check(body)?;
        if checked.ty.is_scalar() {
            return Ok(checked);
        }
        Err(At::new(body.at, format!("map makes text, numbers and the like, not {}", checked.ty.name())))
    }
}

fn fold(function: &str, body: cel::IdedExpr, only: Option<cel::IdedExpr>) -> Fold {
    match function {
        "all" => Fold::All(body),
        "exists" => Fold::Exists(body),
        "exists_one" => Fold::ExistsOne(body),
        "filter" => Fold::Filter(body),
        _ => Fold::Map { only, to: body },
    }
}

fn usage(function: &str) -> String {
    format!("{function} is written {}; the name stands for each of them in turn", written(function))
}

/// How it is written.
pub(super) fn written(function: &str) -> String {
    let body = if function == "map" { "value" } else { "condition" };
    format!("many.{function}(name, {body})")
}
