//! Which events a rule counts: a CEL expression, compiled once, and what it pins the name to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::{Context, ExecutionError, Program, Value};

use super::event;

/// Comprehensions (`all`, `exists`, `map`, `filter`) inside one another at most: with 128
/// attributes each level multiplies the work by 128.
const MAX_DEPTH: usize = 2;

const FIELDS: [&str; 8] = ["id", "service", "name", "severity", "value", "attributes", "time", "dedup_key"];

const FUNCTIONS: [&str; 24] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "dyn",
    "type",
    "duration",
    "timestamp",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
];

/// Registers every function, which costs more than a thousand evaluations: made once.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(Context::default);

/// A compiled selection.
#[derive(Debug)]
pub struct Selection {
    program: Program,
    names: Names,
}

/// Which event names can be selected at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Any,
    Only(BTreeSet<String>),
}

/// What is wrong with an expression, and where (line and column from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    pub line: usize,
    pub column: usize,
    pub detail: String,
}

impl fmt::Display for BadExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.detail)
    }
}

impl Selection {
    /// Compiles `source` and checks what can be known without events: syntax, names of variables,
    /// fields and functions, depth, and that the answer is a boolean.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn compile(source: &str) -> Result<Self, BadExpression> {
        let program = Program::compile(source).map_err(|errors| parse_error(&errors))?;
        let mut bound = Vec::new();
        check(program.expression(), &mut bound, 0).map_err(|fault| fault.at(&program, source))?;
        let names = names(program.expression());
        let selection = Self { program, names };
        selection.answers_a_boolean()?;
        Ok(selection)
    }

    /// Which event names can be selected at all.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether the event in `scope` is selected. One that lacks what the expression asks for
    /// (a value, an attribute) is not.
    ///
    /// # Errors
    /// What else went wrong: types that do not fit, a bad pattern.
    pub fn selects(&self, scope: &Scope) -> Result<bool, ExecutionError> {
        match self.program.execute(&scope.0) {
            Ok(Value::Bool(selected)) => Ok(selected),
            Ok(other) => Err(ExecutionError::UnexpectedType {
                got: other.type_of().to_string(),
                want: "bool".to_owned(),
            }),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tried on a made-up event: an answer of another type shows now and not in the night.
    fn answers_a_boolean(&self) -> Result<(), BadExpression> {
        let detail = match self.program.execute(&Scope::new(event::sample()).0) {
            Ok(Value::Bool(_)) => return Ok(()),
            Ok(other) => format!("must be true or false, not {}", other.type_of()),
            // The types of an event's fields are fixed: what does not fit here never fits.
            Err(
                ExecutionError::UnsupportedBinaryOperator(..)
                | ExecutionError::ValuesNotComparable(..)
                | ExecutionError::NoSuchOverload(_),
            ) => "its types do not fit together; numbers with a fraction are written 1.0".to_owned(),
            Err(_) => return Ok(()),
        };
        Err(BadExpression { line: 1, column: 1, detail })
    }
}

/// One event as expressions see it; made once for all rules of an event.
pub struct Scope(Context<'static, 'static>);

impl Scope {
    /// The scope in which `event` is this value.
    pub fn new(event: Value) -> Self {
        let mut scope = ROOT.new_inner_scope();
        scope.add_variable_from_value("event", event);
        Self(scope)
    }
}

struct Fault {
    id: u64,
    detail: String,
}

impl Fault {
    fn new(id: u64, detail: impl Into<String>) -> Self {
        Self { id, detail: detail.into() }
    }

    fn at(self, program: &Program, source: &str) -> BadExpression {
        let start = program.source_info().offset_for(self.id).map_or(0, |(start, _)| start as usize);
        let before: String = source.chars().take(start).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        BadExpression { line, column, detail: self.detail }
    }
}

fn parse_error(errors: &cel::ParseErrors) -> BadExpression {
    let Some(first) = errors.errors.first() else {
        return BadExpression { line: 1, column: 1, detail: "is no expression".to_owned() };
    };
    let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    BadExpression { line: place(first.pos.0), column: place(first.pos.1), detail: first.msg.clone() }
}

/// `bound` holds the variables of the comprehensions around `expr`.
fn check<'e>(expr: &'e IdedExpr, bound: &mut Vec<&'e str>, depth: usize) -> Result<(), Fault> {
    match &expr.expr {
        Expr::Unspecified | Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if name == "event" || bound.contains(&name.as_str()) => Ok(()),
        Expr::Ident(name) => Err(Fault::new(expr.id, format!("there is no variable {name}; there is event"))),
        Expr::Select(select) => {
            let of_event = matches!(&select.operand.expr, Expr::Ident(name) if name == "event" && !bound.contains(&"event"));
            if of_event && !FIELDS.contains(&select.field.as_str()) {
                let detail = format!("event has no field {}; it has {}", select.field, FIELDS.join(", "));
                return Err(Fault::new(expr.id, detail));
            }
            check(&select.operand, bound, depth)
        }
        Expr::Call(call) => check_call(expr.id, call, bound, depth),
        Expr::List(list) => list.elements.iter().try_for_each(|item| check(item, bound, depth)),
        Expr::Map(_) | Expr::Struct(_) => Err(Fault::new(expr.id, "maps and messages cannot be made here")),
        Expr::Comprehension(inner) => {
            if depth == MAX_DEPTH {
                let detail = format!("at most {MAX_DEPTH} of all, exists, map and filter inside one another");
                return Err(Fault::new(expr.id, detail));
            }
            check(&inner.iter_range, bound, depth)?;
            let outside = bound.len();
            bound.extend([inner.iter_var.as_str(), inner.accu_var.as_str()]);
            bound.extend(inner.iter_var2.as_deref());
            let parts = [&inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result];
            parts.into_iter().try_for_each(|part| check(part, bound, depth + 1))?;
            bound.truncate(outside);
            Ok(())
        }
    }
}

