use std::fmt::{self, Display};

/// Where in a message a check stands: a list on the stack, so that a valid message costs no
/// allocation. `Display` writes it as `steps[2].labels.region`.
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a dyn Display),
    /// The key that the parent names, not its value. Written as the parent.
    OfKey,
}

/// Keys come from the client; longer ones are cut.
const KEY_CHARS: usize = 64;

impl<'a> Path<'a> {
    /// The message that is checked.
    pub const fn root() -> Path<'static> {
        Path { parent: None, segment: Segment::Root }
    }

    /// A field of this message.
    pub const fn field<'b>(&'b self, name: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), segment: Segment::Field(name) }
    }

    /// An item of this list, counted from 0.
    pub const fn index(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), segment: Segment::Index(index) }
    }

    /// A value of this map.
    pub const fn key<'b>(&'b self, key: &'b dyn Display) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), segment: Segment::Key(key) }
    }

    /// The key of this value of a map.
    pub const fn of_key(&self) -> Path<'_> {
        Path { parent: Some(self), segment: Segment::OfKey }
    }

    /// Whether the path means a map's key.
    pub const fn is_key(&self) -> bool {
        matches!(self.segment, Segment::OfKey)
    }

    fn is_root(&self) -> bool {
        matches!(self.segment, Segment::Root)
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(f)?;
        let dot = if parent.is_root() { "" } else { "." };
        match self.segment {
            Segment::Root | Segment::OfKey => Ok(()),
            Segment::Field(name) => write!(f, "{dot}{}", Cut(&name)),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "{dot}{}", Cut(key)),
        }
    }
}

struct Cut<'a>(&'a dyn Display);

impl Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(KEY_CHARS) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}
