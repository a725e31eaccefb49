//! The rule engine: events of one batch in, signals and changed windows out.
//!
//! Read `decide` for what happens, `window` for what `count >= n in window` means, `sets` for how a
//! changed rule comes into force: every batch compares, in its own transaction, the versions of the
//! rule sets it is about to use, so a rule governs each event accepted after its 2xx.

mod decide;
mod event;
mod memory;
mod selection;
mod sets;
mod template;
mod window;

pub use decide::{Decided, Fired, Matched, decide, matches};
pub use event::{Event, sample_scope};
pub use memory::{Known, Memory, Windows};
pub use selection::{Names, Selection};
pub use sets::{CompiledRule, Loaded, RuleSet, RuleSets, SetKey};
pub use template::{BadTemplate, Template};
pub use window::{Limit, Window};
