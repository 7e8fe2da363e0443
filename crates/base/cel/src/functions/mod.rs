//! The functions of expressions, a table for each library.
//!
//! Sources: langdef.md "List of Standard Definitions"; cel-go's extensions strings (2), sets, lists (3) and
//! two-variable comprehensions; Kubernetes' `apiserver/pkg/cel/library`.

mod authz;
mod convert;
pub(crate) mod format_names;
mod format_string;
mod lists;
mod net;
mod operators;
mod optional;
mod quantity;
mod re2;
mod regexes;
mod semver;
mod sets;
mod strings;
mod times;
mod urls;

use crate::overload::Row;
use crate::{EvalError, Value};

pub use regexes::{PatternError, Patterns, compile_pattern};

pub(crate) const TABLES: &[&[Row]] = &[
    operators::ROWS,
    convert::ROWS,
    strings::ROWS,
    regexes::ROWS,
    lists::ROWS,
    sets::ROWS,
    times::ROWS,
    optional::ROWS,
    net::ROWS,
    urls::ROWS,
    quantity::ROWS,
    semver::ROWS,
    format_names::ROWS,
    authz::ROWS,
];

type Result<'a> = std::result::Result<Value<'a>, EvalError>;

/// Bytes that one value may have; no request is longer.
const MAX_RESULT: usize = 8 * 1024 * 1024;

/// The arguments of one call, read by kind. A table gives the kinds, so a wrong one is a fault of ours or of a
/// dynamic value; either is "no such overload".
struct Args<'v, 'a>(&'v [Value<'a>]);

impl<'v, 'a> Args<'v, 'a> {
    fn text(&self, index: usize) -> std::result::Result<&'v str, EvalError> {
        match self.0.get(index) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn int(&self, index: usize) -> std::result::Result<i64, EvalError> {
        match self.0.get(index) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn bool(&self, index: usize) -> std::result::Result<bool, EvalError> {
        match self.0.get(index) {
            Some(Value::Bool(value)) => Ok(*value),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn list(&self, index: usize) -> std::result::Result<&'v crate::value::List<'a>, EvalError> {
        match self.0.get(index) {
            Some(Value::List(list)) => Ok(list),
            _ => Err(EvalError::NoSuchOverload),
        }
    }
}

fn too_long() -> EvalError {
    EvalError::data(format!("the result is longer than {MAX_RESULT} bytes"))
}
