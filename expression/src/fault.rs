//! What is wrong with an expression, said to the person who wrote it.

use std::fmt;

use cel::ExecutionError;

/// Why a text is refused, and where. `Display` is `line 1, column 9: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong and, where it is known, what to write instead.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for Fault {}

/// Why an expression could not be evaluated on these values. What is merely not there is no fault:
/// then the expression does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalFault(pub(crate) String);

impl fmt::Display for EvalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EvalFault {}

/// A fault at a byte of the text.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl At {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    pub(crate) fn within(self, text: &str) -> Fault {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Fault { message: self.message, line, column }
    }
}

/// What a part of the text makes of itself.
pub(crate) type Read<T> = Result<T, At>;

/// The evaluator's word for people; values are not repeated beyond what a log line bears.
pub(crate) fn of_evaluation(error: &ExecutionError) -> EvalFault {
    EvalFault(match error {
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number or a time grows beyond its limits".to_owned(),
        ExecutionError::FunctionError { function, message } => {
            format!("{function}: {}", message.chars().take(200).collect::<String>())
        }
        other => other.to_string().chars().take(200).collect(),
    })
}
