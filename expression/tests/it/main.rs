//! Expressions over a message that is nobody's.

mod bounds;
mod faithful;
mod language;
mod messages;
mod pinned;
mod words;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::DateTime;
use expression::{Bindings, EvalFault, Expression, Fault, Field, Schema, Type, Value};

pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::new().with(
        "message",
        [
            Field::text("kind", 255),
            Field::new("value", Type::Double),
            Field::new("count", Type::Int),
            Field::new("urgent", Type::Bool),
            Field::words("colour", &["red", "amber", "green"]),
            Field::new("at", Type::Time),
            Field::new("tags", Type::Map { max: 128, key: 128, value: 4096 }),
        ],
    )
});

/// A message, and what is bound of it.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: String,
    pub value: Option<f64>,
    pub count: i64,
    pub tags: BTreeMap<String, String>,
}

impl Message {
    pub fn sample() -> Self {
        let tags = [("region", "eu"), ("tier", "2"), ("text", "disk 7 is full")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Self { kind: "disk.full".to_owned(), value: Some(4.5), count: 7, tags }
    }

    pub fn bound(&self) -> Bindings<'_> {
        let at = DateTime::from_timestamp(1_767_225_600, 0).expect("2026-01-01, a Thursday");
        let fields = [
            Some(("kind", Value::Text(&self.kind))),
            self.value.map(|value| ("value", Value::Double(value))),
            Some(("count", Value::Int(self.count))),
            Some(("urgent", Value::Bool(true))),
            Some(("colour", Value::Text("amber"))),
            Some(("at", Value::Time(at))),
            Some(("tags", Value::Map(&self.tags))),
        ];
        Bindings::new().with(&SCHEMA, "message", fields.into_iter().flatten())
    }
}

pub fn compile(text: &str) -> Result<Expression, Fault> {
    Expression::compile(text, &SCHEMA)
}

pub fn holds(text: &str) -> Result<bool, EvalFault> {
    let expression = compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    expression.holds(&Message::sample().bound())
}
