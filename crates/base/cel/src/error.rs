//! What is wrong with an expression, and with an evaluation.

use std::fmt;

/// One fault of an expression, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Characters before the place.
    pub(crate) at: u32,
    pub(crate) text: String,
}

impl Issue {
    pub(crate) fn plain(at: u32, text: String) -> Self {
        Self { at, text }
    }

    pub(crate) fn syntax(at: u32, text: String) -> Self {
        Self { at, text: format!("Syntax error: {text}") }
    }
}

/// Why an expression does not compile: every fault with its line, in cel-go's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    shown: String,
}

impl CompileError {
    /// Reports are cut at this many faults.
    const SHOWN: usize = 20;

    pub(crate) fn new(source: &[char], issues: &[Issue]) -> Self {
        let shown: Vec<_> = issues.iter().take(Self::SHOWN).map(|issue| show(source, issue)).collect();
        Self { shown: shown.join("\n") }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for CompileError {}

fn show(source: &[char], issue: &Issue) -> String {
    let at = (issue.at as usize).min(source.len());
    let start = source[..at].iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
    let end = source[at..].iter().position(|c| *c == '\n').map_or(source.len(), |length| at + length);
    let line = 1 + source[..start].iter().filter(|c| **c == '\n').count();
    let snippet: String = source[start..end].iter().collect();
    let mark = format!("{}^", ".".repeat(at - start));
    format!("ERROR: <input>:{line}:{}: {}\n | {snippet}\n | {mark}", at - start + 1, issue.text)
}

/// Why an evaluation has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("no such overload")]
    NoSuchOverload,
    #[error("no such key: {0}")]
    NoSuchKey(String),
    #[error("no such attribute(s): {0}")]
    NoSuchAttribute(String),
    #[error("index out of bounds: {0}")]
    IndexOutOfBounds(i64),
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulus by zero")]
    ModulusByZero,
    #[error("{0} overflow")]
    Overflow(&'static str),
    #[error("optional.none() dereference")]
    EmptyOptional,
    #[error("insert failed: key {0} already exists")]
    DuplicateKey(String),
    /// Input that a function does not take, with the reason.
    #[error("{0}")]
    Data(String),
    /// Not an error of the expression: it was given up.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
}

impl EvalError {
    pub(crate) fn data(text: String) -> Self {
        Self::Data(text)
    }

    /// Whether `||`, `&&` and macros may not hide it.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::CostExceeded)
    }
}
