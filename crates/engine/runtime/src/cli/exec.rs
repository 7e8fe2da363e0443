//! `exec`.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use hako_cgroup::Cgroup;
use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Capabilities, Capability, Process, Spec};
use hako_sys::Child;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};

use super::args::Args;
use super::create::{protect_executable, refused, send_descriptor, send_terminal};
use super::foreground::Foreground;
use super::state::{Home, Phase, Record, load_spec};
use super::{Global, internal};
use crate::init::run_exec;
use crate::launch::{Launch, PidNamespace, Status, launch, leave_open, read_status};
use crate::plan::{ExecPlan, process_plan};
use crate::prepare::{cgroup_root, unified_directory};

/// What an exec is told besides its process.
struct Request {
    is_detached: bool,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u32,
    /// A group below the container's.
    cgroup: Option<String>,
    ignores_pause: bool,
}

impl Request {
    fn new(args: &mut Args) -> Result<Self> {
        Ok(Self {
            is_detached: args.take_flag("detach"),
            pid_file: args.take_path("pid-file"),
            console_socket: args.take_path("console-socket"),
            pidfd_socket: args.take_path("pidfd-socket"),
            preserve_fds: args.take_number("preserve-fds")?.unwrap_or(0),
            cgroup: args.take("cgroup"),
            ignores_pause: args.take_flag("ignore-paused"),
        })
    }
}

pub(super) fn exec(global: &Global, args: &mut Args) -> Result<u8> {
    protect_executable();
    let request = Request::new(args)?;
    let id = args.id()?;
    let home = Home::of(&global.root, &id);
    let record = home.load()?;
    let refuse = |text: String| Err(Error::new(Kind::FailedPrecondition, text));
    match home.phase(&record) {
        // As with runc, also before the start: its namespaces and its root are there.
        Phase::Running | Phase::Created => {}
        Phase::Paused if request.ignores_pause => {}
        Phase::Paused => {
            return refuse(format!("container {id} is paused; resume it, or use --ignore-paused"));
        }
        _ => return refuse(format!("cannot exec in container {id}: it is not running")),
    }
    let spec = load_spec(&record.bundle)?;
    let process = process(args, &spec)?;
    let has_terminal = process.terminal().unwrap_or(false);
    if has_terminal && request.is_detached && request.console_socket.is_none() {
        let text = "a terminal is asked for; give --console-socket, to which it is sent";
        return Err(Error::new(Kind::Invalid, text));
    }
    let foreground = (!request.is_detached).then(|| Foreground::prepare(false)).transpose()?;
    let (child, terminal) = start(&record, &request, &spec, &process)?;
    let terminal = hand_over(&request, &child, terminal).inspect_err(|_| end(&child))?;
    foreground.map_or(Ok(0), |foreground| foreground.wait(child.pid, terminal))
}

/// Tells the caller of the process in the ways it asked for; the terminal is returned if nobody else has it.
fn hand_over(request: &Request, child: &Child, terminal: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
    let terminal = match (terminal, &request.console_socket) {
        (Some(terminal), Some(socket)) => send_terminal(&terminal, socket).map(|()| None)?,
        (terminal, _) => terminal,
    };
    if let Some(path) = &request.pidfd_socket {
        send_descriptor(child.pidfd.as_fd(), "pidfd", path)?;
    }
    if let Some(path) = &request.pid_file {
        fs::write(path, child.pid.to_string())
            .map_err(internal(format!("cannot write {}", path.display())))?;
    }
    Ok(terminal)
}

/// Ends a process of which the caller was not told: nobody else would.
fn end(child: &Child) {
    // One that has ended by itself is as good.
    let _ended = pidfd_send_signal(&child.pidfd, Signal::KILL);
    reap(child);
}

fn reap(child: &Child) {
    let pid = i32::try_from(child.pid).ok().and_then(Pid::from_raw);
    let _reaped = waitpid(pid, WaitOptions::empty());
}

