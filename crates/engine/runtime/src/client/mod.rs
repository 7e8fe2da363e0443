//! The engine's side of a shim.
//!
//! Owns: starting shims, the connection to one, its requests and events.
//! Does not own: the shim's life: dropping a client changes nothing for the containers.
//! Invariant: a group a client made is removed with its container, whether or not creating it succeeded.

mod attach;
mod bundle;
mod connection;
mod empty;
mod greet;
mod starter;

pub use attach::{AttachInput, AttachIo, AttachOutput, OutputStream};
pub(crate) use bundle::Bundle;
pub use bundle::end_bundles;
pub use greet::is_running;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{LinuxSeccomp, Process};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::broadcast;

use crate::plan::sysctl::{self, Own};
use crate::prepare::{
    blocking, exec_plan_file, has_hooks_before_create, prepare, remove_group, write_bundle,
};
use crate::shims_group;
use crate::types::{
    ContainerState, ContainerStatus, CreateContainer, ExecIo, ExecStarted, Exit, LogFormat, ShimConfig,
    ShimEvent, TtySize,
};
use crate::wire::{Answer, Request, VERSION};
use connection::Connection;
use greet::{Word, insist};

/// A running shim. Cheap to clone; dropping the last clone closes the connection and leaves the shim running.
#[derive(Clone, Debug)]
pub struct Shim(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pid: u32,
    state_dir: PathBuf,
    connection: Connection,
    next_exec: AtomicU64,
    /// What the shim can do.
    version: u32,
    /// The shim, whatever becomes of its pid.
    process: Option<OwnedFd>,
    /// Where names are asked for: UDP and TCP.
    dns: Option<[OwnedFd; 2]>,
    /// What execs need of their container's spec: its group and its profile.
    contexts: Mutex<HashMap<String, Context>>,
}

#[derive(Clone, Debug)]
struct Context {
    cgroup: String,
    seccomp: Option<LinuxSeccomp>,
}

fn internal(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, what).with_source(error)
}

impl Shim {
    /// Starts a shim and connects to it; returns when its namespaces are ready.
    pub async fn spawn(config: ShimConfig) -> Result<Self> {
        Self::spawn_joining(config, Vec::new()).await
    }

    /// As [`Shim::spawn`], with the user namespace if that is joined, those whose mode is
    /// [`crate::NamespaceMode::Join`], in the order net, ipc, uts, and the mount namespace that shared mounts come from (see [`Shim::namespace`]).
    pub async fn spawn_joining(mut config: ShimConfig, mut joined: Vec<OwnedFd>) -> Result<Self> {
        let own = Own::from(&config.namespaces);
        config.sysctls.keys().try_for_each(|name| sysctl::check(name, own))?;
        let state_dir = config.state_dir.clone();
        let cgroup = config.cgroup.clone();
        let exe = config.exe.clone();
        let count = u32::try_from(config.sysctls.len()).unwrap_or(u32::MAX);
        let (socket, parameters) = blocking(move || {
            let root = crate::prepare::cgroup_root()?;
            root.create(&cgroup)?;
            let socket = starter::start(&exe, shims_group::word(root, &cgroup).as_deref())?;
            Ok((socket, parameters(count)))
        })
        .await?;
        config.has_parameters = parameters.is_some();
        joined.extend(parameters);
        let connection = Connection::new(socket)?;
        let group = config.cgroup.clone();
        match connection.call(Request::Configure(Box::new(config)), &joined).await {
            Ok((Answer::Pid(pid), dns)) => Ok(Self::with(connection, pid, state_dir, VERSION, dns)),
            Ok(_) => Err(unexpected()),
            Err(error) => {
                // The reason it failed is the one to tell.
                let _left_behind = blocking(move || remove_group(&group)).await;
                Err(error)
            }
        }
    }

