//! What the engine asks for, one function a request.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use hako_cgroup::CgroupRoot;
use hako_sys::{Child, CloneFlags};
use rustix::event::epoll::EventFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Winsize, tcsetwinsize};

use super::container::{Container, Exec};
use super::log::Log;
use super::server::{Server, Source};
use super::{Refusal, refuse};
use crate::init::START;
use crate::launch::{Launch, PidNamespace, Status, container_child, exec_child, launch, read_status};
use crate::oom::Oom;
use crate::types::{ContainerStatus, TtySize};
use crate::wire::{Answer, Create, Request, ToShim, WireKind};

/// Whether a request is answered now or when something has happened.
pub(super) enum Outcome {
    Now(Answer),
    Later,
}

impl Server {
    pub(super) fn request(&mut self, connection: u64, message: ToShim, fds: Vec<OwnedFd>) {
        let to = (connection, message.number);
        if matches!(message.request, Request::Hello) {
            return self.hello(to);
        }
        let outcome = match message.request {
            Request::Create(create) => self.create(*create, fds, to),
            Request::HooksRan { id } => self.hooks_ran(&id, to),
            Request::Start { id } => self.start(&id, to),
            Request::Kill { id, exec, signal, all } => self.kill(&id, exec.as_deref(), signal, all),
            Request::Exec { id, exec, tty } => self.exec(&id, exec, tty, fds, to),
            Request::Resize { id, exec, size } => self.resize(&id, exec.as_deref(), size),
            Request::Attach { id } => self.attach_request(&id, fds),
            Request::Delete { id, force } => self.delete(&id, force),
            Request::State => {
                Ok(Outcome::Now(Answer::State(self.containers.values().map(Container::state).collect())))
            }
            Request::Shutdown { force } => self.shutdown(force),
            Request::Configure(_) | Request::Once(_) | Request::Hello => {
                refuse(WireKind::Invalid, "this shim is configured already")
            }
        };
        match outcome {
            Ok(Outcome::Now(answer)) => self.reply(to, answer, &[]),
            Ok(Outcome::Later) => {}
            Err((kind, message)) => self.fail(to, kind, message),
        }
    }

    fn hello(&mut self, to: (u64, u64)) {
        let answer = Answer::Hello {
            pid: std::process::id(),
            state_dir: self.config.state_dir.clone(),
            version: crate::wire::VERSION,
        };
        // One that cannot be copied leaves the engine without names, not without containers.
        let sockets: Vec<OwnedFd> = self.dns.iter().flatten().filter_map(|fd| fd.try_clone().ok()).collect();
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        self.reply(to, answer, &fds);
    }

    fn container(&mut self, id: &str) -> Result<&mut Container, Refusal> {
        let missing = || (WireKind::NotFound, format!("container {id} is not in this sandbox"));
        self.containers.get_mut(id).ok_or_else(missing)
    }

    fn create(&mut self, create: Create, fds: Vec<OwnedFd>, to: (u64, u64)) -> Result<Outcome, Refusal> {
        if self.containers.contains_key(&create.id) {
            return refuse(
                WireKind::AlreadyExists,
                format!("container {} exists already; delete it first", create.id),
            );
        }
        let given = Descriptors::of(&create, fds)?;
        let id = create.id.clone();
        let failed =
            |error: io::Error| (WireKind::Internal, format!("cannot create container {id}: {error}"));
        let log = Log::open(&create.stdio, self.home_net.as_ref()).map_err(|error| {
            (WireKind::FailedPrecondition, format!("cannot open the log of container {id}: {error}"))
        })?;
        let streams = Streams::new(create.stdio.stdin, create.stdio.tty).map_err(failed)?;
        let (child, init) = self.launch_init(&create, given, &streams).map_err(failed)?;
        let token = self.token();
        self.watch(init.as_fd(), token, EventFlags::IN).map_err(failed)?;
        self.sources.insert(token, Source::Init { container: id.clone(), exec: None });
        let mut container = Container {
            id: id.clone(),
            pid: child.pid,
            pidfd: child.pidfd,
            status: ContainerStatus::Created,
            exit: None,
            init: Some(init),
            creating: Some(to),
            starting: None,
            awaits_hooks: false,
            cgroup: create.cgroup,
            unified: create.unified,
            oom: None,
            log,
            input: streams.input,
            input_waiting: Vec::new(),
            input_token: None,
            input_ends: false,
            stdin_once: create.stdio.stdin_once,
            tty: create.stdio.tty,
            terminal: None,
            outputs: Vec::new(),
            execs: std::collections::BTreeMap::new(),
        };
        if let Some((counter, control)) = create.oom {
            container.oom = self.watch_oom(&id, counter, control);
        }
        self.containers.insert(id.clone(), container);
        for (stream, fd) in streams.outputs {
            self.add_output(&id, stream, fd).map_err(failed)?;
        }
        Ok(Outcome::Later)
    }

