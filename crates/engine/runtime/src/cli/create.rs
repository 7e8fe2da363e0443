//! `create` and `run`.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Spec;
use hako_sys::Child;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::args::Args;
use super::foreground::Foreground;
use super::state::{Home, Record, Unfinished, load_new_spec, start_time};
use super::{Global, hooks, internal};
use crate::init::{Gate, run_container};
use crate::launch::{Launch, PidNamespace, Status, launch, leave_open, read_status};
use crate::plan::UserPlan;
use crate::prepare::{Prepared, prepare, remove_group};
use crate::types::{Rootfs, Stdio};
use crate::user::UserNamespace;

/// What `create` and `run` are told.
struct Request {
    id: String,
    bundle: PathBuf,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u32,
    no_pivot: bool,
    no_new_keyring: bool,
    is_systemd: bool,
    /// Whether `start` comes later, the program runs in the foreground, or neither.
    mode: RunMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunMode {
    Create,
    Foreground,
    Detached,
}

impl Request {
    fn new(args: &mut Args, is_systemd: bool, mode: RunMode) -> Result<Self> {
        let bundle = args.take_path("bundle").unwrap_or_else(|| PathBuf::from("."));
        let request = Self {
            bundle: fs::canonicalize(&bundle).map_err(|error| {
                Error::new(Kind::NotFound, format!("bundle {} does not exist", bundle.display()))
                    .with_source(error)
            })?,
            pid_file: args.take_path("pid-file"),
            console_socket: args.take_path("console-socket"),
            pidfd_socket: args.take_path("pidfd-socket"),
            preserve_fds: args.take_number("preserve-fds")?.unwrap_or(0),
            no_pivot: args.take_flag("no-pivot"),
            no_new_keyring: args.take_flag("no-new-keyring"),
            id: args.id()?,
            is_systemd,
            mode,
        };
        args.is_done()?;
        Ok(request)
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> Error + Copy + '_ {
        move |error| internal(format!("cannot create container {}", self.id))(error)
    }
}

pub(super) fn create(global: &Global, args: &mut Args, is_systemd: bool) -> Result<()> {
    protect_executable();
    let request = Request::new(args, is_systemd, RunMode::Create)?;
    make(global, &request).map(drop)
}

pub(super) fn run(global: &Global, args: &mut Args, is_systemd: bool) -> Result<u8> {
    protect_executable();
    let mode = if args.take_flag("detach") { RunMode::Detached } else { RunMode::Foreground };
    let (is_kept, is_subreaper) = (args.take_flag("keep"), !args.take_flag("no-subreaper"));
    let request = Request::new(args, is_systemd, mode)?;
    let is_foreground = mode == RunMode::Foreground;
    let foreground = is_foreground.then(|| Foreground::prepare(is_subreaper)).transpose()?;
    let (spec, record, terminal) = make(global, &request)?;
    hooks::after_start(Some(&spec), &record).inspect_err(|_| {
        // The hook's failure is the one to tell.
        let _ended = super::commands::kill_and_wait(record.pid, record.start_time);
    })?;
    let Some(foreground) = foreground else { return Ok(0) };
    let code = foreground.wait(record.pid, terminal)?;
    if !is_kept {
        super::commands::remove(&Home::of(&global.root, &record.id), &record)?;
    }
    Ok(code)
}

/// Starts this command again through a read-only view of the executable (CVE-2019-5736), unless it was.
pub(super) fn protect_executable() {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    if hako_sys::is_read_only_exe() {
        return;
    }
    let Ok(view) = hako_sys::read_only_exe(Path::new("/proc/self/exe")) else { return };
    let strings = |all: Vec<Vec<u8>>| {
        all.into_iter().filter_map(|one| std::ffi::CString::new(one).ok()).collect::<Vec<_>>()
    };
    let args = strings(std::env::args_os().map(OsStringExt::into_vec).collect());
    let env = std::env::vars_os().map(|(key, value)| {
        let mut line = key.into_vec();
        line.push(b'=');
        line.extend(value.into_vec());
        line
    });
    let env = strings(env.collect());
    if let Ok(path) = std::ffi::CString::new(format!("/proc/self/fd/{}", view.as_raw_fd())) {
        // Where it fails the executable itself has to do, as on kernels without cloned mounts.
        let _unprotected = hako_sys::exec(&path, &args, &env);
    }
}

/// A container with its spec, and its terminal if that is the caller's to copy.
type Made = (Spec, Record, Option<OwnedFd>);

fn make(global: &Global, request: &Request) -> Result<Made> {
    let (spec, unknown) = load_new_spec(&request.bundle)?;
    super::warn_of_capabilities(&unknown);
    check_version(spec.version())?;
    let has_terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    let message = match (has_terminal, request.console_socket.is_some()) {
        (true, false) if request.mode != RunMode::Foreground => {
            "process.terminal is true; give --console-socket, to which the terminal is sent"
        }
        (false, true) => {
            "--console-socket is given and process.terminal is false; set it to true or drop the flag"
        }
        _ => "",
    };
    if !message.is_empty() {
        return Err(Error::new(Kind::Invalid, message));
    }
    let home = Home::create(&global.root, &request.id)?;
    let result = make_in(&home, request, spec, has_terminal);
    if result.is_err() {
        // The first error is the one to tell.
        let _left_behind = home.remove();
    }
    result
}

fn make_in(home: &Home, request: &Request, spec: Spec, has_terminal: bool) -> Result<Made> {
    let root = spec.root().as_ref().map_or_else(|| PathBuf::from("rootfs"), |root| root.path().clone());
    let rootfs = request.bundle.join(root);
    let cgroup = cgroup_path(&spec, request);
    let own = std::process::id();
    let note = Unfinished { maker: (own, start_time(own).unwrap_or(0)), cgroup: cgroup.clone(), init: None };
    home.note(&note)?;
    let stdio = Stdio { tty: has_terminal, ..Stdio::default() };
    let mut prepared =
        prepare(&request.id, spec.clone(), Rootfs::Bind(rootfs.clone()), &cgroup, stdio, &rootfs, false)?;
    complete(&mut prepared, request, &spec);
    let result = launch_in(home, request, &spec, &prepared, note);
    if result.is_err() {
        let _left_behind = remove_group(&cgroup);
    }
    result.map(|(record, terminal)| (spec, record, terminal))
}

/// Within a major version what is new is left away by who does not know it; another one may mean anything.
fn check_version(version: &str) -> Result<()> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(_))) => Ok(()),
        _ => Err(Error::new(
            Kind::Invalid,
            format!("ociVersion {version:?} is not known; versions 1.0.0 to {} are", super::OCI_VERSION),
        )),
    }
}

