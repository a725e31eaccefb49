//! Which values of a field an expression can be true for at all: what an index over many
//! expressions is made of.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

/// The values of a field that an expression can hold for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It may hold whatever the field is.
    Any,
    /// It does not hold for any other.
    Only(BTreeSet<String>),
}

pub(crate) struct Field<'a> {
    pub(crate) variable: &'a str,
    pub(crate) name: &'a str,
}

impl Field<'_> {
    /// Sound: when the field's value is not among the answer, `expr` is not true.
    pub(crate) fn pinned(&self, expr: &IdedExpr) -> Pinned {
        let Expr::Call(call) = &expr.expr else { return Pinned::Any };
        let all = || call.args.iter().map(|part| self.pinned(part));
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::EQUALS, [a, b]) if self.is_read_by(a) => literal(b),
            (operators::EQUALS, [a, b]) if self.is_read_by(b) => literal(a),
            (operators::IN, [a, b]) if self.is_read_by(a) => literals(b),
            (operators::LOGICAL_AND, _) => all().fold(Pinned::Any, both),
            (operators::LOGICAL_OR, _) => all().fold(Pinned::Only(BTreeSet::new()), either),
            _ => Pinned::Any,
        }
    }

    fn is_read_by(&self, expr: &IdedExpr) -> bool {
        let Expr::Select(select) = &expr.expr else { return false };
        let of_variable = matches!(&select.operand.expr, Expr::Ident(name) if name == self.variable);
        of_variable && select.field == self.name && !select.test
    }
}

fn text(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

fn literal(expr: &IdedExpr) -> Pinned {
    text(expr).map_or(Pinned::Any, |value| Pinned::Only(BTreeSet::from([value])))
}

fn literals(expr: &IdedExpr) -> Pinned {
    let Expr::List(list) = &expr.expr else { return Pinned::Any };
    let texts: Option<BTreeSet<String>> = list.elements.iter().map(text).collect();
    texts.map_or(Pinned::Any, Pinned::Only)
}

fn both(a: Pinned, b: Pinned) -> Pinned {
    match (a, b) {
        (Pinned::Any, other) | (other, Pinned::Any) => other,
        (Pinned::Only(a), Pinned::Only(b)) => Pinned::Only(&a & &b),
    }
}

fn either(a: Pinned, b: Pinned) -> Pinned {
    match (a, b) {
        (Pinned::Any, _) | (_, Pinned::Any) => Pinned::Any,
        (Pinned::Only(a), Pinned::Only(b)) => Pinned::Only(&a | &b),
    }
}
