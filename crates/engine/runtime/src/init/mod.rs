//! A container's first process, between clone and exec.
//!
//! Owns: everything done inside the new namespaces, in its order.
//! Does not own: starting it (`launch`), or what is asked for (`plan`).
//! Invariant: it runs in a process of its own that ends in exec or exit, and no path of the image is used but through
//! a descriptor resolved inside the image's root.
//!
//! ```text
//!   parent                         init
//!     | clone3 ----------------------> join groups, cgroup namespace, enter namespaces
//!     |                                root, mounts, devices, pivot_root, ids, capabilities, seccomp
//!     | <--- 'M' --------------------- mounted        (only when the host has hooks to run)
//!     | ---- 'H' --------------------> hooks of the container, root, ids, capabilities, seccomp
//!     | <--- 'R' (+ terminal master) - ready
//!     | ---- 'S' --------------------> exec          (the socket closes: end of file at the parent)
//!     | <--- 'E' code text ----------- or why not, then exit with that code
//! ```
//!
//! With an empty mount namespace given it is born into the shim's, and leaves that for a copy of the empty one (`ground`).
//!
//! In a user namespace the init has no rights outside of it: what takes those is done by a process before it (`stage`).

mod devices;
mod error;
mod ground;
mod mounts;
mod program;
mod reaper;
mod root;
mod stage;
mod time;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hako_sys::{CloneFlags, SeccompInstruction, SingleThreaded, Title};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) use error::InitError;
use error::failed;

use crate::launch::Birth;
use crate::plan::{ContainerPlan, ExecPlan, ProcessPlan};
use stage::Staged;

/// The message that an init in a user namespace was born; its pidfd comes with it.
pub(crate) const BORN: u8 = b'B';

/// The message that says the container is set up.
pub(crate) const READY: u8 = b'R';
/// The message that says that everything is mounted and hooks of the host may run.
pub(crate) const MOUNTED: u8 = b'M';
/// The message that says that they ran.
pub(crate) const HOOKS_RAN: u8 = b'H';
/// The message that says start.
pub(crate) const START: u8 = b'S';
/// The message that says what failed: a byte of exit code and a text follow.
pub(crate) const ERROR: u8 = b'E';

/// How the init is told to go on.
#[derive(Debug)]
pub(crate) enum Gate {
    /// By [`START`] on the status socket.
    Socket,
    /// By any byte through this pipe.
    Pipe(OwnedFd),
    /// At once.
    Open,
}

/// Sets a container up and becomes its program; returns the exit code when that fails. With an empty mount namespace given it
/// is in one that is not its own.
pub(crate) fn run_container(
    plan: &ContainerPlan,
    seccomp: &[SeccompInstruction],
    status: &OwnedFd,
    gate: &Gate,
    (birth, empty): (Option<Birth>, Option<OwnedFd>),
) -> i32 {
    let init = |staged, empty| {
        let prepared = prepare(plan, status, (staged, empty));
        finish(prepared, &plan.process, seccomp, status, (gate, &|| start_hooks(plan)))
    };
    let Some(Birth { user, socket }) = birth else { return init(None, empty) };
    let born = stage::stage(plan, &user).and_then(|staged| {
        let kinds = CloneFlags(plan.namespaces.clone);
        hako_sys::spawn_sibling(kinds, || init(Some(staged), None)).map_err(failed("cannot make namespaces"))
    });
    match born {
        Ok(child) => {
            // A parent that is gone ends the init too.
            let told = hako_sys::send(socket.as_fd(), &[BORN], &[child.pidfd.as_fd()]);
            i32::from(told.is_err())
        }
        Err(error) => tell(&socket, &error),
    }
}

