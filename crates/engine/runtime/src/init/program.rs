//! From root to the program's user, and the program itself.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hako_sys::SeccompInstruction;
use rustix::fs::{Access, CWD, FileType, Gid, Mode, Uid};

use super::error::{InitError, failed};
use crate::plan::{ProcessPlan, SchedulePlan};

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program found and ready to become.
#[derive(Debug)]
pub(super) struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    preserve_fds: u32,
}

impl Program {
    /// Becomes the program; returns why not.
    pub fn exec(&self) -> InitError {
        let kept = hako_sys::close_on_exec_from(3 + self.preserve_fds)
            .and_then(|()| hako_sys::keep_on_exec(3, self.preserve_fds));
        if let Err(error) = kept {
            return failed("cannot close descriptors")(error);
        }
        let error = hako_sys::exec(&self.path, &self.args, &self.env);
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        let hint = match error.raw_os_error() {
            Some(libc::ENOENT) => "; its interpreter or dynamic linker is missing in the image",
            Some(libc::ENOEXEC) => "; it is no executable for this machine, or a script without '#!'",
            _ => "",
        };
        InitError::with_code(code, format!("cannot execute {:?}: {error}{hint}", self.path))
    }
}

/// Gives up everything the program is not to have, in the order that needs it longest.
pub(super) fn become_user(
    plan: &ProcessPlan,
    seccomp: &[SeccompInstruction],
    terminal: Option<BorrowedFd<'_>>,
) -> Result<Program, InitError> {
    if let Some(terminal) = terminal {
        use_terminal(terminal, plan)?;
    } else {
        own_streams(plan);
    }
    change_directory(&plan.cwd, plan.makes_cwd)?;
    for (resource, soft, hard) in &plan.rlimits {
        hako_sys::set_rlimit(*resource, *soft, *hard).map_err(failed(format!(
            "cannot set resource limit {resource} to {soft}:{hard}; raising a hard limit takes CAP_SYS_RESOURCE"
        )))?;
    }
    schedule(&plan.schedule)?;
    let mut env = plan.env.clone();
    add_home(&mut env, plan.uid);
    // Without no_new_privs only CAP_SYS_ADMIN loads a filter, so it comes before the capabilities go.
    if !plan.no_new_privileges {
        load_seccomp(plan, seccomp)?;
    }
    let sets = plan.capability_sets();
    if let Some(sets) = &sets {
        hako_sys::drop_bounding(sets.bounding)
            .map_err(failed("cannot drop capabilities from the bounding set"))?;
    }
    hako_sys::set_ids(plan.uid, plan.gid, &plan.groups)
        .map_err(failed(format!("cannot become user {}:{}", plan.uid, plan.gid)))?;
    if let Some(sets) = &sets {
        hako_sys::apply_capabilities(sets)
            .map_err(failed("cannot set capabilities; does the caller have them all?"))?;
    }
    if plan.dies_with_parent {
        // Only now: changing ids clears it.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(failed("cannot tie the process to its parent"))?;
    }
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(failed("cannot set no_new_privs"))?;
    }
    let path = find(&plan.args[0], &env, &plan.cwd)?;
    let _old = rustix::process::umask(Mode::from_raw_mode(plan.umask));
    let program = Program {
        path: c_string(path.display().to_string())?,
        args: plan.args.iter().map(|arg| c_string(arg.clone())).collect::<Result<_, _>>()?,
        env: env.into_iter().map(c_string).collect::<Result<_, _>>()?,
        preserve_fds: plan.preserve_fds,
    };
    if plan.no_new_privileges {
        load_seccomp(plan, seccomp)?;
    }
    Ok(program)
}

/// While it still may: most of it takes a capability.
fn schedule(plan: &SchedulePlan) -> Result<(), InitError> {
    if let Some(attributes) = plan.scheduler {
        hako_sys::set_scheduler(attributes).map_err(failed(
            "cannot set the scheduler; this may take CAP_SYS_NICE, and real-time policies a budget of the cgroup",
        ))?;
    }
    if let Some((class, priority)) = plan.io {
        hako_sys::set_io_priority(class, priority)
            .map_err(failed(format!("cannot set the I/O priority to {priority} of class {class}")))?;
    }
    if let Some(personality) = plan.personality {
        hako_sys::set_personality(personality).map_err(failed("cannot set the personality"))?;
    }
    Ok(())
}

fn c_string(text: String) -> Result<CString, InitError> {
    CString::new(text).map_err(failed("an argument or variable has a NUL byte"))
}

fn load_seccomp(plan: &ProcessPlan, program: &[SeccompInstruction]) -> Result<(), InitError> {
    if !plan.has_seccomp || program.is_empty() {
        return Ok(());
    }
    hako_sys::load_seccomp(program, plan.seccomp_flags).map_err(failed("cannot load the seccomp profile"))
}

