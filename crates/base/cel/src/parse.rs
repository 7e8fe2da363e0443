//! From tokens to a tree, by recursive descent (langdef.md, "Syntax").
//!
//! INVARIANT: a tree is never deeper than [`MAX_DEPTH`], so that every later walk may recurse.

use crate::ast::{Call, Element, Entry, Expr, Id, Kind, Literal, Select, Struct};
use crate::escape::is_reserved;
use crate::lex::{Spanned, Token};
use crate::{Issue, macros};

/// Levels of an expression; cel-go allows 250 nested rules of its grammar.
pub(crate) const MAX_DEPTH: u32 = 250;
/// Characters of an expression, cel-go's default.
pub(crate) const MAX_CHARACTERS: usize = 100_000;

pub(crate) struct Parser {
    tokens: Vec<Spanned>,
    next: usize,
    pub(crate) ids: Id,
    depth: u32,
    /// Whether `cel.bind` is a macro.
    pub(crate) has_bind: bool,
}

/// The tree of `source` and how many nodes it has.
pub(crate) fn parse(source: &[char], has_bind: bool) -> Result<(Expr, Id), Issue> {
    if source.len() > MAX_CHARACTERS {
        let text = format!(
            "expression code point size exceeds limit: size: {}, limit {MAX_CHARACTERS}",
            source.len()
        );
        return Err(Issue::plain(0, text));
    }
    let mut parser = Parser { tokens: crate::lex::tokens(source)?, next: 0, ids: 0, depth: 0, has_bind };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => {}
        other => return Err(parser.unexpected(&other.clone())),
    }
    check_depth(&expr, 0)?;
    Ok((expr, parser.ids))
}

fn check_depth(expr: &Expr, depth: u32) -> Result<(), Issue> {
    // Macros put a few nodes around each of the parser's levels.
    if depth > 4 * MAX_DEPTH {
        return Err(too_deep(expr.at));
    }
    children(expr).into_iter().try_for_each(|child| check_depth(child, depth + 1))
}

fn too_deep(at: u32) -> Issue {
    Issue::syntax(at, format!("expression recursion limit exceeded: {MAX_DEPTH}"))
}