/// What the command line adds to a plan: its flags, descriptors a service manager left, the state hooks are told.
fn complete(prepared: &mut Prepared, request: &Request, spec: &Spec) {
    let plan = &mut prepared.plan;
    plan.no_pivot = request.no_pivot;
    plan.process.keeps_keyring = request.no_new_keyring;
    plan.process.preserve_fds = request.preserve_fds;
    let listening = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<u32>().ok());
    if let Some(count) = listening.filter(|count| *count > 0) {
        plan.process.preserve_fds += count;
        plan.process.env.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()]);
    }
    let state = serde_json::json!({
        "ociVersion": super::OCI_VERSION,
        "id": request.id,
        "bundle": request.bundle,
        "annotations": spec.annotations().clone().unwrap_or_default(),
    });
    plan.hook_state = state.to_string();
}

fn launch_in(
    home: &Home,
    request: &Request,
    spec: &Spec,
    prepared: &Prepared,
    mut note: Unfinished,
) -> Result<(Record, Option<OwnedFd>)> {
    let (child, status) = start_init(home, request, prepared).map_err(request.failed())?;
    note.init = Some((child.pid, start_time(child.pid).unwrap_or(0)));
    let finish = || {
        home.note(&note)?;
        settle(home, request, spec, prepared, (&child, &status))
    };
    finish().inspect_err(|_| {
        if let Some(pid) = i32::try_from(child.pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ended = kill_process(pid, Signal::KILL);
            let _reaped = waitpid(Some(pid), WaitOptions::empty());
        }
    })
}

fn start_init(home: &Home, request: &Request, prepared: &Prepared) -> std::io::Result<(Child, OwnedFd)> {
    let pipe = (request.mode == RunMode::Create).then(|| start_pipe(home)).transpose()?;
    let unified = prepared.create.unified.as_ref().map(fs::File::open).transpose()?;
    let preserved = hako_sys::inherited(3, prepared.plan.process.preserve_fds)?;
    let user = match &prepared.plan.namespaces.user {
        None => None,
        Some(UserPlan::New(map)) => Some(UserNamespace::new(map)?),
        Some(UserPlan::Join(path)) => Some(UserNamespace::open(path)?),
    };
    let how = Launch {
        clone: prepared.create.clone,
        pid_namespace: prepared.create.join_pid.as_deref().map_or(PidNamespace::Own, PidNamespace::Path),
        unified: unified.as_ref().map(AsFd::as_fd),
        streams: [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()],
        preserved: &preserved,
        user: user.as_ref(),
    };
    let extra: Vec<_> = pipe.iter().map(AsFd::as_fd).collect();
    launch(&how, &extra, |mut fds, birth| {
        let gate = if fds.len() > 4 { Gate::Pipe(fds.remove(4)) } else { Gate::Socket };
        let Some(status) = fds.pop() else { return 1 };
        // The streams are the program's.
        leave_open(fds);
        run_container(&prepared.plan, &prepared.seccomp, &status, &gate, (birth, None))
    })
}

