//! `create` and `run`.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Spec;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::args::Args;
use super::state::{Home, Record, load_spec, start_time};
use super::{Global, hooks, internal};
use crate::init::{Gate, run_container};
use crate::launch::{Launch, PidNamespace, Status, launch, leave_open, read_status};
use crate::prepare::{Prepared, prepare, remove_group};
use crate::types::{ContainerStatus, Rootfs, Stdio};

/// What `create` and `run` are told.
struct Request {
    id: String,
    bundle: PathBuf,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    is_systemd: bool,
}

impl Request {
    fn new(args: &mut Args, is_systemd: bool) -> Result<Self> {
        let bundle = args.take_path("bundle").unwrap_or_else(|| PathBuf::from("."));
        Ok(Self {
            bundle: fs::canonicalize(&bundle).map_err(|error| {
                Error::new(Kind::NotFound, format!("bundle {} does not exist", bundle.display()))
                    .with_source(error)
            })?,
            pid_file: args.take_path("pid-file"),
            console_socket: args.take_path("console-socket"),
            id: args.id()?,
            is_systemd,
        })
    }
}

pub(super) fn create(global: &Global, args: &mut Args, is_systemd: bool) -> Result<()> {
    protect_executable();
    let request = Request::new(args, is_systemd)?;
    make(global, &request, true).map(drop)
}

pub(super) fn run(global: &Global, args: &mut Args, is_systemd: bool) -> Result<u8> {
    protect_executable();
    let is_detached = args.take_flag("detach");
    let is_kept = args.take_flag("keep");
    let request = Request::new(args, is_systemd)?;
    let (spec, record) = make(global, &request, false)?;
    let poststart = spec.hooks().as_ref().and_then(|hooks| hooks.poststart().clone());
    hooks::run(poststart.as_ref(), &record, ContainerStatus::Running)?;
    if is_detached {
        return Ok(0);
    }
    let code = wait(record.pid)?;
    if !is_kept {
        super::commands::remove(&Home::of(&global.root, &record.id), &record)?;
    }
    Ok(code)
}

/// Waits for a child; its exit code, or 128 + signal.
pub(super) fn wait(pid: u32) -> Result<u8> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let status = rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()));
    let status = status.map_err(|errno| internal("cannot wait for the process")(errno.into()))?;
    let code = status.map_or(255, |(_, status)| {
        status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
    });
    Ok(u8::try_from(code).unwrap_or(255))
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

fn make(global: &Global, request: &Request, waits_for_start: bool) -> Result<(Spec, Record)> {
    let spec = load_spec(&request.bundle)?;
    hooks::check(&spec)?;
    let has_terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    if has_terminal != request.console_socket.is_some() {
        let message = match has_terminal {
            true => "process.terminal is true; give --console-socket, to which the terminal is sent",
            false => {
                "--console-socket is given and process.terminal is false; set it to true or drop the flag"
            }
        };
        return Err(Error::new(Kind::Invalid, message));
    }
    let home = Home::create(&global.root, &request.id)?;
    let result = make_in(&home, request, spec, has_terminal, waits_for_start);
    if result.is_err() {
        // The first error is the one to tell.
        let _left_behind = home.remove();
    }
    result
}

fn make_in(
    home: &Home,
    request: &Request,
    spec: Spec,
    has_terminal: bool,
    waits_for_start: bool,
) -> Result<(Spec, Record)> {
    let root = spec.root().as_ref().map_or_else(|| PathBuf::from("rootfs"), |root| root.path().clone());
    let rootfs = request.bundle.join(root);
    let cgroup = cgroup_path(&spec, request);
    let stdio = Stdio { tty: has_terminal, ..Stdio::default() };
    let prepared =
        prepare(&request.id, spec.clone(), Rootfs::Bind(rootfs.clone()), &cgroup, stdio, &rootfs, false)?;
    let result = launch_in(home, request, &spec, &prepared, waits_for_start, rootfs);
    if result.is_err() {
        let _left_behind = remove_group(&cgroup);
    }
    result.map(|record| (spec, record))
}

