use std::fmt;

use crate::source::Source;

/// A position in a distributed trace (W3C Trace Context, `traceparent` version 00).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    /// The trace that everything from the event to the page shares.
    pub trace_id: [u8; 16],
    /// This step.
    pub span_id: [u8; 8],
    /// Trace flags; bit 0 is "sampled".
    pub flags: u8,
}

impl Trace {
    /// The first step of a new, sampled trace.
    pub fn new(source: &Source) -> Self {
        Self { trace_id: random(source), span_id: random(source), flags: 1 }
    }

    /// Reads a `traceparent`. Anything that the specification calls invalid is `None`; of later
    /// versions the part that version 00 knows is used.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version: [u8; 1] = hex_part(parts.next()?)?;
        let trace_id = hex_part(parts.next()?)?;
        let span_id = hex_part(parts.next()?)?;
        let [flags] = hex_part(parts.next()?)?;
        let too_long = version == [0] && parts.next().is_some();
        if version == [0xff] || too_long || trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, span_id, flags })
    }

    /// A new step below this one.
    #[must_use]
    pub fn child(&self, source: &Source) -> Self {
        Self { span_id: random(source), ..*self }
    }

    /// The trace id in lower-case hex, as logs show it.
    pub fn trace_id_hex(&self) -> String {
        hex::encode(self.trace_id)
    }
}

fn random<const N: usize>(source: &Source) -> [u8; N] {
    let mut bytes = [0; N];
    while bytes == [0; N] {
        source.fill(&mut bytes);
    }
    bytes
}

fn hex_part<const N: usize>(text: &str) -> Option<[u8; N]> {
    // hex::decode takes upper case, which the specification forbids.
    if text.len() != 2 * N || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace_id), hex::encode(self.span_id), self.flags)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
