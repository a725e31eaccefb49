//! The evaluator's tree, as CEL's own macros would write it.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators};

/// Cannot be written, so it hides nothing.
const RESULT: &str = "@result";

fn expr(expr: Expr) -> IdedExpr {
    IdedExpr { id: 1, expr }
}

pub(crate) fn literal(value: LiteralValue) -> IdedExpr {
    expr(Expr::Literal(value))
}

pub(crate) fn name(name: &str) -> IdedExpr {
    expr(Expr::Ident(name.to_owned()))
}

pub(crate) fn list(elements: Vec<IdedExpr>) -> IdedExpr {
    expr(Expr::List(ListExpr::new(elements)))
}

pub(crate) fn select(operand: IdedExpr, field: &str, test: bool) -> IdedExpr {
    expr(Expr::Select(SelectExpr { operand: Box::new(operand), field: field.to_owned(), test }))
}

pub(crate) fn call(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    expr(Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }))
}

pub(crate) fn member(target: IdedExpr, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    expr(Expr::Call(CallExpr { func_name: function.to_owned(), target: Some(Box::new(target)), args }))
}

/// A chain as a tree no deeper than it must be.
pub(crate) fn balanced(operator: &str, mut parts: Vec<IdedExpr>) -> IdedExpr {
    match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        length => {
            let right = balanced(operator, parts.split_off(length / 2));
            let left = balanced(operator, parts);
            call(operator, vec![left, right])
        }
    }
}

/// What a comprehension makes of its elements.
pub(crate) enum Fold {
    All(IdedExpr),
    Exists(IdedExpr),
    ExistsOne(IdedExpr),
    Filter(IdedExpr),
    Map { only: Option<IdedExpr>, to: IdedExpr },
}

pub(crate) fn comprehension(range: IdedExpr, variable: &str, fold: Fold) -> IdedExpr {
    let result = || name(RESULT);
    let so_far = |wanted: IdedExpr| call(operators::NOT_STRICTLY_FALSE, vec![wanted]);
    let always = || literal(LiteralValue::Boolean(true.into()));
    let one = || literal(LiteralValue::Int(1.into()));
    let append = |item: IdedExpr| call(operators::ADD, vec![result(), list(vec![item])]);
    let only = |guard: IdedExpr, step: IdedExpr| call(operators::CONDITIONAL, vec![guard, step, result()]);
    let (init, condition, step, answer) = match fold {
        Fold::All(body) => {
            (always(), so_far(result()), call(operators::LOGICAL_AND, vec![result(), body]), result())
        }
        Fold::Exists(body) => (
            literal(LiteralValue::Boolean(false.into())),
            so_far(call(operators::LOGICAL_NOT, vec![result()])),
            call(operators::LOGICAL_OR, vec![result(), body]),
            result(),
        ),
        Fold::ExistsOne(body) => (
            literal(LiteralValue::Int(0.into())),
            always(),
            only(body, call(operators::ADD, vec![result(), one()])),
            call(operators::EQUALS, vec![result(), one()]),
        ),
        Fold::Filter(body) => (list(Vec::new()), always(), only(body, append(name(variable))), result()),
        Fold::Map { only: None, to } => (list(Vec::new()), always(), append(to), result()),
        Fold::Map { only: Some(guard), to } => {
            (list(Vec::new()), always(), only(guard, append(to)), result())
        }
    };
    expr(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: range,
        iter_var: variable.to_owned(),
        iter_var2: None,
        accu_var: RESULT.to_owned(),
        accu_init: init,
        loop_cond: condition,
        loop_step: step,
        result: answer,
    })))
}