    fn launch_init(
        &self,
        create: &Create,
        given: Descriptors,
        streams: &Streams,
    ) -> io::Result<(Child, OwnedFd)> {
        let Descriptors { plan, entered, empty } = given;
        // In a user namespace the init has one that belongs to it.
        let empty = empty.filter(|_| self.user.is_none());
        let unified = create.unified.as_ref().map(File::open).transpose()?;
        let how = Launch {
            clone: if empty.is_some() { create.clone & !CloneFlags::NEWNS.0 } else { create.clone },
            pid_namespace: self.pid_namespace(create, entered.as_ref()),
            unified: unified.as_ref().map(AsFd::as_fd),
            streams: streams.inside(),
            preserved: &[],
            user: self.user.as_ref(),
        };
        let given: Vec<_> = [Some(&plan), empty.as_ref()].into_iter().flatten().map(AsFd::as_fd).collect();
        launch(&how, &given, container_child)
    }

    /// A container whose spec names no pid namespace has the one that is shared, if there is one.
    fn pid_namespace<'a>(&'a self, create: &'a Create, entered: Option<&'a OwnedFd>) -> PidNamespace<'a> {
        if let Some(entered) = entered {
            return PidNamespace::Entered(entered.as_fd());
        }
        let has_own = CloneFlags(create.clone).has(CloneFlags::NEWPID);
        match (&create.join_pid, &self.pause) {
            (Some(path), _) => PidNamespace::Path(path),
            (None, Some(pause)) if !has_own => PidNamespace::Of(pause.pidfd.as_fd()),
            (None, _) => PidNamespace::Own,
        }
    }

    /// Where the kernel cannot tell of kills as they happen, they are counted at the end only.
    fn watch_oom(&mut self, id: &str, counter: PathBuf, control: Option<PathBuf>) -> Option<Oom> {
        let (oom, fd) = Oom::watch(counter, control).ok()?;
        let token = self.token();
        let _at_exit = self.watch(fd.as_fd(), token, EventFlags::IN);
        self.sources.insert(token, Source::Oom { container: id.to_owned(), fd });
        Some(oom)
    }

    fn add_output(&mut self, id: &str, stream: u8, fd: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let token = self.token();
        self.watch(fd.as_fd(), token, EventFlags::IN)?;
        let (container, is_paused) = (id.to_owned(), false);
        self.sources.insert(token, Source::Output { container, stream, fd, is_paused });
        if let Some(container) = self.containers.get_mut(id) {
            container.outputs.push(token);
        }
        Ok(())
    }

    /// Takes what an init says.
    pub(super) fn read_init(&mut self, token: u64, id: &str, exec: Option<&str>) {
        let socket = self.init_of(id, exec).and_then(|socket| socket.try_clone().ok());
        let Some(socket) = socket else {
            self.sources.remove(&token);
            return;
        };
        match read_status(socket.as_fd(), false) {
            Ok(None) => {}
            Ok(Some(Status::Mounted)) => self.init_mounted(id),
            Ok(Some(Status::Ready(terminal))) => self.init_ready(id, exec, terminal),
            Ok(Some(Status::Failed { code, message })) => self.init_failed(id, exec, code, &message),
            Ok(Some(Status::Closed)) | Err(_) => {
                self.unwatch(socket.as_fd());
                self.sources.remove(&token);
                self.init_closed(id, exec);
            }
        }
    }

    fn init_of(&self, id: &str, exec: Option<&str>) -> Option<&OwnedFd> {
        let container = self.containers.get(id)?;
        match exec {
            None => container.init.as_ref(),
            Some(exec) => container.execs.get(exec)?.init.as_ref(),
        }
    }

    /// Takes everything an init that died said.
    pub(super) fn drain_init(&mut self, id: &str, exec: Option<&str>) {
        let find = |source: &Source| matches!(source, Source::Init { container, exec: of } if container == id && of.as_deref() == exec);
        let token = self.sources.iter().find(|(_, source)| find(source)).map(|(token, _)| *token);
        while let Some(token) = token.filter(|token| self.sources.contains_key(token)) {
            self.read_init(token, id, exec);
        }
    }

    fn init_ready(&mut self, id: &str, exec: Option<&str>, terminal: Option<OwnedFd>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if let Some(exec) = exec {
            // It goes on by itself; its terminal goes to the engine with the answer.
            if let Some(exec) = container.execs.get_mut(exec) {
                exec.terminal = terminal;
                exec.is_ready = true;
            }
            return;
        }
        let (to, pid) = (container.creating.take(), container.pid);
        if let Some(terminal) = terminal {
            container.terminal = terminal.try_clone().ok();
            container.input = terminal.try_clone().ok();
            // Without its output the terminal is silent, and the container runs.
            let _silent = self.add_output(id, 1, terminal);
        }
        if let Some(to) = to {
            self.reply(to, Answer::Pid(pid), &[]);
        }
    }

    fn init_failed(&mut self, id: &str, exec: Option<&str>, code: u8, message: &str) {
        let kind = match code {
            127 => WireKind::NotFound,
            126 => WireKind::Forbidden,
            _ => WireKind::FailedPrecondition,
        };
        let Some(container) = self.containers.get_mut(id) else { return };
        let (waiting, is_forgotten) = match exec {
            Some(exec) => (container.execs.remove(exec).and_then(|exec| exec.starting), false),
            None => match container.creating.take() {
                Some(to) => (Some(to), true),
                None => (container.starting.take(), false),
            },
        };
        if let Some(to) = waiting {
            self.fail(to, kind, message.to_owned());
        }
        if is_forgotten {
            self.forget(id);
        }
    }

    /// The socket closed: the program runs, or the init died, which its exit tells.
    fn init_closed(&mut self, id: &str, exec: Option<&str>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if let Some(name) = exec {
            let Some(exec) = container.execs.get_mut(name) else { return };
            exec.init = None;
            if !exec.is_ready {
                // It died while it was set up; its exit answers the request.
                return;
            }
            let (to, pid) = (exec.starting.take(), exec.pid);
            let terminal = exec.terminal.as_ref().and_then(|terminal| terminal.try_clone().ok());
            let fds: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
            if let Some(to) = to {
                self.reply(to, Answer::Pid(pid), &fds);
            }
            return;
        }
        container.init = None;
        if container.creating.is_some() {
            return;
        }
        if let Some(to) = container.starting.take() {
            container.status = ContainerStatus::Running;
            self.reply(to, Answer::Done, &[]);
        }
    }

    fn start(&mut self, id: &str, to: (u64, u64)) -> Result<Outcome, Refusal> {
        let container = self.container(id)?;
        if container.status != ContainerStatus::Created
            || container.starting.is_some()
            || container.creating.is_some()
            || container.awaits_hooks
        {
            return refuse(
                WireKind::FailedPrecondition,
                format!("container {id} is not waiting to be started"),
            );
        }
        let Some(init) = &container.init else {
            return refuse(WireKind::FailedPrecondition, format!("the init of container {id} is gone"));
        };
        match hako_sys::send(init.as_fd(), &[START], &[]) {
            Ok(_) => container.starting = Some(to),
            Err(error) => return refuse(WireKind::Internal, format!("cannot start container {id}: {error}")),
        }
        Ok(Outcome::Later)
    }

    fn kill(&mut self, id: &str, exec: Option<&str>, signal: i32, all: bool) -> Result<Outcome, Refusal> {
        let container = self.container(id)?;
        let no_signal = || (WireKind::Invalid, format!("{signal} is no signal"));
        let number = signal;
        let signal = Signal::from_named_raw(number).ok_or_else(no_signal);
        if all {
            let root = CgroupRoot::detect().and_then(|root| root.open(&container.cgroup));
            let pids = root.and_then(|group| group.processes()).unwrap_or_default();
            let signal = signal?;
            for pid in pids.into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
                // One that ended meanwhile needs no signal.
                let _ended = kill_process(pid, signal);
            }
            return Ok(Outcome::Now(Answer::Done));
        }
        let pid = match exec {
            Some(exec) => match container.execs.get(exec) {
                Some(exec) => exec.pid,
                None => {
                    return refuse(WireKind::NotFound, format!("process {exec} in container {id} has ended"));
                }
            },
            None if container.is_alive() => container.pid,
            None => return refuse(WireKind::FailedPrecondition, format!("container {id} is not running")),
        };
        // Ours until we reap it, so the number means this process.
        let failed = |error| (WireKind::Internal, format!("cannot signal container {id}: {error}"));
        let pid = Pid::from_raw(pid as i32).ok_or_else(|| (WireKind::Internal, "no pid".to_owned()))?;
        match signal {
            Ok(signal) => kill_process(pid, signal).map_err(failed)?,
            Err(_) if (1..=64).contains(&number) => hako_sys::signal(pid, number)
                .map_err(|error| (WireKind::Internal, format!("cannot signal container {id}: {error}")))?,
            Err(invalid) => return Err(invalid),
        }
        Ok(Outcome::Now(Answer::Done))
    }

    fn exec(
        &mut self,
        id: &str,
        exec: String,
        tty: bool,
        mut fds: Vec<OwnedFd>,
        to: (u64, u64),
    ) -> Result<Outcome, Refusal> {
        if fds.is_empty() {
            return refuse(WireKind::Invalid, "an exec request carries a plan");
        }
        let plan = fds.remove(0);
        let token = self.token();
        let user = self.user.as_ref().map(|user| user.root);
        let container = self.container(id)?;
        if container.status != ContainerStatus::Running {
            return refuse(
                WireKind::FailedPrecondition,
                format!("container {id} is not running; start it first"),
            );
        }
        let failed =
            |error: io::Error| (WireKind::Internal, format!("cannot exec in container {id}: {error}"));
        if tty {
            let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
            for _ in 0..3 {
                fds.push(null.try_clone().map_err(failed)?.into());
            }
        }
        let Ok(streams) = <[OwnedFd; 3]>::try_from(fds) else {
            return refuse(WireKind::Invalid, "an exec request carries three streams");
        };
        let unified = container.unified.as_ref().map(File::open).transpose().map_err(failed)?;
        let how = Launch {
            clone: 0,
            pid_namespace: PidNamespace::Of(container.pidfd.as_fd()),
            unified: unified.as_ref().map(AsFd::as_fd),
            streams: [streams[0].as_fd(), streams[1].as_fd(), streams[2].as_fd()],
            preserved: &[],
            user: None,
        };
        let (child, init) =
            launch(&how, &[plan.as_fd(), container.pidfd.as_fd()], |fds, _| exec_child(fds, user))
                .map_err(failed)?;
        let started =
            Exec { pid: child.pid, init: Some(init), starting: Some(to), is_ready: false, terminal: None };
        container.execs.insert(exec.clone(), started);
        self.sources.insert(token, Source::Init { container: id.to_owned(), exec: Some(exec.clone()) });
        if let Some(init) = self.init_of(id, Some(&exec)) {
            self.watch(init.as_fd(), token, EventFlags::IN).map_err(failed)?;
        }
        Ok(Outcome::Later)
    }

    fn resize(&mut self, id: &str, exec: Option<&str>, size: TtySize) -> Result<Outcome, Refusal> {
        let container = self.container(id)?;
        let terminal = match exec {
            None => container.terminal.as_ref(),
            Some(exec) => container.execs.get(exec).and_then(|exec| exec.terminal.as_ref()),
        };
        let Some(terminal) = terminal else {
            return refuse(WireKind::FailedPrecondition, format!("container {id} has no terminal to resize"));
        };
        let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        let failed =
            |error| (WireKind::Internal, format!("cannot resize the terminal of container {id}: {error}"));
        tcsetwinsize(terminal, size).map_err(failed)?;
        Ok(Outcome::Now(Answer::Done))
    }

    fn attach_request(&mut self, id: &str, fds: Vec<OwnedFd>) -> Result<Outcome, Refusal> {
        let tty = self.container(id)?.tty;
        let Ok([socket]) = <[OwnedFd; 1]>::try_from(fds) else {
            return refuse(WireKind::Invalid, "an attach request carries one socket");
        };
        let failed = |error| (WireKind::Internal, format!("cannot attach to container {id}: {error}"));
        self.attach(id, socket).map_err(failed)?;
        Ok(Outcome::Now(Answer::Tty(tty)))
    }

    fn delete(&mut self, id: &str, force: bool) -> Result<Outcome, Refusal> {
        let container = self.container(id)?;
        if container.status == ContainerStatus::Running && !force {
            return refuse(WireKind::FailedPrecondition, format!("container {id} is running; kill it first"));
        }
        let cgroup = container.cgroup.clone();
        if container.is_alive()
            && let Some(pid) = Pid::from_raw(container.pid as i32)
        {
            // Reaped as an orphan, for the container is forgotten at once.
            let _ended = kill_process(pid, Signal::KILL);
        }
        self.forget(id);
        // Absent when it never exited.
        let _absent = std::fs::remove_file(self.config.state_dir.join(format!("{id}.exit")));
        Ok(Outcome::Now(Answer::Group(cgroup)))
    }

    /// Drops all that belongs to a container.
    pub(super) fn forget(&mut self, id: &str) {
        self.end_attached(id);
        self.containers.remove(id);
        let of = |source: &Source| match source {
            Source::Init { container, .. }
            | Source::Output { container, .. }
            | Source::Input { container }
            | Source::Oom { container, .. } => container == id,
            _ => false,
        };
        self.sources.retain(|_, source| !of(source));
        hako_sys::trim_heap();
    }

    fn shutdown(&mut self, force: bool) -> Result<Outcome, Refusal> {
        let running = self.containers.values().find(|container| container.is_alive());
        if let Some(running) = running.filter(|_| !force) {
            return refuse(
                WireKind::FailedPrecondition,
                format!("container {} is running; kill it first", running.id),
            );
        }
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.delete(&id, true)?;
        }
        self.is_done = true;
        // So that nobody connects to what is going.
        let _absent = std::fs::remove_file(&self.config.socket);
        Ok(Outcome::Now(Answer::Group(self.config.cgroup.clone())))
    }
}

