//! Tokens into a tree. What recurses is bounded while it is read: brackets by [`MAX_NESTING`],
//! every chain by [`MAX_HEIGHT`], so that neither this nor anything that walks the tree, its drop
//! included, can take more stack than it has.

use crate::ast::{Kind, Node, balanced_levels};
use crate::fault::{At, Read};
use crate::lexer::{self, Token};

/// Brackets, lists, calls and `?:` inside one another at most.
pub(crate) const MAX_NESTING: usize = 16;

/// Operations on the result of one another at most; chains of `&&` and of `||` count as their
/// balanced tree.
pub(crate) const MAX_HEIGHT: usize = 32;

/// Operators by how tightly they bind, `||` and `&&` apart.
const LEVELS: [&[&str]; 3] = [&["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];

/// Words that CEL keeps to itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(crate) fn parse(text: &str) -> Read<Node> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    if parser.peek().kind == lexer::Kind::End {
        return Err(At::new(0, "an expression is missing"));
    }
    let node = parser.expression()?;
    match parser.peek().kind {
        lexer::Kind::End => Ok(node),
        _ => Err(parser.unexpected_after_value("the end")),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        // The end is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(&self.peek().kind, lexer::Kind::Sign(it) if *it == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    /// The operator here, if it is one of these.
    fn take_any(&mut self, operators: &[&'static str]) -> Option<(usize, &'static str)> {
        let token = self.peek();
        let word = match &token.kind {
            lexer::Kind::Sign(sign) => sign,
            lexer::Kind::Word(word) => word,
            _ => return None,
        };
        let found = operators.iter().find(|operator| *operator == word)?;
        let at = token.at;
        self.at += 1;
        Some((at, found))
    }

    fn expect(&mut self, sign: &str, why: &str) -> Read<()> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected_after_value(&format!("`{sign}` {why}"))) }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.nesting == MAX_NESTING {
            let message =
                format!("at most {MAX_NESTING} brackets, calls and ?: may stand inside one another");
            return Err(At::new(self.peek().at, message));
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    fn expression(&mut self) -> Read<Node> {
        let condition = self.either()?;
        let at = self.peek().at;
        if !self.take("?") {
            return Ok(condition);
        }
        self.nested(|parser| {
            let then = parser.either()?;
            parser.expect(":", "of this `?`")?;
            let otherwise = parser.expression()?;
            let height = condition.height.max(then.height).max(otherwise.height);
            node(at, height, Kind::If(Box::new([condition, then, otherwise])))
        })
    }

    fn either(&mut self) -> Read<Node> {
        self.chain("||", Self::every)
    }

    fn every(&mut self) -> Read<Node> {
        self.chain("&&", |parser| parser.binary(0))
    }

    fn chain(&mut self, operator: &'static str, part: impl Fn(&mut Self) -> Read<Node>) -> Read<Node> {
        let first = part(self)?;
        let at = self.peek().at;
        if !self.is(operator) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(operator) {
            parts.push(part(self)?);
        }
        let highest = parts.iter().map(|part| part.height).max().unwrap_or(0);
        node(at, highest + balanced_levels(parts.len()) - 1, Kind::Logic(operator, parts))
    }

    fn binary(&mut self, level: usize) -> Read<Node> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((at, operator)) = self.take_any(operators) {
            let right = self.binary(level + 1)?;
            let height = left.height.max(right.height);
            left = node(at, height, Kind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Read<Node> {
        let mut operators = Vec::new();
        while let Some(operator) = self.take_any(&["!", "-"]) {
            operators.push(operator);
        }
        let mut operand = match (operators.last(), &self.peek().kind) {
            // The smallest number has no positive twin.
            (Some((at, "-")), lexer::Kind::Int(magnitude)) if *magnitude == 1 << 63 => {
                let smallest = node(*at, 0, Kind::Int(i64::MIN))?;
                operators.pop();
                self.at += 1;
                smallest
            }
            _ => self.member()?,
        };
        for (at, operator) in operators.into_iter().rev() {
            let (height, inner) = (operand.height, Box::new(operand));
            let kind = if operator == "!" { Kind::Not(inner) } else { Kind::Negate(inner) };
            operand = node(at, height, kind)?;
        }
        Ok(operand)
    }

    fn member(&mut self) -> Read<Node> {
        let mut value = self.primary()?;
        loop {
            let at = self.peek().at;
            if self.take(".") {
                value = self.after_dot(value)?;
            } else if self.take("[") {
                let index = self.nested(Self::expression)?;
                self.expect("]", "after the index")?;
                let height = value.height.max(index.height);
                value = node(at, height, Kind::Index(Box::new(value), Box::new(index)))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn after_dot(&mut self, value: Node) -> Read<Node> {
        let token = self.next();
        let lexer::Kind::Word(name) = token.kind else {
            let found = token.kind.name();
            return Err(At::new(token.at, format!("expected a name after `.`, found {found}")));
        };
        if !self.take("(") {
            let height = value.height;
            return node(token.at, height, Kind::Field(Box::new(value), name.to_owned()));
        }
        let args = self.items(")", "after the arguments")?;
        call(token.at, Some(value), name, args)
    }

    fn primary(&mut self) -> Read<Node> {
        let token = self.next();
        let leaf = |kind| node(token.at, 0, kind);
        match token.kind {
            lexer::Kind::Int(number) => match i64::try_from(number) {
                Ok(number) => leaf(Kind::Int(number)),
                Err(_) => Err(At::new(token.at, "this number does not fit into 64 bits")),
            },
            lexer::Kind::Double(number) => leaf(Kind::Double(number)),
            lexer::Kind::Text(text) => leaf(Kind::Text(text)),
            lexer::Kind::Word(word) => self.word(token.at, word),
            lexer::Kind::Sign("(") => {
                let inner = self.nested(Self::expression)?;
                self.expect(")", "to close this bracket")?;
                Ok(inner)
            }
            lexer::Kind::Sign("[") => {
                let items = self.items("]", "to close this list")?;
                let height = highest(&items);
                node(token.at, height, Kind::List(items))
            }
            lexer::Kind::Sign("{") => Err(At::new(token.at, "maps and messages cannot be made here")),
            found => Err(At::new(
                token.at,
                format!("expected a value, a name or a bracket, found {}", found.name()),
            )),
        }
    }

    fn word(&mut self, at: usize, word: &str) -> Read<Node> {
        match word {
            "true" | "false" => return node(at, 0, Kind::Bool(word == "true")),
            "null" => {
                return Err(At::new(at, "there is no null here; has(…) asks whether something is there"));
            }
            "in" => return Err(At::new(at, "expected a value before `in`")),
            "not" => return Err(At::new(at, "`not` is no operator; write `!`")),
            _ if RESERVED.contains(&word) => {
                return Err(At::new(at, format!("`{word}` is a word of the language and names nothing")));
            }
            _ => {}
        }
        if self.take("(") {
            let args = self.items(")", "after the arguments")?;
            return call(at, None, word, args);
        }
        node(at, 0, Kind::Name(word.to_owned()))
    }

    /// What stands between commas until `close`; a comma may stand after the last.
    fn items(&mut self, close: &str, why: &str) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.nested(Self::expression)?);
            if !self.take(",") {
                self.expect(close, why)?;
                break;
            }
        }
        Ok(items)
    }

    /// A value is complete, and what follows continues nothing.
    fn unexpected_after_value(&self, expected: &str) -> At {
        let token = self.peek();
        let hint = match &token.kind {
            lexer::Kind::Word("and" | "AND") => "; for \"and\", write `&&`",
            lexer::Kind::Word("or" | "OR") => "; for \"or\", write `||`",
            lexer::Kind::Word("is" | "eq") => "; to compare, write `==`",
            lexer::Kind::Word("not") => "; for \"is none of\", write !(… in […])",
            _ => "",
        };
        At::new(token.at, format!("expected an operator or {expected}, found {}{hint}", token.kind.name()))
    }
}

fn highest(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.height).max().unwrap_or(0)
}

fn call(at: usize, target: Option<Node>, function: &str, args: Vec<Node>) -> Read<Node> {
    let height = highest(&args).max(target.as_ref().map_or(0, |target| target.height));
    let target = target.map(Box::new);
    node(at, height, Kind::Call { target, function: function.to_owned(), args })
}

/// A node over parts of which the highest is `below`.
fn node(at: usize, below: usize, kind: Kind) -> Read<Node> {
    if below >= MAX_HEIGHT {
        let message =
            format!("at most {MAX_HEIGHT} operations may build on one another; split the expression");
        return Err(At::new(at, message));
    }
    Ok(Node { at, height: below + 1, kind })
}
