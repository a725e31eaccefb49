//! Types and sizes of the parts of an expression.

use crate::schema::Type;

/// What a part of an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    Bool,
    Int,
    Double,
    Text,
    Time,
    Duration,
    /// Text by text.
    Map,
    /// Of scalars; of nothing at all when empty.
    List(Option<Box<Ty>>),
    /// A declared variable, which is no value by itself.
    Variable(String),
}

impl Ty {
    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int => "a whole number".to_owned(),
            Self::Double => "a number with a fraction".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Time => "a time".to_owned(),
            Self::Duration => "a duration".to_owned(),
            Self::Map => "a map".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Variable(name) => format!("{name} as a whole"),
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Map | Self::List(_) | Self::Variable(_))
    }

    /// Whether values of the two can be equal.
    pub(crate) fn equates(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(Some(a)), Self::List(Some(b))) => a.equates(b),
            (Self::List(_), Self::List(_)) => true,
            _ => self.is_scalar() && (self == other || self.is_number() && other.is_number()),
        }
    }

    /// Whether one can be less than the other.
    pub(crate) fn orders(&self, other: &Self) -> bool {
        self.equates(other) && !matches!(self, Self::Bool | Self::List(_))
    }
}

/// The most that a value can be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    /// Of a scalar, of a list's element, of a map's value.
    pub(crate) bytes: u64,
    /// Of a map's key, in bytes.
    pub(crate) key: u64,
    /// Elements or entries.
    pub(crate) len: u64,
}

/// A character takes four bytes at most.
const CHARACTER: usize = 4;

impl Size {
    pub(crate) fn bytes(bytes: usize) -> Self {
        Self { bytes: bytes as u64, ..Self::default() }
    }

    pub(crate) fn of(declared: Type) -> Self {
        match declared {
            Type::Text { max } => Self::bytes(max * CHARACTER),
            Type::Words(words) => Self::bytes(longest(words) * CHARACTER),
            Type::Map { max, key, value } => {
                Self { bytes: (value * CHARACTER) as u64, key: (key * CHARACTER) as u64, len: max as u64 }
            }
            Type::Bool | Type::Int | Type::Double | Type::Time => Self::default(),
        }
    }

    /// All of it.
    pub(crate) fn total(self) -> u64 {
        match self.len {
            0 => self.bytes,
            len => len.saturating_mul(self.bytes.max(1)),
        }
    }
}

/// Characters of the longest of them; one that is newer than the schema is no longer than that, or a
/// fault when it is bound.
pub(crate) fn longest(words: &[&str]) -> usize {
    words.iter().map(|word| word.chars().count()).max().unwrap_or(0)
}

impl From<Type> for Ty {
    fn from(declared: Type) -> Self {
        match declared {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Double => Self::Double,
            Type::Text { .. } | Type::Words(_) => Self::Text,
            Type::Time => Self::Time,
            Type::Map { .. } => Self::Map,
        }
    }
}
