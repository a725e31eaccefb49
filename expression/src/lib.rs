//! CEL with bounds: conditions that strangers write and a shared process evaluates.
//!
//! An [`Expression`] is compiled once against a [`Schema`], which says what may be read, of which
//! type and how large it can be, and asked as often as one likes whether it holds for [`Bindings`].
//! The language is a part of CEL: no maps, messages, bytes or unsigned numbers are made, and every
//! type is known when it is compiled. Evaluation is the crate `cel`'s; reading and checking is ours,
//! because every bound must hold before anything recurses or repeats.
//!
//! Invariants: no text overflows the stack, neither while it is compiled nor when it is evaluated
//! or dropped; no accepted expression takes more than [`BUDGET`] steps, whatever is bound; patterns
//! are compiled with their expression and never again; what is not there makes an expression not
//! hold and is no fault.
//!
//! Start at `parser.rs` for what can be written, `check.rs` for what it means, `cost.rs` for what
//! it may cost.

mod ast;
mod bindings;
mod check;
mod cost;
mod fault;
mod lexer;
mod literal;
mod lower;
mod parser;
mod pattern;
mod pinned;
mod schema;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::{ExecutionError, IdedExpr, Value as Evaluated};

pub use bindings::{Bindings, Value};
pub use cost::BUDGET;
pub use fault::{EvalFault, Fault};
pub use pinned::Pinned;
pub use schema::{Field, Schema, Type};

use check::Checker;
use fault::At;
use pattern::Pattern;

/// The longest text that is compiled, in characters.
pub const MAX_LENGTH: usize = 4096;

/// A condition, compiled.
#[derive(Debug)]
pub struct Expression {
    root: IdedExpr,
    patterns: Vec<(String, Pattern)>,
    cost: u64,
}

impl Expression {
    /// Compiles `text`, which must answer with true or false.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn compile(text: &str, schema: &Schema) -> Result<Self, Fault> {
        if text.len() > MAX_LENGTH && text.chars().count() > MAX_LENGTH {
            let message = format!("an expression has at most {MAX_LENGTH} characters");
            return Err(At::new(0, message).within(text));
        }
        let mut checker = Checker::new(schema);
        let answer = parser::parse(text).and_then(|root| checker.answer(&root));
        let answer = answer.map_err(|fault| fault.within(text))?;
        Ok(Self { root: answer.expr, patterns: checker.patterns, cost: answer.cost })
    }

    /// Whether it holds. What it reads and is not there, a key of a map or a field that was not
    /// bound, makes it not hold.
    ///
    /// # Errors
    /// What cannot be known before: a text that is no number, a division by zero, values larger
    /// than the schema says.
    pub fn holds(&self, bindings: &Bindings<'_>) -> Result<bool, EvalFault> {
        if let Some(fault) = bindings.fault() {
            return Err(EvalFault(fault.to_owned()));
        }
        let scope = bindings.scope(&self.patterns);
        // A fault of the evaluator itself must not take those with it who share the process.
        let answer = catch_unwind(AssertUnwindSafe(|| Evaluated::resolve(&self.root, &scope)));
        match answer {
            Ok(Ok(Evaluated::Bool(holds))) => Ok(holds),
            Ok(Ok(_)) => Err(EvalFault("the answer is neither true nor false".to_owned())),
            Ok(Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_))) => Ok(false),
            Ok(Err(error)) => Err(fault::of_evaluation(&error)),
            Err(_) => Err(EvalFault("the evaluator failed".to_owned())),
        }
    }

    /// For which values of a text field it can hold at all.
    #[must_use]
    pub fn pinned(&self, variable: &str, field: &str) -> Pinned {
        pinned::Field { variable, name: field }.pinned(&self.root)
    }

    /// Steps that evaluating it takes at worst; at most [`BUDGET`].
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }
}
