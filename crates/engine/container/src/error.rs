//! What can go wrong with the engine's objects, beyond what the crates below report.
//!
//! Where Docker has a sentence for it, it is that sentence: scripts look for its words.

use hako_error::{Classify, Kind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("No such container: {name}")]
    NoContainer { name: String },
    #[error("No such image: {name}")]
    NoImage { name: String },
    #[error("no such sandbox: {name}")]
    NoSandbox { name: String },
    #[error("volume {name} exists with other options: choose another name")]
    VolumeDiffers { name: String },
    #[error("multiple IDs found with provided prefix: {prefix}")]
    Ambiguous { prefix: String },
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken { name: String, id: String },
    #[error("{}", container_name(name))]
    BadName { name: String },
    #[error("invalid signal: {name}")]
    Signal { name: String },
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    #[error("{}", volume_name(name))]
    VolumeName { name: String },
    #[error("container {id} is not running")]
    NotRunning { id: String },
    #[error("container {id} is paused, unpause the container before exec")]
    Paused { id: String },
    #[error("container {id} is already paused")]
    AlreadyPaused { id: String },
    #[error(
        "container {id}: restart policy cannot be updated because AutoRemove is enabled for the container"
    )]
    AutoRemove { id: String },
    #[error("container {id} is not paused")]
    NotPaused { id: String },
    #[error("container {id} is already running")]
    Running { id: String },
    #[error(
        "cannot remove container \"/{name}\": container is {state}: stop the container before removing or force remove"
    )]
    RemoveRunning { name: String, state: &'static str },
    #[error("removal of container {id} is already in progress")]
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
    #[error("bind source path does not exist: {path}")]
    NoBindSource { path: PathBuf },
    #[error("path {path} is mounted on {mount} but it is not a {expected} mount")]
    NotPropagated { path: PathBuf, mount: PathBuf, expected: &'static str },
    #[error("{path} is on no mount that this process sees: leave its propagation out")]
    NoMount { path: PathBuf },
    #[error("get {name}: no such volume")]
    NoVolume { name: String },
    #[error("remove {name}: volume is in use - [{id}]")]
    VolumeInUse { name: String, id: String },
    #[error("{op} {path}")]
    Io { op: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is not readable as a record of the engine")]
    Record { path: PathBuf, source: serde_json::Error },
    #[error("Could not find the file {path} in container {container}")]
    NoFile { path: String, container: String },
    #[error("extraction point is not a directory: {path}")]
    NoDirectory { path: String },
    #[error("{what} is marked read-only")]
    ReadOnly { what: &'static str },
    #[error("configured logging driver does not support reading")]
    Unreadable,
    #[error("failed to initialize logging driver: nobody listens for logs at {address}")]
    NoLogDaemon { address: String },
    #[error(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
    )]
    MemoryAboveSwap,
    #[error("cannot join {what} of a non running container: {id}")]
    JoinStopped { what: &'static str, id: String },
    #[error(
        "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
    )]
    NotShareable { id: String },
    #[error(
        "cannot join a namespace of container {id}: it is the host's user namespace that it belongs to; use --userns=host"
    )]
    HostUsers { id: String },
    #[error("cannot join namespaces of two containers whose user namespaces are not the same")]
    TwoUserNamespaces,
    #[error(
        "{path} belongs to user {uid} and group {gid} of the image, who have no ids in the user namespace"
    )]
    NoSuchId { path: PathBuf, uid: u32, gid: u32 },
    #[error("{path} is no block device of this machine: name its node")]
    NoBlockDevice { path: PathBuf },
    #[error("CDI device injection failed")]
    Cdi { source: hako_cdi::CdiError },
    #[error("{refusal}")]
    NoDevice { refusal: String, source: hako_cdi::CdiError },
    #[error("a thread of the engine ended early")]
    Thread,
    #[error("a task of the engine ended early")]
    Task { source: tokio::task::JoinError },
}

impl Classify for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoContainer { .. }
            | Self::NoSandbox { .. }
            | Self::NoVolume { .. }
            | Self::NoFile { .. } => Kind::NotFound,
            Self::VolumeDiffers { .. } | Self::NameTaken { .. } => Kind::AlreadyExists,
            Self::Ambiguous { .. }
            | Self::BadName { .. }
            | Self::Signal { .. }
            | Self::SameName
            | Self::VolumeName { .. }
            | Self::NoCommand
            | Self::NoImage { .. }
            | Self::NoDirectory { .. }
            | Self::Value { .. }
            | Self::NoBlockDevice { .. }
            | Self::NoSuchId { .. }
            | Self::NoBindSource { .. } => Kind::Invalid,
            Self::NotRunning { .. }
            | Self::Paused { .. }
            | Self::AlreadyPaused { .. }
            | Self::AutoRemove { .. }
            | Self::NotPaused { .. }
            | Self::Running { .. }
            | Self::RemoveRunning { .. }
            | Self::Removing { .. }
            | Self::Spent { .. }
            | Self::NotReady { .. }
            | Self::Standalone { .. }
            | Self::VolumeInUse { .. }
            | Self::NoLogDaemon { .. }
            | Self::MemoryAboveSwap
            | Self::JoinStopped { .. }
            | Self::NotShareable { .. }
            | Self::HostUsers { .. }
            | Self::TwoUserNamespaces
            | Self::NotPropagated { .. }
            | Self::NoMount { .. }
            | Self::RootForbidden { .. } => Kind::FailedPrecondition,
            Self::Unkillable { .. } => Kind::DeadlineExceeded,
            Self::Record { .. } => Kind::DataLoss,
            Self::Io { source, .. } => Kind::of_io(source),
            Self::Unreadable => Kind::Unimplemented,
            Self::Cdi { source } | Self::NoDevice { source, .. } => source.kind(),
            Self::ReadOnly { .. } => Kind::Forbidden,
            Self::Task { .. } | Self::Thread => Kind::Internal,
        }
    }
}

/// Names the operation and the path of an I/O error.
pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> EngineError {
    let path = path.into();
    move |source| EngineError::Io { op, path, source }
}

/// The most of a name of a container or a volume.
pub(crate) const NAME_BYTES: usize = 255;

fn container_name(name: &str) -> String {
    match name.len() {
        ..=NAME_BYTES => {
            format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        }
        len => format!("Invalid container name: it has {len} characters, at most {NAME_BYTES} are allowed"),
    }
}

fn volume_name(name: &str) -> String {
    match name.len() {
        1 if name.starts_with(|first: char| first.is_ascii_alphanumeric()) => format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        ),
        ..=NAME_BYTES => format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" \
             are allowed. If you intended to pass a host directory, use absolute path"
        ),
        len => format!(
            "create {name}: a volume name of {len} characters is too long, at most {NAME_BYTES} are allowed"
        ),
    }
}

/// Runs blocking work of the crates below without blocking other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> hako_error::Result<T> + Send + 'static,
) -> hako_error::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| EngineError::Task { source })?
}
