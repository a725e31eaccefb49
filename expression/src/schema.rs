//! What an expression may read, of which type, and how large that can be.

/// The variables that are there.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    variables: Vec<(String, Vec<Field>)>,
}

impl Schema {
    /// One without variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable of these fields, in the order in which messages list them.
    #[must_use]
    pub fn with(mut self, name: &str, fields: impl IntoIterator<Item = Field>) -> Self {
        self.variables.push((name.to_owned(), fields.into_iter().collect()));
        self
    }

    pub(crate) fn fields(&self, variable: &str) -> Option<&[Field]> {
        self.variables.iter().find(|(name, _)| name == variable).map(|(_, fields)| fields.as_slice())
    }

    pub(crate) fn field(&self, variable: &str, name: &str) -> Option<&Field> {
        self.fields(variable)?.iter().find(|field| field.name == name)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.variables.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// A field of a variable.
#[derive(Clone, Debug)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) of: Type,
}

/// What a field holds. Sizes are the largest that will ever be bound; the cost of an expression is
/// reckoned with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A number with a fraction.
    Double,
    /// Text.
    Text {
        /// In characters.
        max: usize,
    },
    /// One of these words, and no other text: they are compared for equality and have no order.
    Words(&'static [&'static str]),
    /// A point in time.
    Time,
    /// Text by text.
    Map {
        /// Entries.
        max: usize,
        /// Of a key, in characters.
        key: usize,
        /// Of a value, in characters.
        value: usize,
    },
}

impl Field {
    /// A field.
    #[must_use]
    pub fn new(name: &str, of: Type) -> Self {
        Self { name: name.to_owned(), of }
    }

    /// A field of at most `max` characters of text.
    #[must_use]
    pub fn text(name: &str, max: usize) -> Self {
        Self::new(name, Type::Text { max })
    }

    /// A field that is one of `words`.
    #[must_use]
    pub fn words(name: &str, words: &'static [&'static str]) -> Self {
        Self::new(name, Type::Words(words))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    #[must_use]
    pub fn of(&self) -> Type {
        self.of
    }

    pub(crate) fn listed(&self) -> Option<&'static [&'static str]> {
        match self.of {
            Type::Words(words) => Some(words),
            _ => None,
        }
    }
}