fn check_call<'e>(id: u64, call: &'e CallExpr, bound: &mut Vec<&'e str>, depth: usize) -> Result<(), Fault> {
    let name = call.func_name.as_str();
    let operator = name.starts_with(['_', '!', '-', '@']);
    if !operator && !FUNCTIONS.contains(&name) {
        return Err(Fault::new(id, format!("there is no function {name}")));
    }
    if let Some(target) = &call.target {
        check(target, bound, depth)?;
    }
    call.args.iter().try_for_each(|argument| check(argument, bound, depth))
}

/// Sound: when the event's name is not among the names, the expression is not true.
fn names(expr: &IdedExpr) -> Names {
    let Expr::Call(call) = &expr.expr else { return Names::Any };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::EQUALS, [a, b]) if is_event_name(a) => literal(b),
        (operators::EQUALS, [a, b]) if is_event_name(b) => literal(a),
        (operators::IN, [a, b]) if is_event_name(a) => literals(b),
        (operators::LOGICAL_AND, parts) => parts.iter().map(names).fold(Names::Any, both),
        (operators::LOGICAL_OR, parts) => parts.iter().map(names).fold(Names::Only(BTreeSet::new()), either),
        _ => Names::Any,
    }
}

fn is_event_name(expr: &IdedExpr) -> bool {
    let Expr::Select(select) = &expr.expr else { return false };
    let of_event = matches!(&select.operand.expr, Expr::Ident(name) if name == "event");
    of_event && select.field == "name" && !select.test
}

fn text(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

fn literal(expr: &IdedExpr) -> Names {
    text(expr).map_or(Names::Any, |name| Names::Only(BTreeSet::from([name])))
}

fn literals(expr: &IdedExpr) -> Names {
    let Expr::List(list) = &expr.expr else { return Names::Any };
    let texts: Option<BTreeSet<String>> = list.elements.iter().map(text).collect();
    texts.map_or(Names::Any, Names::Only)
}

fn both(a: Names, b: Names) -> Names {
    match (a, b) {
        (Names::Any, other) | (other, Names::Any) => other,
        (Names::Only(a), Names::Only(b)) => Names::Only(&a & &b),
    }
}

fn either(a: Names, b: Names) -> Names {
    match (a, b) {
        (Names::Any, _) | (_, Names::Any) => Names::Any,
        (Names::Only(a), Names::Only(b)) => Names::Only(&a | &b),
    }
}

#[cfg(test)]
mod tests;