/// Enters a running container and becomes a program there; returns the exit code when that fails. `root` is that of the
/// container's user namespace, where that is not ours.
pub(crate) fn run_exec(
    plan: &ExecPlan,
    seccomp: &[SeccompInstruction],
    (target, root): (BorrowedFd<'_>, Option<(u32, u32)>),
    status: &OwnedFd,
) -> i32 {
    let prepared = enter(plan, target, root);
    finish(prepared, &plan.process, seccomp, status, (&Gate::Open, &|| Ok(())))
}

/// A terminal's two ends, if the process gets one.
type Terminal = Option<(OwnedFd, OwnedFd)>;

/// What is kept from before the host's /proc goes.
struct Kept {
    word: SingleThreaded,
    /// Of a process that stays above the program.
    title: Option<Title>,
    /// Where the profile of the next program is written.
    profile: Option<fs::File>,
}

fn finish(
    prepared: Result<(Terminal, Kept), InitError>,
    process: &ProcessPlan,
    seccomp: &[SeccompInstruction],
    status: &OwnedFd,
    (gate, before_exec): (&Gate, &dyn Fn() -> Result<(), InitError>),
) -> i32 {
    let result = prepared.and_then(|(terminal, kept)| {
        let program =
            program::become_user(process, seccomp, terminal.as_ref().map(|(_, slave)| slave.as_fd()))?;
        let master: Vec<BorrowedFd<'_>> = terminal.iter().map(|(master, _)| master.as_fd()).collect();
        // A parent that is gone cannot be told; the gate below finds that out.
        let _sent = hako_sys::send(status.as_fd(), &[READY], &master);
        Ok((program, kept))
    });
    let error = match result {
        Ok((program, kept)) => {
            if !wait(gate, status) {
                return 1;
            }
            if let Err(error) = before_exec() {
                return tell(status, &error);
            }
            let become_it =
                || change_profile(process, kept.profile).map_or_else(|error| error, |()| program.exec());
            match process.init {
                true => reaper::run((&kept.word, kept.title), process, || tell(status, &become_it())),
                false => become_it(),
            }
        }
        Err(error) => error,
    };
    tell(status, &error)
}

fn change_profile(process: &ProcessPlan, file: Option<fs::File>) -> Result<(), InitError> {
    let (Some(name), Some(mut file)) = (&process.apparmor, file) else { return Ok(()) };
    std::io::Write::write_all(&mut file, format!("exec {name}").as_bytes())
        .map_err(failed(format!("cannot change to AppArmor profile {name:?}; is it loaded?")))
}

/// Says why the program does not run; returns the exit code.
fn tell(status: &OwnedFd, error: &InitError) -> i32 {
    let mut message = vec![ERROR, error.code];
    message.extend(error.to_string().bytes().take(4000));
    if hako_sys::send(status.as_fd(), &message, &[]).is_err() {
        // Nobody listens any more: the container's own standard error is what is left.
        let _lost = rustix::io::write(rustix::stdio::stderr(), format!("hako: {error}\n").as_bytes());
    }
    i32::from(error.code)
}

/// Waits for the word to go on; `false` when whoever could give it is gone.
fn wait(gate: &Gate, status: &OwnedFd) -> bool {
    let mut byte = [0];
    match gate {
        Gate::Open => true,
        Gate::Socket => {
            let received = hako_sys::receive(status.as_fd(), &mut byte, &mut Vec::new());
            matches!(received, Ok(1)) && byte == [START]
        }
        Gate::Pipe(pipe) => matches!(rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut byte)), Ok(1)),
    }
}

fn common(process: &ProcessPlan) -> Result<Kept, InitError> {
    let word = SingleThreaded::check().map_err(failed("cannot set the container up"))?;
    hako_sys::reset_signals();
    // Until exec, nobody in the container may look into this process (it still has the host's executable).
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(failed("cannot protect the init from tracing"))?;
    rustix::process::setsid().map_err(failed("cannot start a session"))?;
    let _old = rustix::process::umask(rustix::fs::Mode::empty());
    // Without keyrings there is none to leave.
    if !process.keeps_keyring {
        let _none = hako_sys::join_session_keyring();
    }
    let profile = process.apparmor.as_ref().map(|_| open_profile()).transpose()?;
    let title = process.init.then(|| Title::of_own().ok()).flatten();
    Ok(Kept { word, title, profile })
}

