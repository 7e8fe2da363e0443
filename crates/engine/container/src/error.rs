//! What can go wrong with the engine's objects, beyond what the crates below report.

use hako_error::{Classify, Kind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("no such container: {name}")]
    NoContainer { name: String },
    #[error("no such sandbox: {name}")]
    NoSandbox { name: String },
    #[error("volume {name} exists with other options: choose another name")]
    VolumeDiffers { name: String },
    #[error("container id {prefix:?} is ambiguous: give more digits")]
    Ambiguous { prefix: String },
    #[error(
        "the container name {name:?} is already in use by container {id}: remove or rename that container to reuse the name"
    )]
    NameTaken { name: String, id: String },
    #[error("container name {name:?} is not valid: use [a-zA-Z0-9][a-zA-Z0-9_.-]*, at least two characters")]
    BadName { name: String },
    #[error("container {id} is not running")]
    NotRunning { id: String },
    #[error("container {id} is paused: unpause it first")]
    Paused { id: String },
    #[error("container {id} is not paused")]
    NotPaused { id: String },
    #[error("container {id} is already running")]
    Running { id: String },
    #[error("container {id} is running: stop it first or force its removal")]
    RemoveRunning { id: String },
    #[error("container {id} is being removed")]
    Removing { id: String },
    #[error("container {id} has exited: only a standalone container can be started again")]
    Spent { id: String },
    #[error("sandbox {id} is not ready: make a new one")]
    NotReady { id: String },
    #[error("sandbox {id} belongs to a standalone container: it takes no other")]
    Standalone { id: String },
    #[error(
        "container {id} did not exit after SIGKILL within {seconds} s: a process of it is stuck in the kernel"
    )]
    Unkillable { id: String, seconds: u64 },
    #[error("no command specified: the image has none, give one")]
    NoCommand,
    #[error("container must not run as root: its user is {user:?}, set a user that is not 0")]
    RootForbidden { user: String },
    #[error("{what} {value:?} is not valid: {expected}")]
    Value { what: &'static str, value: String, expected: &'static str },
    #[error("{path} is not on the host: make it, or ask for it to be made")]
    NoBindSource { path: PathBuf },
    #[error("no such volume: {name}")]
    NoVolume { name: String },
    #[error("volume {name} is in use by container {id}: remove that container first")]
    VolumeInUse { name: String, id: String },
    #[error("{op} {path}")]
    Io { op: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is not readable as a record of the engine")]
    Record { path: PathBuf, source: serde_json::Error },
    #[error("a task of the engine ended early")]
    Task { source: tokio::task::JoinError },
}

impl Classify for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoContainer { .. } | Self::NoSandbox { .. } | Self::NoVolume { .. } => Kind::NotFound,
            Self::VolumeDiffers { .. } | Self::NameTaken { .. } => Kind::AlreadyExists,
            Self::Ambiguous { .. }
            | Self::BadName { .. }
            | Self::NoCommand
            | Self::Value { .. }
            | Self::NoBindSource { .. } => Kind::Invalid,
            Self::NotRunning { .. }
            | Self::Paused { .. }
            | Self::NotPaused { .. }
            | Self::Running { .. }
            | Self::RemoveRunning { .. }
            | Self::Removing { .. }
            | Self::Spent { .. }
            | Self::NotReady { .. }
            | Self::Standalone { .. }
            | Self::VolumeInUse { .. }
            | Self::RootForbidden { .. } => Kind::FailedPrecondition,
            Self::Unkillable { .. } => Kind::DeadlineExceeded,
            Self::Record { .. } => Kind::DataLoss,
            Self::Io { source, .. } => Kind::of_io(source),
            Self::Task { .. } => Kind::Internal,
        }
    }
}

/// Names the operation and the path of an I/O error.
pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> EngineError {
    let path = path.into();
    move |source| EngineError::Io { op, path, source }
}

/// Runs blocking work of the crates below without blocking other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> hako_error::Result<T> + Send + 'static,
) -> hako_error::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| EngineError::Task { source })?
}
