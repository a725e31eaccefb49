//! Operators and `?:`.

use cel::common::ast::operators;

use super::{Checked, Checker, words};
use crate::ast::Node;
use crate::cost;
use crate::fault::{At, Read};
use crate::lower;
use crate::types::{Size, Ty};

/// Text never grows beyond this, in bytes.
const LONGEST: u64 = 64 << 10;

impl Checker<'_> {
    pub(super) fn negate(&mut self, at: usize, operand: &Node) -> Read<Checked> {
        let inner = self.check(operand)?;
        if !inner.ty.is_number() {
            return Err(At::new(at, format!("`-` takes a number, not {}", inner.ty.name())));
        }
        Ok(Checked::new(inner.ty, inner.cost, lower::call(operators::NEGATE, vec![inner.expr])))
    }

    pub(super) fn logic(&mut self, operator: &str, parts: &[Node]) -> Read<Checked> {
        let (mut cost, mut exprs) = (0_u64, Vec::with_capacity(parts.len()));
        for part in parts {
            let part = self.truth(part, &format!("`{operator}`"))?;
            cost = cost.saturating_add(part.cost).saturating_add(cost::NODE);
            exprs.push(part.expr);
        }
        let name = if operator == "&&" { operators::LOGICAL_AND } else { operators::LOGICAL_OR };
        Ok(Checked::new(Ty::Bool, cost, lower::balanced(name, exprs)))
    }

    pub(super) fn conditional(&mut self, [condition, then, otherwise]: &[Node; 3]) -> Read<Checked> {
        let condition = self.truth(condition, "what stands before `?`")?;
        let (a, b) = (self.check(then)?, self.check(otherwise)?);
        if a.ty != b.ty || !a.ty.is_scalar() {
            let message = format!(
                "both sides of `:` must be text, numbers or the like of one type, not {} and {}",
                a.ty.name(),
                b.ty.name()
            );
            return Err(At::new(otherwise.at, message));
        }
        let cost = condition.cost.saturating_add(a.cost.max(b.cost));
        let size = if a.size.bytes > b.size.bytes { a.size } else { b.size };
        let expr = lower::call(operators::CONDITIONAL, vec![condition.expr, a.expr, b.expr]);
        Ok(Checked::new(a.ty, cost, expr).sized(size))
    }

    pub(super) fn binary(&mut self, at: usize, operator: &str, left: &Node, right: &Node) -> Read<Checked> {
        let (a, b) = (self.check(left)?, self.check(right)?);
        words::compared(at, operator, (left, a.words), (right, b.words))?;
        let cost = a.cost.saturating_add(b.cost).saturating_add(cost::NODE);
        let smaller = if a.size.total() < b.size.total() { a.size } else { b.size };
        let (ty, size, extra) = match operator {
            "==" | "!=" if a.ty.equates(&b.ty) => (Ty::Bool, Size::default(), cost::compare(smaller)),
            "<" | "<=" | ">" | ">=" if a.ty.orders(&b.ty) => {
                (Ty::Bool, Size::default(), cost::compare(smaller) + cost::NODE)
            }
            "in" => (
                Ty::Bool,
                Size::default(),
                membership(&a, &b).ok_or_else(|| At::new(at, misfit(operator, &a.ty, &b.ty)))?,
            ),
            "+" if (&a.ty, &b.ty) == (&Ty::Text, &Ty::Text) => {
                let bytes = a.size.bytes + b.size.bytes;
                if bytes > LONGEST {
                    return Err(At::new(at, format!("this text may grow beyond {LONGEST} bytes")));
                }
                let size = Size { bytes, ..Size::default() };
                (Ty::Text, size, 2 * cost::compare(size))
            }
            _ => match arithmetic(operator, &a.ty, &b.ty) {
                Some(ty) => (ty, Size::default(), 0),
                None => return Err(At::new(at, misfit(operator, &a.ty, &b.ty))),
            },
        };
        let expr = lower::call(operators::find_operator(operator).unwrap_or(operator), vec![a.expr, b.expr]);
        Ok(Checked::new(ty, cost.saturating_add(extra), expr).sized(size))
    }
}

/// The cost of looking for one in the other; `None` when it cannot be there.
fn membership(a: &Checked, b: &Checked) -> Option<u64> {
    match (&a.ty, &b.ty) {
        (Ty::Text, Ty::Map) => Some(cost::search(a.size.bytes) + cost::NODE),
        (one, Ty::List(None)) if one.is_scalar() => Some(cost::NODE),
        (one, Ty::List(Some(held))) if one.is_scalar() && one.equates(held) => {
            let each = a.size.bytes.min(b.size.bytes);
            Some(cost::compare(Size { bytes: each, len: b.size.len, ..Size::default() }))
        }
        _ => None,
    }
}

fn arithmetic(operator: &str, a: &Ty, b: &Ty) -> Option<Ty> {
    match (operator, a, b) {
        ("+" | "-" | "*" | "/" | "%", Ty::Int, Ty::Int) => Some(Ty::Int),
        ("+" | "-" | "*" | "/", Ty::Double, Ty::Double) => Some(Ty::Double),
        ("+" | "-", Ty::Duration, Ty::Duration) | ("-", Ty::Time, Ty::Time) => Some(Ty::Duration),
        ("+" | "-", Ty::Time, Ty::Duration) => Some(Ty::Time),
        _ => None,
    }
}

fn misfit(operator: &str, a: &Ty, b: &Ty) -> String {
    let hint = match (operator, a, b) {
        ("in", _, Ty::Text) => "; for a part of a text, write text.contains(part)",
        ("in", _, _) => "; it looks for a value in a list of such values, or for a key in a map",
        (_, Ty::Text, b) | (_, b, Ty::Text) if b.is_number() => {
            "; put the number in quotes, or read the text as a number with double(…)"
        }
        (_, Ty::Text, Ty::Time) | (_, Ty::Time, Ty::Text) => {
            "; a time is written timestamp(\"2026-01-31T08:00:00Z\")"
        }
        (_, Ty::Text, Ty::Duration) | (_, Ty::Duration, Ty::Text) => {
            "; a duration is written duration(\"90s\")"
        }
        (_, Ty::Text, Ty::Bool) | (_, Ty::Bool, Ty::Text) => "; put true or false in quotes",
        (_, a, b) if a.is_number() && b.is_number() && operator != "%" => {
            "; write the whole number with a fraction, as in 1.0, or convert with int(…) or double(…)"
        }
        _ => "",
    };
    format!("`{operator}` does not fit {} and {}{hint}", a.name(), b.name())
}
