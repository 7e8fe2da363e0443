//! The syntax tree of an expression, macros already expanded (langdef.md, "Syntax" and "Macros").

/// Number of a node; types and overloads found by the checker are kept in tables by it.
pub(crate) type Id = u32;

/// The name that macros give their result; no identifier of a user can be spelled so.
pub(crate) const ACCUMULATOR: &str = "@result";

/// A node with its place in the source, an offset in characters.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub id: Id,
    pub at: u32,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(String),
    Select(Box<Select>),
    Call(Box<Call>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct(Box<Struct>),
    Fold(Box<Fold>),
    Bind(Box<Bind>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// `operand.field`, or `has(operand.field)` when only the presence is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub operand: Expr,
    pub field: String,
    pub test_only: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub target: Option<Expr>,
    pub function: String,
    pub args: Vec<Expr>,
}

/// An element of a list; `[?e]` is left out when its optional is empty.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

/// `Name{field: value}`.
#[derive(Debug, Clone)]
pub(crate) struct Struct {
    pub name: String,
    pub fields: Vec<(String, Expr, bool)>,
}

/// The one loop of the language: what `all`, `exists`, `map` and the other macros become.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub var: String,
    pub var2: Option<String>,
    pub range: Expr,
    pub accumulator: String,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// A name for a value inside one expression; only our own macros make these.
#[derive(Debug, Clone)]
pub(crate) struct Bind {
    pub name: String,
    pub init: Expr,
    pub result: Expr,
}

impl Expr {
    /// `a.b.c` when the expression is such a chain of names.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select(select) if !select.test_only => {
                Some(format!("{}.{}", select.operand.qualified_name()?, select.field))
            }
            _ => None,
        }
    }
}