fn use_terminal(terminal: BorrowedFd<'_>, plan: &ProcessPlan) -> Result<(), InitError> {
    hako_sys::set_controlling_terminal(terminal).map_err(failed("cannot take the terminal"))?;
    rustix::stdio::dup2_stdin(terminal).map_err(failed("cannot use the terminal"))?;
    rustix::stdio::dup2_stdout(terminal).map_err(failed("cannot use the terminal"))?;
    rustix::stdio::dup2_stderr(terminal).map_err(failed("cannot use the terminal"))?;
    // Group 5 is tty, as devpts' own option gid=5 gives it.
    let _refused = rustix::fs::fchown(terminal, Some(Uid::from_raw(plan.uid)), None::<Gid>);
    Ok(())
}

/// Programs open /dev/stdout anew, which takes the right to open the pipe behind it.
fn own_streams(plan: &ProcessPlan) {
    if plan.uid == 0 {
        return;
    }
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::fstat(stream.as_fd()).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket)
        });
        if is_pipe {
            // Pipes of others may refuse; then only opening them anew fails.
            let _refused = rustix::fs::fchown(stream, Some(Uid::from_raw(plan.uid)), None::<Gid>);
        }
    }
}

fn change_directory(cwd: &Path, is_made: bool) -> Result<(), InitError> {
    let doing = || format!("cannot change to directory {}", cwd.display());
    if let Err(error) = rustix::process::chdir(cwd) {
        match error {
            rustix::io::Errno::NOENT if is_made => {}
            // Docker takes these words for exit code 127.
            rustix::io::Errno::NOENT => {
                return Err(InitError::with_code(127, format!("{}: no such file or directory", doing())));
            }
            rustix::io::Errno::ACCESS | rustix::io::Errno::NOTDIR => {
                return Err(InitError::with_code(126, format!("{}: {error}", doing())));
            }
            _ => return Err(failed(doing())(error)),
        }
        fs::DirBuilder::new().recursive(true).create(cwd).map_err(failed(doing()))?;
        rustix::process::chdir(cwd).map_err(failed(doing()))?;
    }
    // CVE-2024-21626: a directory outside of the root has no path in it.
    let here = rustix::process::getcwd(Vec::new())
        .map_err(failed(format!("{} is outside of the container", cwd.display())))?;
    if here.as_bytes().first() != Some(&b'/') {
        return Err(InitError::new(format!("{} is outside of the container", cwd.display())));
    }
    Ok(())
}

/// Programs expect HOME; the spec has it only if somebody set it.
fn add_home(env: &mut Vec<String>, uid: u32) {
    if env.iter().any(|one| one.starts_with("HOME=")) {
        return;
    }
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let home = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let of = fields.nth(2)?;
        (of.parse() == Ok(uid)).then(|| fields.nth(2))?
    });
    env.push(format!(
        "HOME={}",
        home.filter(|home| !home.is_empty()).unwrap_or(if uid == 0 { "/root" } else { "/" })
    ));
}

/// The program's path as a shell would find it.
fn find(name: &str, env: &[String], cwd: &Path) -> Result<PathBuf, InitError> {
    if name.contains('/') {
        let path = cwd.join(name);
        return match executable(&path) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(denied) => Err(denied.error(name)),
        };
    }
    let search = env.iter().find_map(|one| one.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut worst = Denied::Missing;
    for directory in search.split(':') {
        let path = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match executable(&path) {
            _ if name.is_empty() => break,
            Ok(()) => return Ok(path),
            Err(Denied::Missing) => {}
            Err(denied) => worst = denied,
        }
    }
    Err(match worst {
        Denied::Missing => InitError::with_code(
            127,
            // Docker takes these words for exit code 127, and so do scripts.
            format!("exec: {name:?}: executable file not found in $PATH of the container ({search})"),
        ),
        denied => denied.error(name),
    })
}

/// Why a file cannot be executed.
enum Denied {
    Missing,
    Directory,
    Mode,
}

impl Denied {
    fn error(&self, name: &str) -> InitError {
        match self {
            Self::Missing => InitError::with_code(
                127,
                format!("exec: {name:?}: stat {name}: no such file or directory in the container"),
            ),
            Self::Directory => {
                InitError::with_code(126, format!("cannot execute {name:?}: it is a directory"))
            }
            Self::Mode => InitError::with_code(
                126,
                format!("cannot execute {name:?}: permission denied; is its execute bit set?"),
            ),
        }
    }
}

fn executable(path: &Path) -> Result<(), Denied> {
    let stat = rustix::fs::stat(path).map_err(|error| match error {
        rustix::io::Errno::ACCESS => Denied::Mode,
        _ => Denied::Missing,
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Err(Denied::Directory),
        FileType::RegularFile => {
            rustix::fs::accessat(CWD, path, Access::EXEC_OK, rustix::fs::AtFlags::EACCESS)
                .map_err(|_| Denied::Mode)
        }
        _ => Err(Denied::Mode),
    }
}
