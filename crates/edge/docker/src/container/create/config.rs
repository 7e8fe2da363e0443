//! The container's own part of a request: process, user, limits of its files.

use super::super::host::{CreateRequest, HostConfig, Restart, Words};
use super::devices::cdi_devices;
use super::log::log_settings;
use super::mounts::{mounts, no_copy};
use super::resources::{device_rules, devices, resources, rlimits};
use super::security::security;
use crate::api::ApiVersion;
use crate::container::lifecycle::timeout;
use crate::error::{Failure, invalid};
use hako_container::{ContainerSpec, RestartPolicy, TerminalSize, parse_signal};
use std::path::PathBuf;

pub(super) fn container_spec(
    request: CreateRequest,
    host: HostConfig,
    version: ApiVersion,
) -> Result<ContainerSpec, Failure> {
    let (seccomp, no_new_privs) = security(host.security_opt.as_deref().unwrap_or_default())?;
    let groups: Vec<&String> = host.group_add.iter().flatten().collect();
    let volumes = request.volumes.iter().flatten().map(|(target, _)| target.as_str());
    let paths =
        |paths: &Option<Vec<String>>| paths.as_ref().map(|paths| paths.iter().map(PathBuf::from).collect());
    Ok(ContainerSpec {
        command: request.entrypoint.map(Words::into_list).unwrap_or_default(),
        args: request.cmd.map(Words::into_list).unwrap_or_default(),
        env: environment(request.env)?,
        working_dir: request.working_dir,
        user: request.user,
        additional_gids: groups.iter().filter_map(|group| group.parse().ok()).collect(),
        additional_groups: groups
            .into_iter()
            .filter(|group| group.parse::<u32>().is_err())
            .cloned()
            .collect(),
        mounts: mounts(&host, volumes, version)?,
        no_copy: no_copy(&host),
        resources: resources(&host, true)?,
        cap_add: host.cap_add.clone().map(Words::into_list).unwrap_or_default(),
        cap_drop: host.cap_drop.clone().map(Words::into_list).unwrap_or_default(),
        privileged: host.privileged,
        no_new_privs,
        read_only_rootfs: host.readonly_rootfs,
        seccomp,
        rlimits: rlimits(&host),
        devices: devices(&host),
        device_rules: device_rules(&host)?,
        cdi_devices: cdi_devices(&host)?,
        tty: request.tty,
        stdin: request.open_stdin,
        stdin_once: request.stdin_once,
        stop_signal: request
            .stop_signal
            .filter(|signal| !signal.is_empty())
            .map(|signal| parse_signal(&signal))
            .transpose()?,
        stop_timeout: request.stop_timeout.map(timeout),
        exposed_ports: request.exposed_ports.iter().flatten().map(|(port, _)| port.clone()).collect(),
        console_size: host
            .console_size
            .filter(|size| *size != [0, 0])
            .map(|[rows, columns]| TerminalSize { rows, columns }),
        host_cgroupns: cgroup_namespace(&host)?,
        init: host.init.unwrap_or_default(),
        log: log_settings(host.log_config.as_ref())?,
        oom_score_adj: Some(host.oom_score_adj).filter(|adjustment| *adjustment != 0),
        masked_paths: paths(&host.masked_paths),
        readonly_paths: paths(&host.readonly_paths),
        image_volumes: true,
        restart: restart_policy(host.restart_policy.as_ref(), host.auto_remove)?,
        auto_remove: host.auto_remove,
        labels: request.labels.unwrap_or_default(),
        ..ContainerSpec::default()
    })
}

/// Whether the host's namespace of control groups is used.
fn cgroup_namespace(host: &HostConfig) -> Result<bool, Failure> {
    match host.cgroupns_mode.as_str() {
        "" | "private" => Ok(false),
        "host" => Ok(true),
        mode => Err(invalid(format!("invalid CgroupnsMode: {mode:?}: use private or host"))),
    }
}

/// A variable has a name.
fn environment(env: Option<Vec<String>>) -> Result<Vec<String>, Failure> {
    let env = env.unwrap_or_default();
    match env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        Some(entry) => Err(invalid(format!("invalid environment variable: {entry}"))),
        None => Ok(env),
    }
}

/// What a policy asks for.
pub(crate) fn restart_policy(policy: Option<&Restart>, auto_remove: bool) -> Result<RestartPolicy, Failure> {
    let Some(policy) = policy else { return Ok(RestartPolicy::No) };
    let max_retries = u32::try_from(policy.maximum_retry_count)
        .map_err(|_| invalid("invalid restart policy: maximum retry count cannot be negative"))?;
    let restart = match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" if policy.maximum_retry_count > 0 => {
            return Err(invalid(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ));
        }
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure { max_retries },
        other => {
            return Err(invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if auto_remove && restart != RestartPolicy::No {
        return Err(invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(restart)
}
