//! The engine's side of a shim.

use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Process;
use tokio::net::UnixStream;
use tokio::sync::broadcast;

use crate::types::{ContainerState, CreateContainer, ExecIo, ExecStarted, ShimConfig, ShimEvent, TtySize};

/// A running shim. Cheap to clone; dropping the last clone closes the connection and leaves the shim running.
#[derive(Clone, Debug)]
pub struct Shim {
    pid: u32,
    events: broadcast::Sender<ShimEvent>,
}

/// Which stream output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output, and all output of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A container's live streams.
#[derive(Debug)]
pub struct AttachIo {
    /// What the container writes from now on.
    pub output: AttachOutput,
    /// What the container reads.
    pub input: AttachInput,
    /// Whether the container has a terminal.
    pub tty: bool,
}

/// The container's output from the moment of attaching.
#[derive(Debug)]
pub struct AttachOutput(tokio::net::unix::OwnedReadHalf);

/// The container's input.
#[derive(Debug)]
pub struct AttachInput(tokio::net::unix::OwnedWriteHalf);

impl AttachOutput {
    /// The next piece; `None` when the container closed its output.
    pub async fn next(&mut self) -> Result<Option<(OutputStream, Vec<u8>)>> {
        Err(unimplemented("attach"))
    }
}

impl AttachInput {
    /// Writes all of `data` to the container's stdin or terminal.
    pub async fn write(&mut self, _data: &[u8]) -> Result<()> {
        Err(unimplemented("attach"))
    }

    /// Ends this client's input.
    pub async fn close(&mut self) -> Result<()> {
        Err(unimplemented("attach"))
    }
}

fn unimplemented(what: &str) -> Error {
    Error::new(Kind::Unimplemented, format!("{what} is not built yet"))
}

impl Shim {
    /// Starts a shim and connects to it; returns when its namespaces are ready.
    pub async fn spawn(_config: ShimConfig) -> Result<Self> {
        Err(unimplemented("spawn"))
    }

    /// Connects to a shim that runs already. [`Kind::NotFound`] when nothing listens there: the sandbox is dead,
    /// its exits are in `<state_dir>/<id>.exit` (see [`Shim::read_exit`]).
    pub async fn connect(_socket: &Path) -> Result<Self> {
        Err(unimplemented("connect"))
    }

    /// The exit record a shim left in its state directory, if there is one.
    pub fn read_exit(_state_dir: &Path, _container: &str) -> Result<Option<crate::Exit>> {
        Err(unimplemented("read_exit"))
    }

    /// The shim's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The sandbox's network namespace, valid while the shim runs.
    #[must_use]
    pub fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// Sets a container up to the point where its program would run; returns its pid.
    pub async fn create(&self, _container: CreateContainer) -> Result<u32> {
        Err(unimplemented("create"))
    }

    /// Runs the program of a created container.
    pub async fn start(&self, _id: &str) -> Result<()> {
        Err(unimplemented("start"))
    }

    /// Signals a container's first process, or all its processes.
    pub async fn kill(&self, _id: &str, _signal: i32, _all: bool) -> Result<()> {
        Err(unimplemented("kill"))
    }

    /// Signals an exec'd process.
    pub async fn kill_exec(&self, _id: &str, _exec_id: &str, _signal: i32) -> Result<()> {
        Err(unimplemented("kill_exec"))
    }

    /// Runs another process in a running container.
    pub async fn exec(&self, _id: &str, _process: Process, _io: ExecIo) -> Result<ExecStarted> {
        Err(unimplemented("exec"))
    }

    /// Sets the size of a container's terminal, or of an exec'd process's.
    pub async fn resize(&self, _id: &str, _exec_id: Option<&str>, _size: TtySize) -> Result<()> {
        Err(unimplemented("resize"))
    }

    /// Attaches to a container's live streams.
    pub async fn attach(&self, _id: &str) -> Result<AttachIo> {
        Err(unimplemented("attach"))
    }

    /// Forgets a stopped (or only created) container and removes its group; `force` kills it first.
    pub async fn delete(&self, _id: &str, _force: bool) -> Result<()> {
        Err(unimplemented("delete"))
    }

    /// All containers the shim knows, stopped ones included until they are deleted.
    pub async fn state(&self) -> Result<Vec<ContainerState>> {
        Err(unimplemented("state"))
    }

    /// Events from now on. A receiver that lagged calls [`Shim::state`] to catch up.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ShimEvent> {
        self.events.subscribe()
    }

    /// Ends the shim and with it the sandbox's namespaces; refused while containers run unless `force`. Removes
    /// the sandbox's group.
    pub async fn shutdown(&self, _force: bool) -> Result<()> {
        Err(unimplemented("shutdown"))
    }
}