/// The host's own file, which the image has no hand in (CVE-2019-16884).
fn open_profile() -> Result<fs::File, InitError> {
    let open = |path: &str| fs::OpenOptions::new().write(true).open(path);
    open("/proc/thread-self/attr/apparmor/exec")
        .or_else(|_| open("/proc/thread-self/attr/exec"))
        .map_err(failed("cannot open the file for AppArmor profiles"))
}

/// The state of a hook in the container: its pid is the one it sees there.
fn hook_state(plan: &ContainerPlan, status: &str) -> String {
    let mut state: serde_json::Value = serde_json::from_str(&plan.hook_state).unwrap_or_default();
    state["pid"] = rustix::process::getpid().as_raw_nonzero().get().into();
    state["status"] = status.into();
    state.to_string()
}

fn start_hooks(plan: &ContainerPlan) -> Result<(), InitError> {
    if plan.start_hooks.is_empty() {
        return Ok(());
    }
    crate::hooks::run_all("startContainer", &plan.start_hooks, &hook_state(plan, "created"))
        .map_err(InitError::new)
}

/// Between the last mount and the root: hooks of the host, which the parent runs, then those of the container.
fn create_hooks(plan: &ContainerPlan, status: &OwnedFd) -> Result<(), InitError> {
    if plan.waits_for_hooks {
        hako_sys::send(status.as_fd(), &[MOUNTED], &[]).map_err(failed("cannot wait for hooks"))?;
        let mut byte = [0];
        let received = hako_sys::receive(status.as_fd(), &mut byte, &mut Vec::new());
        if !matches!(received, Ok(1)) || byte != [HOOKS_RAN] {
            return Err(InitError::new("a hook failed"));
        }
    }
    if plan.create_hooks.is_empty() {
        return Ok(());
    }
    crate::hooks::run_all("createContainer", &plan.create_hooks, &hook_state(plan, "creating"))
        .map_err(InitError::new)
}

fn prepare(
    plan: &ContainerPlan,
    status: &OwnedFd,
    (staged, empty): (Option<Staged>, Option<OwnedFd>),
) -> Result<(Terminal, Kept), InitError> {
    let kept = common(&plan.process)?;
    let site = match staged {
        Some(staged) => staged.enter(plan)?,
        None => {
            join(plan)?;
            root::Site::of(plan, empty)?
        }
    };
    if plan.namespaces.cgroup {
        hako_sys::unshare(CloneFlags::NEWCGROUP).map_err(failed("cannot make a cgroup namespace"))?;
    }
    time::enter_new(&plan.namespaces)?;
    if plan.namespaces.is_new(CloneFlags::NEWNET) {
        hako_sys::set_up_loopback().map_err(failed("cannot set the loopback link up"))?;
    }
    for (key, value) in &plan.sysctls {
        set_sysctl(None, key, value)?;
    }
    set_names(plan)?;
    Ok((root::build(plan, site, &|| create_hooks(plan, status))?, kept))
}

/// Joins what is named: groups and namespaces.
fn join(plan: &ContainerPlan) -> Result<(), InitError> {
    join_groups(&plan.cgroup_dirs)?;
    for (kind, path) in &plan.namespaces.join {
        let namespace =
            fs::File::open(path).map_err(failed(format!("cannot open namespace {}", path.display())))?;
        move_into_link_name_space(namespace.as_fd(), namespace_kind(*kind))
            .map_err(failed(format!("cannot enter namespace {}", path.display())))?;
    }
    set_oom_score(&plan.process)
}

