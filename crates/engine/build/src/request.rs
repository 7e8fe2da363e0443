//! What a build is asked for and what it tells while it runs.

use hako_names::ImageRef;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A build.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// The directory whose files COPY and ADD see.
    pub context: PathBuf,
    /// The Dockerfile; relative paths start at the context. `None` for `Dockerfile`.
    pub dockerfile: Option<PathBuf>,
    /// Names for the image; with none it is kept without a name.
    pub tags: Vec<ImageRef>,
    /// Values for ARG; `SOURCE_DATE_EPOCH` here (or in the environment) fixes every time in the image.
    pub args: BTreeMap<String, String>,
    /// The stage to build, by name or number; `None` for the last.
    pub target: Option<String>,
    /// Runs every step, also those whose result is known.
    pub no_cache: bool,
    /// Labels besides those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Network of RUN steps.
    pub network: RunNetwork,
}

/// What RUN steps are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// The builder's network, each step by a link of its own; like `None` where the builder has no network.
    #[default]
    Bridge,
    /// Nothing but a loopback of their own.
    None,
    /// The host's, with all that listens on its loopback.
    Host,
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It ran.
    Done,
    /// Its result was known.
    Cached,
    /// It failed; the build's error says why.
    Failed,
}

/// What happens in a build. Steps of different stages interleave; `step` tells them apart and counts from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// The Dockerfile was read: so many steps lie between it and the image.
    Planned {
        /// Steps of all stages that are needed.
        steps: usize,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: usize,
        /// The stage's name, or its number.
        stage: String,
        /// The instruction as it is written, on one line.
        text: String,
    },
    /// A RUN step wrote something.
    Output {
        /// Which.
        step: usize,
        /// Where to.
        stream: OutputStream,
        /// What; not necessarily whole lines.
        bytes: Vec<u8>,
    },
    /// A step ended.
    StepEnded {
        /// Which.
        step: usize,
        /// How.
        outcome: StepOutcome,
        /// How long it took.
        took: Duration,
    },
    /// Something that is allowed and probably not meant.
    Warning {
        /// The Dockerfile's line, 0 where there is none.
        line: usize,
        /// What.
        message: String,
    },
}
