//! The Dockerfile's grammar.
//!
//! Owns: from text to stages of instructions with the line each came from; all faults of a file at once.
//! Does not own: what an instruction does. Variables are checked here and expanded when a step runs, because
//! their values depend on the steps before.
//!
//! Invariant: an instruction that parses is one we can carry out; what is known and not built is a fault.

mod expand;
mod fault;
mod instruction;
mod lines;
mod parse;

pub use expand::{expand, split_words};
pub use fault::{DockerfileError, Fault};
pub use instruction::{Argument, Command, Copy, Instruction};
pub use parse::parse;

/// A parsed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The character that escapes: backslash or backtick.
    pub escape: char,
    /// ARG before the first FROM.
    pub global_args: Vec<Step>,
    /// The stages, in order; at least one.
    pub stages: Vec<Stage>,
}

/// One FROM and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The image or stage it starts from, variables unexpanded.
    pub base: String,
    /// Its name, lower case.
    pub name: Option<String>,
    /// What `--platform` says, variables unexpanded.
    pub platform: Option<String>,
    /// The line of its FROM.
    pub line: usize,
    /// The FROM as written, on one line.
    pub text: String,
    /// What it does.
    pub steps: Vec<Step>,
}

/// One instruction at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line it starts at, from 1.
    pub line: usize,
    /// It as written, on one line.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

#[cfg(test)]
mod tests;