fn enter(
    plan: &ExecPlan,
    target: BorrowedFd<'_>,
    root: Option<(u32, u32)>,
) -> Result<(Terminal, Kept), InitError> {
    let kept = common(&plan.process)?;
    join_groups(&plan.cgroup_dirs)?;
    set_oom_score(&plan.process)?;
    if let Some(root) = root {
        stage::give_process(&plan.process, root)?;
    }
    use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    let entered = match move_into_thread_name_spaces(target, all | ThreadNameSpaceType::TIME) {
        // A kernel without time namespaces, or that of the host, which is not ours to enter: we are in it.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => move_into_thread_name_spaces(target, all),
        other => other,
    };
    entered.map_err(failed("cannot enter the container's namespaces; has it exited?"))?;
    if root.is_some() {
        // Last: from here on nothing outside can be entered.
        move_into_thread_name_spaces(target, ThreadNameSpaceType::USER)
            .map_err(failed("cannot enter the container's user namespace"))?;
        hako_sys::become_root().map_err(failed("cannot become user 0 of the user namespace"))?;
    }
    if !plan.process.tty {
        return Ok((None, kept));
    }
    let pts = rustix::fs::open(
        "/dev/pts",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(failed("cannot open /dev/pts in the container; mount devpts there"))?;
    Ok((Some(open_terminal(&plan.process, pts.as_fd())?), kept))
}

fn open_terminal(process: &ProcessPlan, pts: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd), InitError> {
    let size = process.tty_size.map_or((0, 0), |size| (size.width, size.height));
    hako_sys::open_terminal(pts, size.0, size.1).map_err(failed("cannot open a terminal in /dev/pts"))
}

/// Version 1: a single-threaded process that moves itself (`0` into `tasks`) is spared the kernel's thread-group
/// lock, whose grace period costs milliseconds for each hierarchy.
fn join_groups(directories: &[std::path::PathBuf]) -> Result<(), InitError> {
    for directory in directories {
        let write = |file: &str| {
            fs::OpenOptions::new()
                .write(true)
                .open(directory.join(file))
                .and_then(|mut file| std::io::Write::write_all(&mut file, b"0"))
        };
        write("tasks").map_err(failed(format!("cannot join cgroup {}", directory.display())))?;
    }
    Ok(())
}

fn namespace_kind(bits: u64) -> Option<LinkNameSpaceType> {
    match CloneFlags(bits) {
        CloneFlags::NEWNET => Some(LinkNameSpaceType::Network),
        CloneFlags::NEWIPC => Some(LinkNameSpaceType::InterProcessCommunication),
        CloneFlags::NEWUTS => Some(LinkNameSpaceType::HostNameAndNISDomainName),
        CloneFlags::NEWCGROUP => Some(LinkNameSpaceType::ControlGroup),
        CloneFlags::NEWTIME => Some(LinkNameSpaceType::Time),
        _ => None,
    }
}

/// Written through the host's /proc, which the image has no hand in (CVE-2025-52881).
fn set_oom_score(process: &ProcessPlan) -> Result<(), InitError> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    match fs::write("/proc/self/oom_score_adj", score.to_string()) {
        // Lowering it below the caller's own takes CAP_SYS_RESOURCE; without it the score stays.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(failed(format!("cannot set the OOM score to {score}"))),
    }
}

/// Sets a kernel parameter of the present namespaces, through a place of the engine's (see [`hako_sys::parameters`]) or the
/// host's /proc.
pub(crate) fn set_sysctl(place: Option<BorrowedFd<'_>>, key: &str, value: &str) -> Result<(), InitError> {
    let name = crate::plan::sysctl::file(key).map_err(|error| InitError::new(error.to_string()))?;
    let written = match place {
        Some(place) => hako_sys::write_parameter_in(place, &name, value),
        None => fs::write(std::path::Path::new("/proc/sys").join(name), value),
    };
    written.map_err(failed(format!(
        "cannot set sysctl {key} to {value:?}; does it exist and belong to a namespace?"
    )))
}

fn set_names(plan: &ContainerPlan) -> Result<(), InitError> {
    if !plan.namespaces.is_own(CloneFlags::NEWUTS) {
        return Ok(());
    }
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes())
            .map_err(failed(format!("cannot set the host name to {name:?}")))?;
    }
    if let Some(name) = &plan.domainname {
        hako_sys::set_domain_name(name).map_err(failed(format!("cannot set the domain name to {name:?}")))?;
    }
    Ok(())
}
