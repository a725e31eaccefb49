//! Which events a rule counts: an expression over `event`, and what it pins the name to.

use std::sync::LazyLock;

use expression::{Bindings, EvalFault, Expression, Fault, Field, Schema, Type, Value};

use crate::kinds::Severity;

pub use expression::Pinned as Names;

/// An event as expressions may read it; sizes are the limits of the contract's `Event`.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::new().with(
        "event",
        [
            Field::text("id", 255),
            Field::text("service", 63),
            Field::text("name", 255),
            Field::words("severity", Severity::WORDS),
            Field::new("value", Type::Double),
            Field::new("attributes", Type::Map { max: 128, key: 128, value: 4096 }),
            Field::new("time", Type::Time),
            Field::text("dedup_key", 255),
        ],
    )
});

/// A compiled selection.
#[derive(Debug)]
pub struct Selection {
    expression: Expression,
    names: Names,
}

impl Selection {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn compile(source: &str) -> Result<Self, Fault> {
        let expression = Expression::compile(source, &SCHEMA)?;
        let names = expression.pinned("event", "name");
        Ok(Self { expression, names })
    }

    /// Which event names can be selected at all.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Steps that one event takes at worst.
    pub fn cost(&self) -> u64 {
        self.expression.cost()
    }

    /// Whether the event in `scope` is selected. One that lacks what the expression asks for
    /// (a value, an attribute) is not.
    ///
    /// # Errors
    /// What could not be known before: an attribute that is no number, a division by zero.
    pub fn selects(&self, scope: &Scope<'_>) -> Result<bool, EvalFault> {
        self.expression.holds(&scope.0)
    }
}

/// One event as expressions see it; made once for all rules of an event.
pub struct Scope<'a>(Bindings<'a>);

impl<'a> Scope<'a> {
    /// The scope in which `event` has these fields.
    pub fn new(fields: impl IntoIterator<Item = (&'static str, Value<'a>)>) -> Self {
        Self(Bindings::new().with(&SCHEMA, "event", fields))
    }
}

#[cfg(test)]
mod tests;