/// What comes with a create request: a plan and, if it says so, a pid namespace.
struct Descriptors {
    plan: OwnedFd,
    /// The pid namespace to enter.
    entered: Option<OwnedFd>,
    /// An empty mount namespace.
    empty: Option<OwnedFd>,
}

impl Descriptors {
    fn of(create: &Create, fds: Vec<OwnedFd>) -> Result<Self, Refusal> {
        let wanted = 1 + usize::from(create.joins_pid) + usize::from(create.has_empty);
        let count = fds.len();
        let mut fds = fds.into_iter();
        match fds.next().filter(|_| count == wanted) {
            Some(plan) => {
                let entered = create.joins_pid.then(|| fds.next()).flatten();
                Ok(Self { plan, entered, empty: create.has_empty.then(|| fds.next()).flatten() })
            }
            None => {
                refuse(WireKind::Invalid, "a create request carries one plan, and the namespaces it names")
            }
        }
    }
}

/// A container's streams: its own ends and ours.
struct Streams {
    inside: [OwnedFd; 3],
    input: Option<OwnedFd>,
    outputs: Vec<(u8, OwnedFd)>,
}

impl Streams {
    /// With a terminal everything goes through it; /dev/null stands in until the init has opened it.
    fn new(stdin: bool, tty: bool) -> io::Result<Self> {
        let null = || -> io::Result<OwnedFd> {
            Ok(File::options().read(true).write(true).open("/dev/null")?.into())
        };
        if tty {
            return Ok(Self { inside: [null()?, null()?, null()?], input: None, outputs: Vec::new() });
        }
        let (read_in, input) = if stdin {
            let (read, write) = io::pipe()?;
            let write = OwnedFd::from(write);
            rustix::io::ioctl_fionbio(&write, true)?;
            (read.into(), Some(write))
        } else {
            (null()?, None)
        };
        let ((out, out_inside), (err, err_inside)) = (io::pipe()?, io::pipe()?);
        Ok(Self {
            inside: [read_in, out_inside.into(), err_inside.into()],
            input,
            outputs: vec![(1, out.into()), (2, err.into())],
        })
    }

    fn inside(&self) -> [std::os::fd::BorrowedFd<'_>; 3] {
        [self.inside[0].as_fd(), self.inside[1].as_fd(), self.inside[2].as_fd()]
    }
}
