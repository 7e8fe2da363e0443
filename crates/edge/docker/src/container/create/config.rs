//! The container's own part of a request: process, user, limits of its files.

use super::super::host::{CreateRequest, HostConfig, Restart, Words};
use super::log::log_settings;
use super::mounts::{mounts, no_copy};
use super::resources::{devices, resources, rlimits};
use super::security::security;
use crate::error::{Failure, invalid, unimplemented};
use hako_container::{ContainerSpec, RestartPolicy, Seccomp, parse_signal};
use std::path::PathBuf;

pub(super) fn container_spec(request: CreateRequest, host: HostConfig) -> Result<ContainerSpec, Failure> {
    let (seccomp, no_new_privs) = security(host.security_opt.as_deref().unwrap_or_default())?;
    let gid = |text: &String| {
        text.parse().map_err(|_| unimplemented(format!("GroupAdd {text:?}: only numbers are built")))
    };
    let paths =
        |paths: &Option<Vec<String>>| paths.as_ref().map(|paths| paths.iter().map(PathBuf::from).collect());
    Ok(ContainerSpec {
        command: request.entrypoint.map(Words::into_list).unwrap_or_default(),
        args: request.cmd.map(Words::into_list).unwrap_or_default(),
        env: environment(request.env)?,
        working_dir: request.working_dir,
        user: request.user,
        additional_gids: host.group_add.iter().flatten().map(gid).collect::<Result<_, _>>()?,
        mounts: mounts(&host)?,
        no_copy: no_copy(&host),
        resources: resources(&host)?,
        cap_add: host.cap_add.clone().map(Words::into_list).unwrap_or_default(),
        cap_drop: host.cap_drop.clone().map(Words::into_list).unwrap_or_default(),
        privileged: host.privileged,
        no_new_privs,
        read_only_rootfs: host.readonly_rootfs,
        seccomp: if host.privileged { Seccomp::Unconfined } else { seccomp },
        rlimits: rlimits(&host),
        devices: devices(&host),
        tty: request.tty,
        stdin: request.open_stdin,
        stdin_once: request.stdin_once,
        stop_signal: request
            .stop_signal
            .filter(|signal| !signal.is_empty())
            .map(|signal| parse_signal(&signal))
            .transpose()?,
        log: log_settings(host.log_config.as_ref())?,
        oom_score_adj: Some(host.oom_score_adj).filter(|adjustment| *adjustment != 0),
        masked_paths: paths(&host.masked_paths),
        readonly_paths: paths(&host.readonly_paths),
        image_volumes: true,
        restart: restart(host.restart_policy.as_ref(), host.auto_remove)?,
        auto_remove: host.auto_remove,
        labels: request.labels.unwrap_or_default(),
        ..ContainerSpec::default()
    })
}

/// A variable has a name.
fn environment(env: Option<Vec<String>>) -> Result<Vec<String>, Failure> {
    let env = env.unwrap_or_default();
    match env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        Some(entry) => Err(invalid(format!("invalid environment variable: {entry}"))),
        None => Ok(env),
    }
}

fn restart(policy: Option<&Restart>, auto_remove: bool) -> Result<RestartPolicy, Failure> {
    let Some(policy) = policy else { return Ok(RestartPolicy::No) };
    let restart = match policy.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure { max_retries: policy.maximum_retry_count },
        other => {
            return Err(invalid(format!(
                "restart policy {other:?} is unknown: use no, always, unless-stopped or on-failure"
            )));
        }
    };
    if auto_remove && restart != RestartPolicy::No {
        return Err(invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(restart)
}
