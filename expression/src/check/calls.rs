//! Calls of functions.

use cel::IdedExpr;
use cel::common::ast::LiteralValue;

use super::functions::{self, Work};
use super::{Checked, Checker, comprehensions};
use crate::ast::{Kind, Node};
use crate::bindings::{self, MATCHES};
use crate::cost;
use crate::fault::{At, Read};
use crate::lower;
use crate::pattern::{self, Pattern};
use crate::types::{Size, Ty};

/// The longest text that something other than text is written as, in bytes.
const WRITTEN: usize = 330;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        at: usize,
        target: Option<&Node>,
        function: &str,
        args: &[Node],
    ) -> Read<Checked> {
        match (target, function, args) {
            (Some(range), name, args) if comprehensions::NAMES.contains(&name) => {
                self.comprehension(at, range, name, args)
            }
            (None, "has", [Node { kind: Kind::Field(target, field), at, .. }]) => {
                self.field(*at, target, field, true)
            }
            (Some(text), "matches", [pattern]) | (None, "matches", [text, pattern]) => {
                self.matches(at, text, pattern)
            }
            (Some(of), name, args) => self.function(at, name, true, of, args),
            (None, name, [of, args @ ..]) => self.function(at, name, false, of, args),
            (None, name, []) => Err(At::new(at, unknown(name))),
        }
    }

    fn matches(&mut self, at: usize, text: &Node, written: &Node) -> Read<Checked> {
        let text = self.check(text)?;
        if text.ty != Ty::Text {
            return Err(At::new(at, format!("matches takes text, not {}", text.ty.name())));
        }
        let Kind::Text(source) = &written.kind else {
            return Err(At::new(written.at, "a pattern is written out, between quotes"));
        };
        self.pattern_length += source.chars().count();
        if self.pattern_length > pattern::MAX_LENGTH {
            let message = format!("patterns have at most {} characters together", pattern::MAX_LENGTH);
            return Err(At::new(written.at, message));
        }
        let compiled = Pattern::compile(source).map_err(|why| At::new(written.at, why))?;
        let cost = text.cost.saturating_add(cost::pattern(text.size.bytes, compiled.size));
        let name = format!("@pattern{}", self.patterns.len());
        let expr = lower::call(MATCHES, vec![text.expr, lower::name(&name)]);
        self.patterns.push((name, compiled));
        Ok(Checked::new(Ty::Bool, cost, expr))
    }

    fn function(&mut self, at: usize, name: &str, member: bool, of: &Node, args: &[Node]) -> Read<Checked> {
        if functions::usage(name).is_none() {
            return Err(At::new(at, unknown(name)));
        }
        let subject = self.check(of)?;
        let mut cost = subject.cost;
        let (mut types, mut exprs, mut needles) = (Vec::new(), Vec::new(), 0);
        for arg in args {
            let arg = self.check(arg)?;
            cost = cost.saturating_add(arg.cost);
            needles += arg.size.bytes;
            types.push(arg.ty);
            exprs.push(arg.expr);
        }
        let Some((gives, work)) = functions::find(name, member, &subject.ty, &types) else {
            return Err(At::new(at, misuse(name, member, &subject.ty, &types)));
        };
        let bytes = subject.size.bytes;
        let extra = match work {
            Work::Flat => 0,
            Work::Compares => cost::compare(Size { bytes: bytes.min(needles), ..Size::default() }),
            Work::Searches => cost::search(bytes + needles),
        };
        let size = match (&gives, &subject.ty) {
            (Ty::Text, Ty::Text) => subject.size,
            (Ty::Text, _) => Size::bytes(WRITTEN),
            _ => Size::default(),
        };
        try_constants(at, name, member, of, args, &exprs, &subject)?;
        let expr = if member {
            lower::member(subject.expr, name, exprs)
        } else {
            exprs.insert(0, subject.expr);
            lower::call(name, exprs)
        };
        Ok(Checked::new(gives, cost.saturating_add(extra + 2 * cost::NODE), expr).sized(size))
    }
}

/// What is written out is read once now: a text that is no time will never be one.
fn try_constants(
    at: usize,
    name: &str,
    member: bool,
    of: &Node,
    args: &[Node],
    exprs: &[IdedExpr],
    subject: &Checked,
) -> Read<()> {
    let written =
        |node: &Node| matches!(node.kind, Kind::Bool(_) | Kind::Int(_) | Kind::Double(_) | Kind::Text(_));
    let expr = match args {
        [] if !member && written(of) => lower::call(name, vec![subject.expr.clone()]),
        [zone] if subject.ty == Ty::Time && written(zone) => {
            let epoch = lower::literal(LiteralValue::String("1970-01-01T00:00:00Z".to_owned().into()));
            lower::member(lower::call("timestamp", vec![epoch]), name, exprs.to_vec())
        }
        _ => return Ok(()),
    };
    bindings::constant(&expr).map_err(|_| {
        let example = match name {
            "timestamp" => "; a time looks like \"2026-01-31T08:00:00Z\"",
            "duration" => "; a duration looks like \"90s\" or \"1h30m\"",
            "int" | "double" => "; it is no such number",
            "bool" => "; it is neither \"true\" nor \"false\"",
            _ => "; a time zone looks like \"Europe/Berlin\" or \"+02:00\"",
        };
        At::new(args.first().unwrap_or(of).at.max(at), format!("{name} cannot read this{example}"))
    })
}

fn unknown(name: &str) -> String {
    if let Some(usage) = functions::usage(name) {
        return format!("{name} is written {usage}");
    }
    let names = functions::names();
    match names.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => format!("there is no function {name}; it is written {known}"),
        None => format!("there is no function {name}; there are {}", names.join(", ")),
    }
}

fn misuse(name: &str, member: bool, of: &Ty, args: &[Ty]) -> String {
    let usage = functions::usage(name).unwrap_or_default();
    let args: Vec<String> = args.iter().map(Ty::name).collect();
    let (of, with) = (of.name(), args.join(" and "));
    let found = match (member, with.is_empty()) {
        (true, true) => format!("on {of}, with nothing in the brackets"),
        (true, false) => format!("on {of}, with {with}"),
        (false, true) => format!("of {of}"),
        (false, false) => format!("of {of} and {with}"),
    };
    format!("{name} is written {usage}; here it is {found}")
}
