//! The engine's operations, as its users see them.

use crate::{
    AttachOptions, AttachSession, Container, ContainerSpec, Event, ExecInfo, ExecSession, ExecSpec, Exit,
    Filter, LogOptions, LogStream, Removal, Sandbox, SandboxId, SandboxSpec, Stats, TerminalSize, Update,
    WaitCondition,
};
use async_trait::async_trait;
use hako_error::Result;
use hako_names::ContainerId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Containers and sandboxes of one machine.
///
/// Every operation that makes something less (stop, remove) is idempotent: doing it to what is already gone or
/// stopped is a success, except that a name that never existed is `NotFound` where the operation returns data.
#[async_trait]
pub trait ContainerEngine: Send + Sync + 'static {
    /// Makes a sandbox and brings it up: namespaces, address, host ports. On return it is [`Ready`](crate::SandboxState::Ready).
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox>;

    /// Kills what runs in the sandbox, gives its address and namespaces back. Containers stay as exited ones.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Stops the sandbox and removes it with all its containers. A sandbox that is not there is a success.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// The sandbox as it is now.
    async fn sandbox(&self, id: &SandboxId) -> Result<Sandbox>;

    /// All sandboxes that match, oldest first.
    async fn sandboxes(&self, filter: &Filter) -> Result<Vec<Sandbox>>;

    /// Makes a container in a ready sandbox. Its process does not exist before [`start`](Self::start).
    async fn create_container(&self, sandbox: &SandboxId, spec: ContainerSpec) -> Result<ContainerId>;

    /// Makes a container with a sandbox of its own, which comes up when the container starts and goes down when it
    /// exits. `container.name` must be unique among such containers; when empty, one is made from the id.
    async fn create_standalone(&self, sandbox: SandboxSpec, container: ContainerSpec) -> Result<ContainerId>;

    /// Starts a created container; a standalone one also when it has exited.
    ///
    /// `FailedPrecondition` when it runs already. When the program cannot be executed the container becomes
    /// exited with code 127 (not found) or 126 (not executable) and the error is `NotFound` or `Invalid`.
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// Sends the stop signal (the container's own, unless `signal` is given), after `grace` SIGKILL, and waits for the exit.
    async fn stop(&self, id: &ContainerId, signal: Option<i32>, grace: Duration) -> Result<()>;

    /// Stops the container as [`stop`](Self::stop) does, if it runs, and starts it again. One that goes when it exits stays.
    async fn restart(&self, id: &ContainerId, signal: Option<i32>, grace: Duration) -> Result<()>;

    /// Sends a signal to the container's first process. `FailedPrecondition` when it does not run.
    async fn kill(&self, id: &ContainerId, signal: i32) -> Result<()>;

    /// Waits until the condition holds.
    async fn wait(&self, id: &ContainerId, condition: WaitCondition) -> Result<Exit>;

    /// Removes a container; its logs go with it. `FailedPrecondition` when it runs and is not to be killed, and for a
    /// standalone container that somebody else removes meanwhile.
    async fn remove(&self, id: &ContainerId, removal: Removal) -> Result<()>;

    /// The container as it is now.
    async fn container(&self, id: &ContainerId) -> Result<Container>;

    /// All containers that match, oldest first.
    async fn containers(&self, filter: &Filter) -> Result<Vec<Container>>;

    /// Finds a container by id, by the name of a standalone container, or by a unique prefix of the id.
    async fn resolve(&self, name: &str) -> Result<ContainerId>;

    /// Gives a standalone container another name.
    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()>;

    /// Starts one more process in a running container. It lives on when the session is dropped.
    async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> Result<ExecSession>;

    /// Connects to the container's own standard streams, from now on. May be called before start: nothing is missed then.
    async fn attach(&self, id: &ContainerId, options: AttachOptions) -> Result<AttachSession>;

    /// Sets the size of the terminal of a container with a terminal.
    async fn resize(&self, id: &ContainerId, size: TerminalSize) -> Result<()>;

    /// What the container wrote, oldest first, across log rotation and, for a restarted container, its earlier runs.
    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream>;

    /// What the container uses now.
    async fn stats(&self, id: &ContainerId) -> Result<Stats>;

    /// Stops every process of a container where it is; `FailedPrecondition` when it does not run or is paused.
    async fn pause(&self, id: &ContainerId) -> Result<()>;

    /// Lets a paused container go on; `FailedPrecondition` when it is not paused.
    async fn unpause(&self, id: &ContainerId) -> Result<()>;

    /// Process ids, as the host counts, of all that runs in a container; `FailedPrecondition` when it does not run.
    async fn processes(&self, id: &ContainerId) -> Result<Vec<u32>>;

    /// Changes what can change of a container that exists.
    async fn update(&self, id: &ContainerId, update: Update) -> Result<()>;

    /// What is known of the execs of a container, running ones included.
    async fn execs(&self, id: &ContainerId) -> Result<Vec<ExecInfo>>;

    /// Everything that happens from now on. Of one container: create, start, (exec…), oom, die, stop, destroy in this order.
    /// A receiver that lags must list again.
    fn events(&self) -> broadcast::Receiver<Arc<Event>>;
}