/// From an init that was started to a container that is there, with the hooks in between.
fn settle(
    home: &Home,
    request: &Request,
    spec: &Spec,
    prepared: &Prepared,
    (child, status): (&Child, &OwnedFd),
) -> Result<(Record, Option<OwnedFd>)> {
    let failed = request.failed();
    let Rootfs::Bind(rootfs) = &prepared.plan.rootfs else { return Err(killed(request)) };
    let record = Record {
        id: request.id.clone(),
        pid: child.pid,
        start_time: start_time(child.pid).unwrap_or(0),
        bundle: request.bundle.clone(),
        rootfs: rootfs.clone(),
        cgroup: prepared.create.cgroup.clone(),
        created: jiff::Timestamp::now().to_string(),
        annotations: spec.annotations().clone().unwrap_or_default(),
    };
    if prepared.plan.waits_for_hooks {
        let Status::Mounted = next(status, request)? else { return Err(killed(request)) };
        hooks::before_create(spec, &record)?;
        hako_sys::send(status.as_fd(), &[crate::init::HOOKS_RAN], &[]).map_err(failed)?;
    }
    let Status::Ready(terminal) = next(status, request)? else { return Err(killed(request)) };
    let terminal = match (terminal, &request.console_socket) {
        (Some(terminal), Some(socket)) => send_terminal(&terminal, socket).map(|()| None)?,
        (terminal, _) => terminal,
    };
    if let Some(path) = &request.pidfd_socket {
        send_descriptor(child.pidfd.as_fd(), "pidfd", path)?;
    }
    if let Some(path) = &request.pid_file {
        fs::write(path, record.pid.to_string())
            .map_err(internal(format!("cannot write {}", path.display())))?;
    }
    home.save(&record)?;
    if request.mode != RunMode::Create {
        hako_sys::send(status.as_fd(), &[crate::init::START], &[]).map_err(failed)?;
        // It closes the socket by becoming its program.
        next(status, request)?;
    }
    Ok((record, terminal))
}

/// What an init says next; its refusal is an error.
fn next(status: &OwnedFd, request: &Request) -> Result<Status> {
    match read_status(status.as_fd(), true).map_err(request.failed())? {
        Some(Status::Failed { code, message }) => Err(refused(code, message)),
        Some(other) => Ok(other),
        None => Ok(Status::Closed),
    }
}

/// An init's refusal as an error.
pub(super) fn refused(code: u8, message: String) -> Error {
    let kind = match code {
        127 => Kind::NotFound,
        126 => Kind::Forbidden,
        _ => Kind::FailedPrecondition,
    };
    Error::new(kind, message)
}

fn killed(request: &Request) -> Error {
    Error::new(
        Kind::Internal,
        format!(
            "the init of container {} was killed while it was set up; is its memory limit too low?",
            request.id
        ),
    )
}

/// Sends a terminal's master to whoever listens, with its name as the data.
pub(super) fn send_terminal(terminal: &OwnedFd, socket: &Path) -> Result<()> {
    send_descriptor(terminal.as_fd(), "/dev/ptmx", socket)
}

/// Sends a descriptor to whoever listens, with a name as the data.
pub(super) fn send_descriptor(fd: BorrowedFd<'_>, name: &str, socket: &Path) -> Result<()> {
    let failed = || internal(format!("cannot send {name} to {}", socket.display()));
    let stream = UnixStream::connect(socket).map_err(failed())?;
    hako_sys::send(stream.as_fd(), name.as_bytes(), &[fd]).map_err(failed()).map(drop)
}

/// The pipe `start` writes to: opened for both directions, opening does not wait for the other side.
fn start_pipe(home: &Home) -> std::io::Result<OwnedFd> {
    let path = home.pipe();
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    Ok(fs::OpenOptions::new().read(true).write(true).open(&path)?.into())
}

/// The group: as the spec says, else by the id, right below the top: a group that all shared would stay behind the last.
/// `slice:prefix:name` is where systemd would put it.
fn cgroup_path(spec: &Spec, request: &Request) -> String {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let path = path.map(|path| path.display().to_string()).filter(|path| !path.is_empty());
    match path {
        None => format!("/hako-runtime-{}", request.id),
        Some(path) if request.is_systemd && path.contains(':') => {
            let mut parts = path.splitn(3, ':');
            let mut part = || parts.next().unwrap_or_default();
            let (slice, prefix, name) = (part(), part(), part());
            let slice = if slice.is_empty() { "system.slice" } else { slice };
            format!("/{slice}/{prefix}-{name}.scope")
        }
        Some(path) if path.starts_with('/') => path,
        Some(path) => format!("/{path}"),
    }
}