    /// Connects to a shim that runs already (adopts it); it says itself which state directory it has.
    /// [`Kind::NotFound`] when nothing listens there: the sandbox is dead, its exits are in its state directory
    /// (see [`Shim::read_exit`]).
    pub async fn connect(socket: &Path) -> Result<Self> {
        let stream = std::os::unix::net::UnixStream::connect(socket).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Kind::NotFound,
                _ => Kind::Internal,
            };
            Error::new(kind, format!("no shim answers at {}", socket.display())).with_source(error)
        })?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.pid);
        let connection = Connection::new(stream.into())?;
        let (answer, dns) = insist(Word::Hello, connection.call(Request::Hello, &[]), peer.ok())
            .await
            .map_err(|error| error.context(format!("the shim at {}", socket.display())))?;
        let Answer::Hello { pid, state_dir, version } = answer else { return Err(unexpected()) };
        let shim = Self::with(connection, pid, state_dir, version, dns);
        shim.load_contexts();
        Ok(shim)
    }

    fn with(connection: Connection, pid: u32, state_dir: PathBuf, version: u32, dns: Vec<OwnedFd>) -> Self {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Self(Arc::new(Inner {
            pid,
            state_dir,
            connection,
            next_exec: AtomicU64::new(1),
            version,
            process: number.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
            dns: <[OwnedFd; 2]>::try_from(dns).ok(),
            contexts: Mutex::default(),
        }))
    }

    /// The exit record a shim left in its state directory, if there is one.
    pub fn read_exit(state_dir: &Path, container: &str) -> Result<Option<Exit>> {
        let path = state_dir.join(format!("{container}.exit"));
        match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(exit) => Ok(Some(exit)),
                Err(error) => {
                    Err(Error::new(Kind::DataLoss, format!("{} is no exit record", path.display()))
                        .with_source(error))
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(internal(&format!("cannot read {}", path.display()), error)),
        }
    }

    /// The shim's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// The sandbox's network namespace, valid while the shim runs.
    #[must_use]
    pub fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.0.pid))
    }

    /// One of the sandbox's namespaces, for another sandbox to join. [`Kind::FailedPrecondition`] when the shim is gone.
    pub fn namespace(&self, kind: SharedNamespace) -> Result<OwnedFd> {
        let gone =
            || Error::new(Kind::FailedPrecondition, "the sandbox whose namespace is to be joined has ended");
        let path = format!("/proc/{}/ns/{}", self.0.pid, kind.name());
        let namespace = std::fs::File::open(path).map_err(|_| gone())?;
        // Asked afterwards: while the process lives its pid means nothing else.
        let process = self.0.process.as_ref().ok_or_else(gone)?;
        if has_ended(process) { Err(gone()) } else { Ok(namespace.into()) }
    }

    /// The pid namespace of a running container, for another one to join.
    pub async fn pid_namespace(&self, id: &str) -> Result<OwnedFd> {
        self.namespace_of(id, "pid").await
    }

    /// The user namespace of a running container, for another sandbox to join.
    pub async fn user_namespace(&self, id: &str) -> Result<OwnedFd> {
        self.namespace_of(id, "user").await
    }

    async fn namespace_of(&self, id: &str, name: &str) -> Result<OwnedFd> {
        let ended = || Error::new(Kind::FailedPrecondition, format!("container {id} is not running"));
        let pid = async || -> Result<Option<u32>> {
            let states = self.state().await?;
            let mut alive =
                states.iter().filter(|one| one.id == id && one.status != ContainerStatus::Stopped);
            Ok(alive.next().map(|one| one.pid))
        };
        let before = pid().await?.ok_or_else(ended)?;
        let namespace = std::fs::File::open(format!("/proc/{before}/ns/{name}")).map_err(|_| ended())?;
        // The shim reaps it: while it says so the pid means nothing else.
        if pid().await? == Some(before) { Ok(namespace.into()) } else { Err(ended()) }
    }

    /// The sockets at which the sandbox's containers ask for names, if [`ShimConfig::dns`] asked for them. They are the
    /// shim's: questions wait in them while no engine is there.
    pub fn dns_sockets(&self) -> Result<Option<(std::net::UdpSocket, std::net::TcpListener)>> {
        let Some([udp, tcp]) = &self.0.dns else { return Ok(None) };
        let copy =
            |fd: &OwnedFd| fd.try_clone().map_err(|error| internal("cannot copy a socket for names", error));
        Ok(Some((copy(udp)?.into(), copy(tcp)?.into())))
    }

    async fn call(&self, request: Request, fds: &[OwnedFd]) -> Result<(Answer, Vec<OwnedFd>)> {
        self.0.connection.call(request, fds).await
    }

    async fn insist(&self, request: Request) -> Result<(Answer, Vec<OwnedFd>)> {
        let pid = i32::try_from(self.0.pid).ok().and_then(Pid::from_raw);
        insist(Word::Request, self.call(request, &[]), pid).await
    }

    /// Sets a container up to the point where its program would run; returns its pid. A program that is not there is
    /// [`Kind::NotFound`], one that cannot be executed [`Kind::Forbidden`]: exit codes 127 and 126 where those count.
    pub async fn create(&self, container: CreateContainer) -> Result<u32> {
        self.check_version(&container)?;
        let CreateContainer { id, spec, rootfs, cgroup, stdio, init, pid_namespace } = container;
        let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone());
        let context = Context { cgroup: cgroup.clone(), seccomp };
        let mountpoint = self.0.state_dir.join(crate::shim::ROOT);
        let bundle = Bundle::of(&self.0.state_dir, &id);
        let (name, group, place) = (id.clone(), cgroup.clone(), bundle.path().to_owned());
        let root = mountpoint.clone();
        let takes_empty = self.0.version >= 3;
        let (create, fds) = blocking(move || {
            let mut prepared = prepare(&name, spec.clone(), rootfs, &group, stdio, &mountpoint, true)?;
            write_bundle(&mut prepared, &spec, &place, &mountpoint)?;
            prepared.plan.process.init = init;
            // Without its shim nobody reads what it says and nobody learns how it ended.
            prepared.plan.process.dies_with_parent = true;
            let mut fds = vec![prepared.plan_file()?];
            if let Some(namespace) = pid_namespace {
                prepared.create.joins_pid = true;
                fds.push(namespace.try_clone().map_err(|error| internal("cannot copy a namespace", error))?);
            }
            let empty = (takes_empty && prepared.plan.leaves_the_host()).then(empty::mounts).flatten();
            if let Some(namespace) = empty {
                prepared.create.has_empty = true;
                fds.push(namespace.try_clone().map_err(|error| internal("cannot copy a namespace", error))?);
            }
            Ok((prepared.create, fds))
        })
        .await?;
        let created = match self.call(Request::Create(Box::new(create)), &fds).await {
            Ok((Answer::Mounted(pid), _)) => self.run_hooks(&id, pid, &bundle, root).await,
            other => other,
        };
        match created {
            Ok((Answer::Pid(pid), _)) => {
                self.save_context(&id, &context)?;
                self.0.contexts.lock().insert(id, context);
                Ok(pid)
            }
            Ok(_) => Err(unexpected()),
            Err(error) if error.kind() == Kind::AlreadyExists => Err(error),
            Err(error) => {
                // The reason it failed is the one to tell.
                let _left_behind = blocking(move || {
                    remove_group(&cgroup)?;
                    bundle.end();
                    Ok(())
                })
                .await;
                Err(error)
            }
        }
    }

    /// The hooks of the host, between the container's last mount and its root. One that fails ends the container.
    async fn run_hooks(
        &self,
        id: &str,
        pid: u32,
        bundle: &Bundle,
        mountpoint: PathBuf,
    ) -> Result<(Answer, Vec<OwnedFd>)> {
        let bundle = bundle.clone();
        match blocking(move || bundle.before_create(pid, &mountpoint)).await {
            Ok(()) => self.call(Request::HooksRan { id: id.to_owned() }, &[]).await,
            Err(error) => {
                // The hook's failure is the one to tell.
                let _died = self.call(Request::Delete { id: id.to_owned(), force: true }, &[]).await;
                Err(error)
            }
        }
    }

    /// A shim that was started by an older engine would drop what it does not know.
    fn check_version(&self, container: &CreateContainer) -> Result<()> {
        if self.0.version >= needed_version(container) {
            return Ok(());
        }
        let message = "the sandbox was started by an older version, which lacks what this container needs; start it anew";
        Err(Error::new(Kind::FailedPrecondition, message))
    }

    fn context_path(&self, id: &str) -> PathBuf {
        self.0.state_dir.join(format!("{id}.exec"))
    }

    /// For an adopting engine: what execs need is not in the shim, which never sees a spec.
    fn save_context(&self, id: &str, context: &Context) -> Result<()> {
        let path = self.context_path(id);
        let bytes = serde_json::to_vec(&(&context.cgroup, &context.seccomp))
            .map_err(|error| internal("cannot encode a context", error))?;
        std::fs::write(&path, bytes)
            .map_err(|error| internal(&format!("cannot write {}", path.display()), error))
    }

    fn load_contexts(&self) {
        let entries = std::fs::read_dir(&self.0.state_dir).into_iter().flatten().filter_map(Result::ok);
        for path in
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "exec"))
        {
            let parsed = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let (Some((cgroup, seccomp)), Some(id)) = (parsed, path.file_stem()) {
                let id = id.to_string_lossy().into_owned();
                self.0.contexts.lock().insert(id, Context { cgroup, seccomp });
            }
        }
    }

    /// Runs the program of a created container, then its hooks for that: one that fails is the error, and the program
    /// runs.
    pub async fn start(&self, id: &str) -> Result<()> {
        self.call(Request::Start { id: id.to_owned() }, &[]).await?;
        let bundle = Bundle::of(&self.0.state_dir, id);
        if !bundle.path().exists() {
            return Ok(());
        }
        let states = self.state().await?;
        let pid = states.iter().find(|one| one.id == id).map_or(0, |one| one.pid);
        blocking(move || bundle.after_start(pid)).await
    }

    /// Signals a container's first process, or all its processes. A shim that is stopped is woken for it, one that does
    /// nothing and does not answer is ended, and the container with it: [`Kind::NotFound`].
    pub async fn kill(&self, id: &str, signal: i32, all: bool) -> Result<()> {
        let (id, exec) = (id.to_owned(), None);
        self.insist(Request::Kill { id, exec, signal, all }).await.map(drop)
    }

    /// Signals an exec'd process.
    pub async fn kill_exec(&self, id: &str, exec_id: &str, signal: i32) -> Result<()> {
        let (id, exec) = (id.to_owned(), Some(exec_id.to_owned()));
        self.call(Request::Kill { id, exec, signal, all: false }, &[]).await.map(drop)
    }

    /// Runs another process in a running container, under the container's seccomp profile. Errors as [`Shim::create`].
    pub async fn exec(&self, id: &str, mut process: Process, io: ExecIo) -> Result<ExecStarted> {
        let missing =
            || Error::new(Kind::FailedPrecondition, format!("container {id} is not in this sandbox"));
        let context = self.0.contexts.lock().get(id).cloned().ok_or_else(missing)?;
        let number = self.0.next_exec.fetch_add(1, Ordering::Relaxed);
        let exec_id = format!("{}-{number}", std::process::id());
        let (tty, streams) = match io {
            ExecIo::Fds(streams) => (false, Vec::from(streams)),
            ExecIo::Tty { size } => {
                let size =
                    hako_oci::runtime::BoxBuilder::default().width(size.width).height(size.height).build();
                process.set_console_size(size.ok());
                (true, Vec::new())
            }
        };
        process.set_terminal(Some(tty));
        let plan =
            blocking(move || exec_plan_file(&process, &context.cgroup, context.seccomp.as_ref())).await?;
        let mut fds = vec![plan];
        fds.extend(streams);
        let request = Request::Exec { id: id.to_owned(), exec: exec_id.clone(), tty };
        let (answer, mut fds) = self.call(request, &fds).await?;
        let Answer::Pid(pid) = answer else { return Err(unexpected()) };
        Ok(ExecStarted { exec_id, pid, tty_master: fds.pop() })
    }

    /// Sets the size of a container's terminal, or of an exec'd process's.
    pub async fn resize(&self, id: &str, exec_id: Option<&str>, size: TtySize) -> Result<()> {
        let (id, exec) = (id.to_owned(), exec_id.map(str::to_owned));
        self.call(Request::Resize { id, exec, size }, &[]).await.map(drop)
    }

    /// Attaches to a container's live streams. Attach before `start` to miss nothing.
    pub async fn attach(&self, id: &str) -> Result<AttachIo> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()
            .map_err(|error| internal("cannot make a socket pair", error))?;
        let (answer, _) = self.call(Request::Attach { id: id.to_owned() }, &[theirs.into()]).await?;
        let Answer::Tty(tty) = answer else { return Err(unexpected()) };
        AttachIo::new(ours, tty)
    }

    /// Forgets a stopped (or only created) container and removes its group; `force` kills it first.
    pub async fn delete(&self, id: &str, force: bool) -> Result<()> {
        let (answer, _) = self.call(Request::Delete { id: id.to_owned(), force }, &[]).await?;
        let Answer::Group(group) = answer else { return Err(unexpected()) };
        self.0.contexts.lock().remove(id);
        // Absent when it was created by an older engine.
        let _absent = std::fs::remove_file(self.context_path(id));
        let bundle = Bundle::of(&self.0.state_dir, id);
        blocking(move || {
            remove_group(&group)?;
            bundle.end();
            Ok(())
        })
        .await
    }

    /// All containers the shim knows, stopped ones included until they are deleted. Asked as by [`Shim::kill`].
    pub async fn state(&self) -> Result<Vec<ContainerState>> {
        match self.insist(Request::State).await? {
            (Answer::State(states), _) => Ok(states),
            _ => Err(unexpected()),
        }
    }

    /// Events from now on. A receiver that lagged calls [`Shim::state`] to catch up.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ShimEvent> {
        self.0.connection.events()
    }

    /// Ends the shim and with it the sandbox's namespaces; refused while containers run unless `force`. Removes the
    /// sandbox's group, and returns when the shim is gone.
    pub async fn shutdown(&self, force: bool) -> Result<()> {
        let mut events = self.events();
        let (answer, _) = self.call(Request::Shutdown { force }, &[]).await?;
        let Answer::Group(group) = answer else { return Err(unexpected()) };
        while !matches!(events.recv().await, Ok(ShimEvent::Gone) | Err(broadcast::error::RecvError::Closed)) {
        }
        blocking(move || remove_group(&group)).await
    }
}

