//! The Common Expression Language (CEL) with Kubernetes' libraries: parsed, checked, its cost reckoned, evaluated.
//!
//! Owns: the language (cel-spec's `langdef.md`), the functions of Kubernetes' base environment of v1.36, declared
//! types with sizes ([`Declared`]), costs before and while running.
//! Does not own: schemas, admission, who is asked for authorization; hosts give those ([`Authorize`]).
//!
//! ```text
//! text --lex, parse, macros--> tree --check--> types, overloads --plan--> ops --eval--> value
//!                                        \---cost---> estimate
//! ```
//!
//! Invariant: nothing here waits or does I/O, and no expression or value, however hostile, takes unbounded time,
//! memory or stack: sizes are limited when parsed, work by the cost that a caller allows.

mod ast;
mod check;
mod cost;
mod declared;
mod env;
mod error;
mod escape;
mod eval;
mod functions;
mod lex;
mod literal;
mod macros;
mod opaque;
mod overload;
mod parse;
mod plan;
mod program;
mod selected;
#[cfg(test)]
mod tests;
mod time;
mod types;
mod value;
mod work;

pub use cost::Estimate;
pub use declared::{Declared, ListKind, MAX_STRING, ObjectType};
pub use env::Env;
pub use error::{CompileError, EvalError};
pub use escape::is_reserved;
pub use eval::Variables;
pub use functions::{PatternError, Patterns, compile_pattern};
pub use opaque::{Authorize, Authorizer, Check, Decision, Opaque, Resource};
pub use program::{Evaluated, Program};
pub use time::{
    Instant, duration as parse_duration, duration_format as parse_duration_format,
    timestamp as parse_timestamp,
};
pub use types::Type;
pub use value::{List, Text, Value};

pub(crate) use error::Issue;
