//! Why a build failed.

use hako_error::{Classify, Kind};
use std::io;
use std::path::PathBuf;

/// Why a build failed, apart from faults of the Dockerfile's grammar.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The context or the Dockerfile cannot be read.
    #[error("cannot {action} {path:?}; {hint}")]
    Input {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The request names a stage that the file has not.
    #[error("there is no stage {target:?} in {file}, it has: {stages}")]
    NoTarget {
        /// What was asked for.
        target: String,
        /// The Dockerfile.
        file: String,
        /// What there is.
        stages: String,
    },
    /// An instruction cannot be carried out.
    #[error("{place}: {message}\n  {line} | {text}")]
    Step {
        /// `FILE:LINE`.
        place: String,
        /// The line's number.
        line: usize,
        /// What is wrong and what to do.
        message: String,
        /// The instruction.
        text: String,
    },
    /// A RUN's program failed. What it wrote was told while it ran and is not repeated.
    #[error("{place}: the command ended with exit code {code}{note}\n  {line} | {text}")]
    Run {
        /// `FILE:LINE`.
        place: String,
        /// The line's number.
        line: usize,
        /// Its exit code.
        code: i32,
        /// More about how it ended.
        note: &'static str,
        /// The instruction.
        text: String,
    },
    /// The build was withdrawn.
    #[error("the build was cancelled")]
    Cancelled,
    /// A file of a step failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Classify for BuildError {
    fn kind(&self) -> Kind {
        match self {
            Self::Input { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Input { .. } | Self::NoTarget { .. } | Self::Step { .. } => Kind::Invalid,
            Self::Run { .. } => Kind::FailedPrecondition,
            Self::Cancelled => Kind::Cancelled,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
                _ => Kind::Internal,
            },
        }
    }
}

impl BuildError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }
}