/// The namespaces one sandbox can take from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedNamespace {
    /// Network.
    Net,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The shim's mounts, to take single ones from ([`crate::SharedMount`]).
    Mount,
}

impl SharedNamespace {
    fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Mount => "mnt",
        }
    }
}

/// The version of the protocol that knows all that a container has.
fn needed_version(container: &CreateContainer) -> u32 {
    let stdio = &container.stdio;
    let needs_first = container.init
        || container.pid_namespace.is_some()
        || stdio.syslog.is_some()
        || stdio.log.as_ref().is_some_and(|log| log.format != LogFormat::Cri || log.compress);
    if has_hooks_before_create(&container.spec) { 2 } else { u32::from(needs_first) }
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = rustix::event::Timespec::default();
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn unexpected() -> Error {
    Error::new(Kind::Internal, "a shim gave an answer of the wrong kind; is it of another version?")
}

/// Where a shim writes so many parameters of its namespaces: in the host's /proc, where it does so otherwise, each takes a
/// millisecond among a thousand network namespaces.
fn parameters(count: u32) -> Option<OwnedFd> {
    if count == 0 {
        return None;
    }
    hako_sys::parameters(count).ok()?.try_clone().ok()
}

/// Starts `exe shim …` with a socket as its standard input, executed through a read-only view (CVE-2019-5736).
pub(crate) fn start_process(
    exe: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(OwnedFd, std::process::Child)> {
    use std::os::fd::AsRawFd;
    use std::process::Stdio;
    let failed = |error: std::io::Error| internal("cannot start a shim", error);
    // Without it (a kernel or file system that cannot clone the mount) the executable itself has to do.
    let view = hako_sys::read_only_exe(exe).ok();
    let program = match &view {
        Some(view) => PathBuf::from(format!("/proc/self/fd/{}", view.as_fd().as_raw_fd())),
        None => exe.to_owned(),
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    let child = std::process::Command::new(program)
        .arg("shim")
        .args(args)
        .args(crate::descriptors::word())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .spawn()
        .map_err(failed)?;
    Ok((ours.into(), child))
}
