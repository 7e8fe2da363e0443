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

/// Runs hooks of a kind in order; the first that fails ends it. Failures have runc's words.
pub(crate) fn run_all(kind: &str, hooks: &[HookPlan], state: &str) -> Result<(), String> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| {
        run(hook, state).map_err(|why| format!("error running {kind} hook #{index}: {why}"))
    })
}

/// Runs one to its end.
fn run(hook: &HookPlan, state: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", hook.path.display());
    let mut command = Command::new(&hook.path);
    if let Some(name) = hook.args.first() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    let child = command
        .args(hook.args.iter().skip(1))
        .env_clear()
        .envs(hook.env.iter().filter_map(|one| one.split_once('=')))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state.
        let _unread = stdin.write_all(state.as_bytes());
    }
    let mut said = [Said::new(child.stdout.take()), Said::new(child.stderr.take())];
    match wait(&mut child, &mut said, hook.timeout).map_err(failed)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let [out, err] = said.map(|stream| stream.text());
            Err(format!("{}, stdout: {out}, stderr: {err}", ending(status)))
        }
        None => {
            let seconds = hook.timeout.unwrap_or_default().as_secs_f64();
            Err(format!("hook ran past specified timeout of {seconds:.1}s"))
        }
    }
}

fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// What a hook says of its failure is told as far as it fits.
const MAX_SAID: usize = 1024;

/// One stream of a hook, until it ends.
struct Said {
    stream: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Said {
    fn new(stream: Option<impl Into<OwnedFd>>) -> Self {
        Self { stream: stream.map(Into::into), bytes: Vec::new() }
    }

    /// Takes what has come; what does not fit is read and dropped, so that the hook goes on.
    fn read(&mut self) {
        let Some(stream) = &self.stream else { return };
        let mut data = [0; 4096];
        match rustix::io::read(stream, &mut data) {
            Ok(0) | Err(_) => self.stream = None,
            Ok(count) => {
                let fits = MAX_SAID.saturating_sub(self.bytes.len());
                self.bytes.extend_from_slice(&data[..count.min(fits)]);
            }
        }
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).trim().to_owned()
    }
}

/// Until the hook ends, reading what it says; `None` when its time was over, and it is killed.
fn wait(
    child: &mut Child,
    said: &mut [Said; 2],
    timeout: Option<Duration>,
) -> std::io::Result<Option<ExitStatus>> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let until = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(std::io::Error::other)?;
        let open: Vec<usize> = (0..said.len()).filter(|at| said[*at].stream.is_some()).collect();
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(said.iter().filter_map(|one| Some(PollFd::new(one.stream.as_ref()?, PollFlags::IN))));
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))?;
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready == 0 {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        let speaking: Vec<usize> =
            open.iter().zip(&is_ready[1..]).filter(|(_, is_ready)| **is_ready).map(|(at, _)| *at).collect();
        // What it said last is taken before its end counts.
        if speaking.is_empty() && is_ready[0] {
            return child.wait().map(Some);
        }
        speaking.into_iter().for_each(|at| said[at].read());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<Duration>) -> HookPlan {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        HookPlan { path: "/bin/sh".into(), args, env: vec!["NAME=value".to_owned()], timeout }
    }

    #[test]
    fn the_first_hook_that_fails_is_told_with_what_it_said() {
        let hooks = [shell("cat", None), shell("echo $NAME; cat >&2; exit 3", None), shell("exit 4", None)];
        let error = run_all("createRuntime", &hooks, "state").unwrap_err();
        assert_eq!(error, "error running createRuntime hook #1: exit status 3, stdout: value, stderr: state");
        assert_eq!(run_all("createRuntime", &hooks[..1], "state"), Ok(()));
    }

    #[test]
    fn a_hook_that_says_much_ends_and_is_cut() {
        let error = run_all("poststop", &[shell("yes | head -c 300000; exit 1", None)], "").unwrap_err();
        assert!(error.len() < 2 * MAX_SAID, "{}", error.len());
    }

    #[test]
    fn a_hook_that_takes_too_long_is_killed() {
        let hook = shell("exec sleep 100", Some(Duration::from_millis(100)));
        let error = run_all("prestart", &[hook], "").unwrap_err();
        assert_eq!(error, "error running prestart hook #0: hook ran past specified timeout of 0.1s");
    }
}
