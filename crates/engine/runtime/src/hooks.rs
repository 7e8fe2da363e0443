//! Programs a spec wants to be run around a container's life.
//!
//! Owns: running one with the state on its input, within its time.
//! Does not own: when: the command line runs those of the host, an init those of the container.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hako_oci::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HookPlan {
    pub path: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// After which it is killed and has failed.
    pub timeout: Option<Duration>,
}

impl From<&Hook> for HookPlan {
    fn from(hook: &Hook) -> Self {
        Self {
            path: hook.path().clone(),
            args: hook.args().clone().unwrap_or_default(),
            env: hook.env().clone().unwrap_or_default(),
            timeout: hook
                .timeout()
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
        }
    }
}

/// The hooks of one kind.
pub(crate) fn plans(hooks: Option<&Vec<Hook>>) -> Vec<HookPlan> {
    hooks.into_iter().flatten().map(HookPlan::from).collect()
}

/// Runs hooks in order; the first that fails ends it.
pub(crate) fn run_all(hooks: &[HookPlan], state: &str) -> Result<(), String> {
    hooks.iter().try_for_each(|hook| run(hook, state))
}

/// Runs one to its end.
pub(crate) fn run(hook: &HookPlan, state: &str) -> Result<(), String> {
    let failed = |why: String| format!("hook {} failed: {why}", hook.path.display());
    let mut command = Command::new(&hook.path);
    if let Some(name) = hook.args.first() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    let child = command
        .args(hook.args.iter().skip(1))
        .env_clear()
        .envs(hook.env.iter().filter_map(|one| one.split_once('=')))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state.
        let _unread = stdin.write_all(state.as_bytes());
    }
    let errors = child.stderr.take().map(OwnedFd::from);
    let (status, said) = wait(&mut child, errors, hook.timeout).map_err(|error| failed(error.to_string()))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) if said.is_empty() => Err(failed(status.to_string())),
        Some(status) => Err(failed(format!("{status}: {said}"))),
        None => Err(failed(format!("it took longer than {} s", hook.timeout.unwrap_or_default().as_secs()))),
    }
}

/// What a hook says of its failure is told as far as it fits.
const MAX_SAID: usize = 2048;

/// Until the hook ends, reading what it says; `None` when its time was over, and it is killed.
fn wait(
    child: &mut Child,
    errors: Option<OwnedFd>,
    timeout: Option<Duration>,
) -> std::io::Result<(Option<ExitStatus>, String)> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let (until, mut said, mut errors) = (timeout.map(|timeout| Instant::now() + timeout), Vec::new(), errors);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(std::io::Error::other)?;
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(errors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))?;
        let has_ended = !fds[0].revents().is_empty();
        let speaks = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if ready == 0 {
            child.kill()?;
            child.wait()?;
            return Ok((None, String::new()));
        }
        if speaks && let Some(fd) = &errors {
            let mut data = [0; 4096];
            match rustix::io::read(fd, &mut data) {
                Ok(0) | Err(_) => errors = None,
                Ok(count) => said.extend_from_slice(&data[..count.min(MAX_SAID.saturating_sub(said.len()))]),
            }
        } else if has_ended {
            return Ok((Some(child.wait()?), String::from_utf8_lossy(&said).trim().to_owned()));
        }
    }
}