/// The process: from a file, or the container's own with other arguments.
fn process(args: &mut Args, spec: &Spec) -> Result<Process> {
    if let Some(path) = args.take_path("process") {
        let bytes = fs::read(&path).map_err(internal(format!("cannot read {}", path.display())))?;
        let (process, unknown) = crate::plan::read(&bytes).map_err(|error| {
            Error::new(Kind::Invalid, format!("{} is not a process", path.display())).with_source(error)
        })?;
        super::warn_of_capabilities(&unknown);
        return Ok(process);
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
    add_groups(&mut process, &args.take_all("additional-gids"))?;
    add_capabilities(&mut process, &args.take_all("cap"));
    if let Some(profile) = args.take("apparmor") {
        process.set_apparmor_profile(Some(profile));
    }
    if let Some(label) = args.take("process-label").filter(|label| !label.is_empty()) {
        let text = format!("--process-label {label:?}: SELinux labels are not supported; drop the flag");
        return Err(Error::new(Kind::Unimplemented, text));
    }
    process.set_args(Some(args.rest()));
    Ok(process)
}

fn add_groups(process: &mut Process, gids: &[String]) -> Result<()> {
    if gids.is_empty() {
        return Ok(());
    }
    let number = |gid: &String| {
        gid.parse().map_err(|_| Error::new(Kind::Invalid, format!("group {gid:?} is not a number")))
    };
    let more = gids.iter().map(number).collect::<Result<Vec<u32>>>()?;
    let all = process.user().additional_gids().iter().flatten().copied().chain(more).collect();
    process.user_mut().set_additional_gids(Some(all));
    Ok(())
}

/// `--cap`: more than the container has. As with runc, what is no capability is ignored with a warning.
fn add_capabilities(process: &mut Process, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let one = |name: &String| {
        let upper = name.to_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        serde_json::from_value(serde_json::json!(format!("CAP_{short}")))
    };
    let (mut more, mut unknown) = (Vec::<Capability>::new(), Vec::new());
    for name in names {
        match one(name) {
            Ok(capability) => more.push(capability),
            Err(_) => unknown.push(name.clone()),
        }
    }
    super::warn_of_capabilities(&unknown);
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let with = |set: &Option<Capabilities>| -> Option<Capabilities> {
        Some(set.iter().flatten().copied().chain(more.iter().copied()).collect())
    };
    let (bounding, effective) = (with(sets.bounding()), with(sets.effective()));
    let permitted = with(sets.permitted());
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    process.set_capabilities(Some(sets));
}

/// The group of the process: the container's, or one that exists below it.
fn group_of(record: &Record, request: &Request) -> Result<Cgroup> {
    let below = request.cgroup.as_deref().unwrap_or_default();
    if below.contains(':') {
        let text =
            format!("--cgroup {below:?}: a group of one controller only is not supported; name a path");
        return Err(Error::new(Kind::Unimplemented, text));
    }
    if Path::new(below).components().any(|part| part == Component::ParentDir) {
        let text = format!("--cgroup {below:?} leads out of the container's group");
        return Err(Error::new(Kind::Invalid, text));
    }
    Ok(cgroup_root()?.open(&format!("{}/{below}", record.cgroup))?)
}

fn start(
    record: &Record,
    request: &Request,
    spec: &Spec,
    process: &Process,
) -> Result<(Child, Option<OwnedFd>)> {
    let failed = || internal(format!("cannot exec in container {}", record.id));
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let seccomp = match profile {
        Some(profile) => crate::seccomp::program(profile)?,
        None => std::sync::Arc::from([]),
    };
    let root = cgroup_root()?;
    let group = group_of(record, request)?;
    let mut plan =
        ExecPlan { cgroup_dirs: group.v1_paths(), process: process_plan(process, 0, !seccomp.is_empty())? };
    let personality = spec.linux().as_ref().and_then(|linux| linux.personality().as_ref());
    plan.process.schedule.personality = personality.map(crate::plan::personality).transpose()?;
    plan.process.preserve_fds = request.preserve_fds;
    let preserved = hako_sys::inherited(3, request.preserve_fds).map_err(failed())?;
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
        preserved: &preserved,
        user: None,
    };
    // While the target's descriptor says that it lives its number means it.
    let user = crate::user::root_of_process(record.pid).map_err(failed())?;
    let (child, status) = launch(&how, &[target.as_fd()], |mut fds, _| {
        let (Some(target), Some(status)) = (fds.pop(), fds.pop()) else { return 1 };
        // The streams are the program's.
        leave_open(fds);
        run_exec(&plan, &seccomp, (target.as_fd(), user), &status)
    })
    .map_err(failed())?;
    let mut terminal = None;
    loop {
        match read_status(status.as_fd(), true).map_err(failed())? {
            Some(Status::Ready(master)) => terminal = master,
            Some(Status::Failed { code, message }) => {
                // It is on its way out.
                reap(&child);
                return Err(refused(code, message));
            }
            _ => return Ok((child, terminal)),
        }
    }
}
