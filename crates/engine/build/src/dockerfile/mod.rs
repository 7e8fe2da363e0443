//! The Dockerfile's grammar.
//!
//! Owns: from text to stages of instructions with the line each came from; all faults of a file at once; how words
//! expand. Does not own: what an instruction does. Variables are checked here and expanded when a step runs,
//! because their values depend on the steps before.
//!
//! Invariant: work and memory are bounded by the file's length, whatever is in it; no text makes it panic.

mod chmod;
mod copy;
mod csv;
mod directives;
mod expand;
mod expose;
mod fault;
mod flags;
mod glob;
mod health;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod parse;
mod run;
mod suggest;

pub use chmod::FileMode;
pub use copy::{Copy, InlineFile, is_remote};
pub use directives::Directives;
pub use expand::{
    Expansion, Lookup, MAX_EXPANDED_BYTES, expand, expand_heredoc, expand_heredoc_noting, expand_noting,
    expand_words, split_words,
};
pub use expose::exposed_ports;
pub use fault::{DockerfileError, Fault};
pub use heredoc::Heredoc;
pub use instruction::{Argument, Command, Instruction, check_signal};
pub use mount::{Mount, MountFlag, Owner, Sharing};
pub use parse::{MAX_FILE_BYTES, parse, triggers};
pub use run::{Device, Network, Program, Run, SCRIPTS, Security};

pub(crate) use lines::{Logical, logical};
pub(crate) use suggest::did_you_mean;

/// A parsed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// What the comments at its top say.
    pub directives: Directives,
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
    /// Its name, lower case. Of two stages with one name, the nearest above is meant.
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
    /// The line it ends at, with its heredocs.
    pub last_line: usize,
    /// It as written, on one line; without the text of its heredocs.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

#[cfg(test)]
mod tests;
