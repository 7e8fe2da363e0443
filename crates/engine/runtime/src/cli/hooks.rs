//! The programs a spec wants to be run around a container's life.

use std::io::Write;
use std::process::{Command, Stdio};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Hook, Spec};

use super::state::{Record, oci_state};
use crate::types::ContainerStatus;

/// Refuses hooks that would have to run inside the container: better no container than one that lacks them.
pub(super) fn check(spec: &Spec) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for (name, list) in
        [("createContainer", hooks.create_container()), ("startContainer", hooks.start_container())]
    {
        if list.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Error::new(
                Kind::Unimplemented,
                format!("hooks.{name} is not supported; use createRuntime or poststart"),
            ));
        }
    }
    Ok(())
}

/// Runs hooks in order; the first that fails ends it.
pub(super) fn run(hooks: Option<&Vec<Hook>>, record: &Record, status: ContainerStatus) -> Result<()> {
    let state = oci_state(record, status).to_string();
    for hook in hooks.into_iter().flatten() {
        let failed = |why: String| {
            Error::new(Kind::FailedPrecondition, format!("hook {} failed: {why}", hook.path().display()))
        };
        let args = hook.args().clone().unwrap_or_default();
        let env = hook.env().clone().unwrap_or_default();
        let mut command = Command::new(hook.path());
        if let Some(name) = args.first() {
            std::os::unix::process::CommandExt::arg0(&mut command, name);
        }
        let mut child = command
            .args(args.iter().skip(1))
            .env_clear()
            .envs(env.iter().filter_map(|one| one.split_once('=')))
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A hook need not read its state.
            let _unread = stdin.write_all(state.as_bytes());
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(status.to_string()));
        }
    }
    Ok(())
}