/// The direct parts of a node.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
        Kind::Select(select) => vec![&select.operand],
        Kind::Call(call) => call.target.iter().chain(&call.args).collect(),
        Kind::List(elements) => elements.iter().map(|element| &element.value).collect(),
        Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
        Kind::Struct(object) => object.fields.iter().map(|(_, value, _)| value).collect(),
        Kind::Fold(fold) => vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result],
        Kind::Bind(bind) => vec![&bind.init, &bind.result],
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn at(&self) -> u32 {
        self.tokens[self.next].at
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].token.clone();
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    fn is(&self, operator: &str) -> bool {
        matches!(self.peek(), Token::Op(o) if *o == operator)
    }

    fn eat(&mut self, operator: &str) -> bool {
        let found = self.is(operator);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, operator: &'static str) -> Result<(), Issue> {
        if self.eat(operator) {
            return Ok(());
        }
        let found = spelled(self.peek());
        Err(Issue::syntax(self.at(), format!("mismatched input '{found}' expecting '{operator}'")))
    }

    fn unexpected(&self, token: &Token) -> Issue {
        Issue::syntax(self.at(), format!("mismatched input '{}'", spelled(token)))
    }

    pub(crate) fn node(&mut self, at: u32, kind: Kind) -> Expr {
        self.ids += 1;
        Expr { id: self.ids - 1, at, kind }
    }

    pub(crate) fn call(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Expr {
        self.node(at, Kind::Call(Box::new(Call { target: None, function: function.to_owned(), args })))
    }

    pub(crate) fn method(&mut self, at: u32, target: Expr, function: &str, args: Vec<Expr>) -> Expr {
        let function = function.to_owned();
        self.node(at, Kind::Call(Box::new(Call { target: Some(target), function, args })))
    }

    pub(crate) fn ident(&mut self, at: u32, name: &str) -> Expr {
        self.node(at, Kind::Ident(name.to_owned()))
    }

    pub(crate) fn literal(&mut self, at: u32, literal: Literal) -> Expr {
        self.node(at, Kind::Literal(literal))
    }

    /// Goes `weight` levels deeper. Brackets count twice: parsing them takes several frames of the stack.
    fn descend(&mut self, weight: u32) -> Result<(), Issue> {
        self.depth += weight;
        if self.depth > MAX_DEPTH { Err(too_deep(self.at())) } else { Ok(()) }
    }

    pub(crate) fn expr(&mut self) -> Result<Expr, Issue> {
        let before = self.depth;
        self.descend(2)?;
        let condition = self.binary(OR)?;
        let at = self.at();
        if !self.eat("?") {
            self.depth = before;
            return Ok(condition);
        }
        let yes = self.binary(OR)?;
        self.expect(":")?;
        let no = self.expr()?;
        self.depth = before;
        Ok(self.call(at, "_?_:_", vec![condition, yes, no]))
    }

    /// Operators that bind at least as tightly as `level`; all of them associate to the left.
    fn binary(&mut self, level: u8) -> Result<Expr, Issue> {
        let before = self.depth;
        let mut left = self.unary()?;
        while let Some((found, function)) = operator(self.peek()).filter(|(found, _)| *found >= level) {
            if found <= AND {
                left = self.chain(left, found, function)?;
                continue;
            }
            let at = self.at();
            self.next += 1;
            self.descend(1)?;
            let right = self.binary(found + 1)?;
            left = self.call(at, function, vec![left, right]);
        }
        self.depth = before;
        Ok(left)
    }

    /// A chain of `||` or `&&`, made into a balanced tree: a rule of a thousand terms stays shallow.
    fn chain(&mut self, first: Expr, level: u8, function: &'static str) -> Result<Expr, Issue> {
        let (mut terms, mut places) = (vec![first], Vec::new());
        while operator(self.peek()).is_some_and(|(found, _)| found == level) {
            places.push(self.at());
            self.next += 1;
            terms.push(self.binary(level + 1)?);
        }
        Ok(self.balanced(&mut terms.into_iter(), &places, function))
    }

    fn balanced(&mut self, terms: &mut std::vec::IntoIter<Expr>, places: &[u32], function: &str) -> Expr {
        let middle = places.len() / 2;
        if let Some(&at) = places.get(middle) {
            let left = self.balanced(terms, &places[..middle], function);
            let right = self.balanced(terms, &places[middle + 1..], function);
            return self.call(at, function, vec![left, right]);
        }
        match terms.next() {
            Some(term) => term,
            // There is one term more than places; this arm cannot be reached.
            None => self.literal(0, Literal::Null),
        }
    }

    fn unary(&mut self) -> Result<Expr, Issue> {
        for (operator, function) in [("!", "!_"), ("-", "-_")] {
            if !self.is(operator) {
                continue;
            }
            let at = self.at();
            let mut count = 0;
            while self.eat(operator) {
                count += 1;
            }
            if operator == "-" && count == 1 && self.negative_number() {
                return self.member_of_negative(at);
            }
            let operand = self.member()?;
            // An even number of signs cancels out, as in cel-go.
            return Ok(if count % 2 == 0 { operand } else { self.call(at, function, vec![operand]) });
        }
        self.member()
    }

    fn negative_number(&self) -> bool {
        matches!(self.peek(), Token::Int(_) | Token::MinInt | Token::Double(_))
    }

    fn member_of_negative(&mut self, at: u32) -> Result<Expr, Issue> {
        let literal = match self.advance() {
            Token::Int(value) => Literal::Int(-value),
            Token::Double(value) => Literal::Double(-value),
            _ => Literal::Int(i64::MIN),
        };
        let first = self.literal(at, literal);
        self.members(first)
    }

    fn member(&mut self) -> Result<Expr, Issue> {
        let first = self.primary()?;
        self.members(first)
    }

    /// Whatever follows a value: `.field`, `.?field`, `.call()`, `[index]`, `[?index]`, `{fields}`.
    fn members(&mut self, mut left: Expr) -> Result<Expr, Issue> {
        let before = self.depth;
        loop {
            let at = self.at();
            if self.eat(".") {
                left = self.dotted(at, left)?;
            } else if self.eat("[") {
                let function = if self.eat("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                left = self.call(at, function, vec![left, index]);
            } else if self.is("{") && left.qualified_name().is_some() {
                left = self.structure(at, &left)?;
            } else {
                self.depth = before;
                return Ok(left);
            }
            self.descend(1)?;
        }
    }

    fn dotted(&mut self, at: u32, operand: Expr) -> Result<Expr, Issue> {
        let optional = self.eat("?");
        let field = self.field_name()?;
        if optional {
            let field = self.literal(at, Literal::String(field));
            return Ok(self.call(at, "_?._", vec![operand, field]));
        }
        if self.eat("(") {
            let args = self.args()?;
            return macros::expand_method(self, at, operand, field, args);
        }
        Ok(self.node(at, Kind::Select(Box::new(Select { operand, field, test_only: false }))))
    }

    fn field_name(&mut self) -> Result<String, Issue> {
        let at = self.at();
        match self.advance() {
            Token::Ident(name) => Ok(name),
            other => Err(Issue::syntax(at, format!("no viable alternative at input '.{}'", spelled(&other)))),
        }
    }

    fn args(&mut self) -> Result<Vec<Expr>, Issue> {
        let mut args = Vec::new();
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.eat(")") {
                return Ok(args);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Result<Expr, Issue> {
        let at = self.at();
        let token = self.advance();
        let literal = match token {
            Token::Ident(name) => return self.name(at, name),
            Token::Op(".") => {
                let name = self.field_name()?;
                return self.name(at, name);
            }
            Token::Op("(") => {
                let inner = self.expr()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Op("[") => return self.list(at),
            Token::Op("{") => return self.map(at),
            Token::Int(value) => Literal::Int(value),
            Token::Uint(value) => Literal::Uint(value),
            Token::Double(value) => Literal::Double(value),
            Token::String(value) => Literal::String(value),
            Token::Bytes(value) => Literal::Bytes(value),
            Token::True => Literal::Bool(true),
            Token::False => Literal::Bool(false),
            Token::Null => Literal::Null,
            Token::MinInt => return Err(Issue::syntax(at, "invalid int literal".into())),
            other => {
                let text = format!("mismatched input '{}' expecting an expression", spelled(&other));
                return Err(Issue::syntax(at, text));
            }
        };
        Ok(self.literal(at, literal))
    }

    fn name(&mut self, at: u32, name: String) -> Result<Expr, Issue> {
        if self.eat("(") {
            let args = self.args()?;
            return macros::expand_function(self, at, name, args);
        }
        if is_reserved(&name) {
            return Err(Issue::syntax(at, format!("reserved identifier: {name}")));
        }
        Ok(self.node(at, Kind::Ident(name)))
    }

    fn list(&mut self, at: u32) -> Result<Expr, Issue> {
        let mut elements = Vec::new();
        while !self.eat("]") {
            let optional = self.eat("?");
            elements.push(Element { value: self.expr()?, optional });
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(self.node(at, Kind::List(elements)))
    }

    fn map(&mut self, at: u32) -> Result<Expr, Issue> {
        let mut entries = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expr()?;
            self.expect(":")?;
            entries.push(Entry { key, value: self.expr()?, optional });
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.node(at, Kind::Map(entries)))
    }

    fn structure(&mut self, at: u32, name: &Expr) -> Result<Expr, Issue> {
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let field = self.field_name()?;
            self.expect(":")?;
            fields.push((field, self.expr()?, optional));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        let name = name.qualified_name().unwrap_or_default();
        Ok(self.node(at, Kind::Struct(Box::new(Struct { name, fields }))))
    }
}

/// How tightly `||` binds; the others follow.
const OR: u8 = 1;
const AND: u8 = 2;

/// An operator's level and the function that it calls.
fn operator(token: &Token) -> Option<(u8, &'static str)> {
    Some(match token {
        Token::Op("||") => (OR, "_||_"),
        Token::Op("&&") => (AND, "_&&_"),
        Token::Op("<") => (3, "_<_"),
        Token::Op("<=") => (3, "_<=_"),
        Token::Op(">") => (3, "_>_"),
        Token::Op(">=") => (3, "_>=_"),
        Token::Op("==") => (3, "_==_"),
        Token::Op("!=") => (3, "_!=_"),
        Token::In => (3, "@in"),
        Token::Op("+") => (4, "_+_"),
        Token::Op("-") => (4, "_-_"),
        Token::Op("*") => (5, "_*_"),
        Token::Op("/") => (5, "_/_"),
        Token::Op("%") => (5, "_%_"),
        _ => return None,
    })
}

fn spelled(token: &Token) -> String {
    match token {
        Token::Op(operator) => (*operator).to_owned(),
        Token::Ident(name) => name.clone(),
        Token::Int(value) => value.to_string(),
        Token::MinInt => "9223372036854775808".to_owned(),
        Token::Uint(value) => format!("{value}u"),
        Token::Double(value) => value.to_string(),
        Token::String(value) => format!("\"{value}\""),
        Token::Bytes(_) => "b\"...\"".to_owned(),
        Token::True => "true".to_owned(),
        Token::False => "false".to_owned(),
        Token::Null => "null".to_owned(),
        Token::In => "in".to_owned(),
        Token::End => "<EOF>".to_owned(),
    }
}