fn launch_in(
    home: &Home,
    request: &Request,
    spec: &Spec,
    prepared: &Prepared,
    waits_for_start: bool,
    rootfs: PathBuf,
) -> Result<Record> {
    let failed = || internal(format!("cannot create container {}", request.id));
    let pipe = if waits_for_start { Some(start_pipe(home).map_err(failed())?) } else { None };
    let unified = prepared.create.unified.as_ref().map(fs::File::open).transpose().map_err(failed())?;
    let how = Launch {
        clone: prepared.create.clone,
        pid_namespace: prepared.create.join_pid.as_deref().map_or(PidNamespace::Own, PidNamespace::Path),
        unified: unified.as_ref().map(AsFd::as_fd),
        streams: [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()],
    };
    let extra: Vec<_> = pipe.iter().map(AsFd::as_fd).collect();
    let (child, status) = launch(&how, &extra, |mut fds| {
        let gate = if fds.len() > 4 { Gate::Pipe(fds.remove(4)) } else { Gate::Socket };
        let Some(status) = fds.pop() else { return 1 };
        // The streams are the program's.
        leave_open(fds);
        run_container(&prepared.plan, &prepared.seccomp, &status, &gate)
    })
    .map_err(failed())?;
    let finish = || -> Result<Record> {
        expect_ready(&status, request)?;
        let record = Record {
            id: request.id.clone(),
            pid: child.pid,
            start_time: start_time(child.pid).unwrap_or(0),
            bundle: request.bundle.clone(),
            rootfs,
            cgroup: prepared.create.cgroup.clone(),
            created: jiff::Timestamp::now().to_string(),
            annotations: spec.annotations().clone().unwrap_or_default(),
        };
        home.save(&record)?;
        if let Some(hooks) = spec.hooks() {
            hooks::run(hooks.prestart().as_ref(), &record, ContainerStatus::Created)?;
            hooks::run(hooks.create_runtime().as_ref(), &record, ContainerStatus::Created)?;
        }
        if let Some(path) = &request.pid_file {
            fs::write(path, record.pid.to_string())
                .map_err(internal(format!("cannot write {}", path.display())))?;
        }
        if !waits_for_start {
            hako_sys::send(status.as_fd(), &[crate::init::START], &[]).map_err(failed())?;
            if let Some(Status::Failed { code, message }) =
                read_status(status.as_fd(), true).map_err(failed())?
            {
                return Err(refused(code, message));
            }
        }
        Ok(record)
    };
    finish().inspect_err(|_| {
        if let Some(pid) = i32::try_from(child.pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ended = kill_process(pid, Signal::KILL);
            let _reaped = waitpid(Some(pid), WaitOptions::empty());
        }
    })
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

fn expect_ready(status: &OwnedFd, request: &Request) -> Result<()> {
    let failed = || internal(format!("cannot create container {}", request.id));
    match read_status(status.as_fd(), true).map_err(failed())? {
        Some(Status::Ready(terminal)) => match (terminal, &request.console_socket) {
            (Some(terminal), Some(socket)) => send_terminal(terminal, socket),
            _ => Ok(()),
        },
        Some(Status::Failed { code, message }) => Err(refused(code, message)),
        _ => Err(Error::new(
            Kind::Internal,
            format!(
                "the init of container {} was killed while it was set up; is its memory limit too low?",
                request.id
            ),
        )),
    }
}

/// Sends a terminal's master to whoever listens, with its name as the data.
pub(super) fn send_terminal(terminal: OwnedFd, socket: &Path) -> Result<()> {
    let failed = || internal(format!("cannot send the terminal to {}", socket.display()));
    let stream = UnixStream::connect(socket).map_err(failed())?;
    hako_sys::send(stream.as_fd(), b"/dev/ptmx", &[terminal.as_fd()]).map_err(failed()).map(drop)
}

/// The pipe `start` writes to: opened for both directions, opening does not wait for the other side.
fn start_pipe(home: &Home) -> std::io::Result<OwnedFd> {
    let path = home.pipe();
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    Ok(fs::OpenOptions::new().read(true).write(true).open(&path)?.into())
}

/// The group: as the spec says, else by the id. `slice:prefix:name` is where systemd would put it.
fn cgroup_path(spec: &Spec, request: &Request) -> String {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let path = path.map(|path| path.display().to_string()).filter(|path| !path.is_empty());
    match path {
        None => format!("/hako-runtime/{}", request.id),
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
