//! An expression as it was written.

/// One part of it.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its most telling byte: of an operation the operator, of a call the function's name.
    pub(crate) at: usize,
    /// Levels below it, itself included: what recursion over it costs.
    pub(crate) height: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    Field(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Call {
        target: Option<Box<Node>>,
        function: String,
        args: Vec<Node>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    /// A chain of one of `&&` and `||`: flat, since it is the chain that people write at length.
    Logic(&'static str, Vec<Node>),
    If(Box<[Node; 3]>),
    List(Vec<Node>),
}

/// Levels that a balanced tree over so many parts adds.
pub(crate) fn balanced_levels(parts: usize) -> usize {
    parts.next_power_of_two().trailing_zeros() as usize
}
