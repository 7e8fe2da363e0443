//! `exec`.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Process, Spec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::args::Args;
use super::create::{protect_executable, refused, send_terminal, wait};
use super::state::{Home, Record, load_spec};
use super::{Global, internal};
use crate::init::run_exec;
use crate::launch::{Launch, PidNamespace, Status, launch, leave_open, read_status};
use crate::plan::{ExecPlan, process_plan};
use crate::prepare::{cgroup_root, unified_directory};
use crate::types::ContainerStatus;

pub(super) fn exec(global: &Global, args: &mut Args) -> Result<u8> {
    protect_executable();
    let is_detached = args.take_flag("detach");
    let pid_file = args.take_path("pid-file");
    let console_socket = args.take_path("console-socket");
    let id = args.id()?;
    let home = Home::of(&global.root, &id);
    let record = home.load()?;
    if home.status(&record) != ContainerStatus::Running {
        return Err(Error::new(
            Kind::FailedPrecondition,
            format!("container {id} is not running; start it first"),
        ));
    }
    let spec = load_spec(&record.bundle)?;
    let process = process(args, &spec)?;
    let (pid, terminal) = start(&record, &spec, &process)?;
    match (terminal, console_socket) {
        (Some(terminal), Some(socket)) => send_terminal(terminal, &socket)?,
        (Some(_), None) => {
            return Err(Error::new(
                Kind::Invalid,
                "a terminal is asked for; give --console-socket, to which it is sent",
            ));
        }
        _ => {}
    }
    if let Some(path) = pid_file {
        fs::write(&path, pid.to_string()).map_err(internal(format!("cannot write {}", path.display())))?;
    }
    if is_detached { Ok(0) } else { wait(pid) }
}

/// The process: from a file, or the container's own with other arguments.
fn process(args: &mut Args, spec: &Spec) -> Result<Process> {
    if let Some(path) = args.take_path("process") {
        let bytes = fs::read(&path).map_err(internal(format!("cannot read {}", path.display())))?;
        return serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Kind::Invalid, format!("{} is not a process", path.display())).with_source(error)
        });
    }
    let mut process = spec.process().clone().unwrap_or_default();
    process.set_terminal(Some(args.take_flag("tty")));
    if let Some(cwd) = args.take_path("cwd") {
        process.set_cwd(cwd);
    }
    let env = args.take_all("env");
    if !env.is_empty() {
        let all = process.env().iter().flatten().cloned().chain(env).collect();
        process.set_env(Some(all));
    }
    if args.take_flag("no-new-privs") {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(user) = args.take("user") {
        let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
        let bad = || Error::new(Kind::Invalid, format!("user {user:?} is not UID[:GID] in numbers"));
        let uid = uid.parse().map_err(|_| bad())?;
        let gid = gid.map_or(Ok(process.user().gid()), |gid| gid.parse().map_err(|_| bad()))?;
        process.user_mut().set_uid(uid).set_gid(gid);
    }
    process.set_args(Some(args.rest()));
    Ok(process)
}

fn start(record: &Record, spec: &Spec, process: &Process) -> Result<(u32, Option<OwnedFd>)> {
    let failed = || internal(format!("cannot exec in container {}", record.id));
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let seccomp = match profile {
        Some(profile) => crate::seccomp::program(profile)?,
        None => std::sync::Arc::from([]),
    };
    let root = cgroup_root()?;
    let group = root.open(&record.cgroup)?;
    let plan =
        ExecPlan { cgroup_dirs: group.v1_paths(), process: process_plan(process, 0, !seccomp.is_empty())? };
    let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new(Kind::DataLoss, format!("container {} has no pid", record.id)))?;
    let target = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed()(errno.into()))?;
    let unified: Option<PathBuf> = unified_directory(root, &group);
    let unified = unified.map(fs::File::open).transpose().map_err(failed())?;
    let how = Launch {
        clone: 0,
        pid_namespace: PidNamespace::Of(target.as_fd()),
        unified: unified.as_ref().map(AsFd::as_fd),
        streams: [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()],
    };
    let (child, status) = launch(&how, &[target.as_fd()], |mut fds| {
        let (Some(target), Some(status)) = (fds.pop(), fds.pop()) else { return 1 };
        // The streams are the program's.
        leave_open(fds);
        run_exec(&plan, &seccomp, target.as_fd(), &status)
    })
    .map_err(failed())?;
    let mut terminal = None;
    loop {
        match read_status(status.as_fd(), true).map_err(failed())? {
            Some(Status::Ready(master)) => terminal = master,
            Some(Status::Failed { code, message }) => {
                // It is on its way out.
                let _reaped = wait(child.pid);
                return Err(refused(code, message));
            }
            _ => return Ok((child.pid, terminal)),
        }
    }
}
