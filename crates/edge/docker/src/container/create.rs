//! `POST /containers/create`: Docker's words into the engine's.

use super::body::JsonBody;
use super::health::{Check, HEALTH};
use super::host::{
    CreateRequest, HostConfig, LogConfig, MountRequest, NetworkingConfig, Restart, Words, refused,
};
use super::{IMAGE, REQUEST};
use crate::DockerState;
use crate::error::{Answer, Failure, blocking, invalid, message, unimplemented};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{
    ContainerEngine, ContainerSpec, Device, Dns, HostEntry, ImageSource, LogSettings, Mount, MountSource,
    NetworkMode, PortMapping, Propagation, Protocol, Resources, RestartPolicy, Rlimit, SandboxSpec, Seccomp,
    parse_signal,
};
use hako_error::{Error, Kind};
use hako_image::Image;
use http::StatusCode;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

pub(crate) async fn create(
    State(state): State<DockerState>,
    params: Params,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    if let Some(field) = refused(&body) {
        return Err(unimplemented(format!("container field {field} is unimplemented: leave it out")));
    }
    let request: CreateRequest = serde_json::from_value(body.clone())
        .map_err(|error| invalid(format!("container config: {error}")))?;
    if request.image.is_empty() {
        return Err(invalid("no image given: name one in Image"));
    }
    let (images, wanted) = (state.images.clone(), request.image.clone());
    let image = match blocking(move || images.find(&wanted)).await {
        Err(failure) if failure.0.is_not_found() => {
            return Ok(message(
                StatusCode::NOT_FOUND,
                &format!("No such image: {}", with_tag(&request.image)),
            ));
        }
        found => found?,
    };
    check_platform(params.get("platform"), &image)?;
    let exposed =
        image.config.config().as_ref().and_then(|config| config.exposed_ports().clone()).unwrap_or_default();
    let source = match request.image.parse() {
        Ok(name) if image.name.is_some() => ImageSource::Name(name),
        _ => ImageSource::Id(image.id.hex()),
    };
    let as_written = request.image.clone();
    let host = request.host_config.clone().unwrap_or_default();
    let sandbox = sandbox_spec(&request, &host, &exposed)?;
    let check = Check::merged(request.healthcheck.clone(), &image.raw_config["config"]["Healthcheck"])?;
    let mut spec = container_spec(request, host)?;
    spec.image = source;
    spec.name = params.get("name").unwrap_or_default().trim_start_matches('/').to_owned();
    spec.annotations.insert(IMAGE.to_owned(), as_written);
    if let Some(check) = check {
        spec.annotations.insert(HEALTH.to_owned(), json!(check).to_string());
    }
    spec.annotations.insert(REQUEST.to_owned(), body.to_string());
    let id = state.engine.create_standalone(sandbox, spec).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id, "Warnings": [] }))).into_response())
}

/// What `--platform` asks for is what the image is; another one of the same name is for `docker pull` to bring.
fn check_platform(wanted: Option<&str>, image: &Image) -> Result<(), Failure> {
    let Some(wanted) = wanted.filter(|text| !text.is_empty()) else { return Ok(()) };
    let (os, architecture) = (image.config.os().to_string(), image.config.architecture().to_string());
    let mut parts = wanted.split('/');
    let fits_os = parts.next() == Some(os.as_str());
    let fits_architecture = parts.next().is_none_or(|part| {
        let part = match part {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        part == architecture
    });
    match fits_os && fits_architecture {
        true => Ok(()),
        false => Err(Failure::from(Error::new(
            Kind::NotFound,
            format!(
                "image {} is here for {os}/{architecture}, not for {wanted}: pull it with --platform {wanted}",
                image.display_name()
            ),
        ))),
    }
}

fn with_tag(image: &str) -> String {
    image.parse::<hako_names::ImageRef>().map_or_else(|_| image.to_owned(), |name| name.to_string())
}

fn sandbox_spec(
    request: &CreateRequest,
    host: &HostConfig,
    exposed: &[String],
) -> Result<SandboxSpec, Failure> {
    let network = network(host, request.networking_config.as_ref())?;
    let ip = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| invalid(format!("dns server {text:?} is not an IP address")))
    };
    Ok(SandboxSpec {
        hostname: request.hostname.clone(),
        network,
        dns: Dns {
            servers: host.dns.iter().flatten().map(ip).collect::<Result<_, _>>()?,
            search: host.dns_search.clone().unwrap_or_default(),
            options: host.dns_options.clone().unwrap_or_default(),
        },
        ports: if network == NetworkMode::Bridge { ports(host, exposed)? } else { Vec::new() },
        sysctls: host.sysctls.clone().unwrap_or_default(),
        shm_size: Some(host.shm_size).filter(|size| *size > 0),
        hosts: host.extra_hosts.iter().flatten().map(|entry| host_entry(entry)).collect::<Result<_, _>>()?,
        host_ipc: match host.ipc_mode.as_str() {
            "" | "private" | "shareable" => false,
            "host" => true,
            mode => {
                return Err(unimplemented(format!("IpcMode {mode:?} is unimplemented: use private or host")));
            }
        },
        host_pid: match host.pid_mode.as_str() {
            "" | "private" => false,
            "host" => true,
            mode => {
                return Err(unimplemented(format!(
                    "PidMode {mode:?} is unimplemented: use host or leave it out"
                )));
            }
        },
        ..SandboxSpec::default()
    })
}

fn network(host: &HostConfig, networking: Option<&NetworkingConfig>) -> Result<NetworkMode, Failure> {
    for (name, endpoint) in
        networking.iter().filter_map(|networking| networking.endpoints_config.as_ref()).flatten()
    {
        for field in ["IPAMConfig", "Links", "Aliases", "MacAddress"] {
            let is_asked = !matches!(&endpoint[field], Value::Null)
                && endpoint[field] != json!("")
                && endpoint[field] != json!([]);
            if is_asked && endpoint[field] != json!({}) {
                return Err(unimplemented(format!(
                    "endpoint field {field} of network {name} is unimplemented: leave it out"
                )));
            }
        }
    }
    match host.network_mode.as_str() {
        "" | "default" | "bridge" => Ok(NetworkMode::Bridge),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => Err(unimplemented(format!("network {other:?} is unimplemented: use bridge, host or none"))),
    }
}

/// `80/tcp` as number and protocol; without a protocol it is TCP.
fn port(text: &str) -> Result<(u16, Protocol), Failure> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(invalid(format!("port {text:?}: the protocol must be tcp, udp or sctp"))),
    };
    let number = number.parse().ok().filter(|number| *number > 0);
    Ok((number.ok_or_else(|| invalid(format!("port {text:?} must be 1 to 65535")))?, protocol))
}

fn ports(host: &HostConfig, exposed: &[String]) -> Result<Vec<PortMapping>, Failure> {
    let mut ports = Vec::new();
    for (inside, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = port(inside)?;
        for binding in bindings.iter().flatten() {
            let host_port = match binding.host_port.as_str() {
                "" => 0,
                text => {
                    text.parse().map_err(|_| invalid(format!("host port {text:?} must be 0 to 65535")))?
                }
            };
            let host_ip = match binding.host_ip.as_str() {
                "" => Ipv4Addr::UNSPECIFIED,
                // The CLI asks for both families; the bridge speaks one of them.
                "::" if bindings.iter().flatten().count() > 1 => continue,
                text => text
                    .parse()
                    .map_err(|_| invalid(format!("host address {text:?} is not an IPv4 address")))?,
            };
            ports.push(PortMapping { host_ip, host_port, container_port, protocol });
        }
    }
    if host.publish_all_ports {
        for text in exposed {
            let (container_port, protocol) = port(text)?;
            if !ports.iter().any(|known| (known.container_port, known.protocol) == (container_port, protocol))
            {
                ports.push(PortMapping {
                    host_ip: Ipv4Addr::UNSPECIFIED,
                    host_port: 0,
                    container_port,
                    protocol,
                });
            }
        }
    }
    Ok(ports)
}

fn host_entry(entry: &str) -> Result<HostEntry, Failure> {
    let bad = || invalid(format!("extra host {entry:?} is not NAME:ADDRESS"));
    let (name, ip) = entry.split_once([':', '=']).ok_or_else(bad)?;
    Ok(HostEntry {
        ip: ip.trim_matches(['[', ']']).parse().map_err(|_| bad())?,
        names: vec![name.to_owned()],
    })
}

fn container_spec(request: CreateRequest, host: HostConfig) -> Result<ContainerSpec, Failure> {
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
        rlimits: host
            .ulimits
            .iter()
            .flatten()
            .map(|limit| Rlimit { name: limit.name.clone(), soft: rlim(limit.soft), hard: rlim(limit.hard) })
            .collect(),
        devices: host
            .devices
            .iter()
            .flatten()
            .map(|device| Device {
                host_path: device.path_on_host.clone().into(),
                container_path: device.path_in_container.clone().into(),
                access: if device.cgroup_permissions.is_empty() {
                    "rwm".into()
                } else {
                    device.cgroup_permissions.clone()
                },
            })
            .collect(),
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

/// -1 is unlimited.
fn rlim(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

fn security(options: &[String]) -> Result<(Seccomp, bool), Failure> {
    let (mut seccomp, mut no_new_privs) = (Seccomp::Default, false);
    for option in options {
        match option.replace(':', "=").as_str() {
            "seccomp=unconfined" => seccomp = Seccomp::Unconfined,
            "seccomp=builtin" | "no-new-privileges=false" | "apparmor=unconfined" | "label=disable" => {}
            "no-new-privileges" | "no-new-privileges=true" => no_new_privs = true,
            _ => return Err(unimplemented(format!("SecurityOpt {option:?} is unimplemented"))),
        }
    }
    Ok((seccomp, no_new_privs))
}

fn mounts(host: &HostConfig) -> Result<Vec<Mount>, Failure> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(bind_mount(bind)?);
    }
    for mount in host.mounts.iter().flatten() {
        mounts.push(typed_mount(mount)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        mounts.push(tmpfs(target, options)?);
    }
    Ok(mounts)
}

/// Targets of the volumes that ask for `nocopy`.
fn no_copy(host: &HostConfig) -> Vec<PathBuf> {
    let asks = |bind: &&String| bind.rsplit(':').next().unwrap_or("").split(',').any(|one| one == "nocopy");
    let binds = host.binds.iter().flatten().filter(asks).filter_map(|bind| bind.split(':').nth(1));
    let asks = |mount: &&MountRequest| mount.volume_options.as_ref().is_some_and(|options| options.no_copy);
    let mounts = host.mounts.iter().flatten().filter(asks).map(|mount| mount.target.as_str());
    binds.chain(mounts).filter_map(destination).collect()
}

/// `SOURCE:TARGET[:OPTIONS]`, where a source that is no path is a volume; a bare `TARGET` is an anonymous one.
fn bind_mount(text: &str) -> Result<Mount, Failure> {
    let bad = |why: &str| invalid(format!("invalid volume specification {text:?}: {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad("it must be SOURCE:TARGET[:OPTIONS]")),
    };
    let target =
        destination(target).ok_or_else(|| bad("the target must be an absolute path other than /"))?;
    let (mut read_only, mut propagation) = (false, Propagation::Private);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "nocopy" | "consistent" | "cached" | "delegated" | "rprivate" | "private" => {}
            "rslave" | "slave" => propagation = Propagation::Slave,
            "rshared" | "shared" => propagation = Propagation::Shared,
            _ => return Err(bad(&format!("option {option:?} is unknown"))),
        }
    }
    let source = match source.starts_with('/') {
        true => MountSource::Bind { path: source.into(), propagation, create: true },
        false => MountSource::Volume { name: source.to_owned() },
    };
    Ok(Mount { target, source, read_only })
}

/// Where a mount goes, without `.` and `..`; `None` for what is not absolute, or the root.
fn destination(target: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::from("/");
    for part in target.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    (clean.as_os_str() != "/").then_some(clean)
}

fn typed_mount(mount: &MountRequest) -> Result<Mount, Failure> {
    let target = destination(&mount.target).ok_or_else(|| {
        invalid(format!("mount target {:?} must be an absolute path other than /", mount.target))
    })?;
    let source = match mount.r#type.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            let propagation = match options.propagation.as_str() {
                "" | "rprivate" | "private" => Propagation::Private,
                "rslave" | "slave" => Propagation::Slave,
                "rshared" | "shared" => Propagation::Shared,
                other => return Err(invalid(format!("bind propagation {other:?} is unknown"))),
            };
            if !options.create_mountpoint && !std::path::Path::new(&mount.source).exists() {
                return Err(invalid(format!("bind source path does not exist: {}", mount.source)));
            }
            MountSource::Bind {
                path: mount.source.clone().into(),
                propagation,
                create: options.create_mountpoint,
            }
        }
        "volume" => MountSource::Volume { name: mount.source.clone() },
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            MountSource::Tmpfs { size: options.size_bytes, mode: options.mode, options: Vec::new() }
        }
        other => {
            return Err(unimplemented(format!(
                "mount type {other:?} is unimplemented: use bind, volume or tmpfs"
            )));
        }
    };
    Ok(Mount { target, source, read_only: mount.read_only })
}

fn tmpfs(target: &str, text: &str) -> Result<Mount, Failure> {
    let (mut size, mut mode, mut read_only, mut options) = (None, None, false, vec!["noexec".to_owned()]);
    let bad = |option: &str| invalid(format!("tmpfs option {option:?} of {target} is not valid"));
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => size = Some(bytes(value).ok_or_else(|| bad(option))?),
            ("mode", value) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| bad(option))?),
            ("ro", _) => read_only = true,
            ("rw", _) => {}
            ("exec", _) => options.retain(|known| known != "noexec"),
            _ => options.push(option.to_owned()),
        }
    }
    let place = destination(target)
        .ok_or_else(|| invalid(format!("tmpfs target {target:?} must be an absolute path other than /")))?;
    Ok(Mount { target: place, source: MountSource::Tmpfs { size, mode, options }, read_only })
}

/// `64m` and the like.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|end: char| !end.is_ascii_digit());
    let factor = match lower[digits.len()..].trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

const PERIOD_US: i64 = 100_000;
/// The least memory a container can live with, as Docker has it.
const LEAST_MEMORY: i64 = 6 << 20;

/// Docker's limits, where 0 is unlimited.
pub(crate) fn resources(host: &HostConfig) -> Result<Resources, Failure> {
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return Err(invalid("Minimum memory limit allowed is 6MB"));
    }
    if host.nano_cpus > 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        return Err(invalid("NanoCpus cannot be set together with CpuQuota or CpuPeriod"));
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if !(0..=most).contains(&host.nano_cpus) {
        return Err(invalid(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    let (quota, period) = match host.nano_cpus {
        0 => (Some(host.cpu_quota).filter(|quota| *quota != 0), positive(host.cpu_period)),
        nano => (Some(nano / (1_000_000_000 / PERIOD_US)), positive(PERIOD_US)),
    };
    Ok(Resources {
        memory: positive(host.memory),
        memory_swap: match host.memory_swap {
            // Docker's default is as much swap as memory.
            0 if host.memory > 0 => Some(host.memory.saturating_mul(2)),
            0 => None,
            both => Some(both),
        },
        cpu_quota_us: quota,
        cpu_period_us: period,
        cpu_shares: positive(host.cpu_shares),
        pids: host.pids_limit.filter(|limit| *limit != 0),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
    })
}

pub(crate) fn restart(policy: Option<&Restart>, auto_remove: bool) -> Result<RestartPolicy, Failure> {
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

fn log_settings(config: Option<&LogConfig>) -> Result<LogSettings, Failure> {
    let mut settings = LogSettings::default();
    let Some(config) = config else { return Ok(settings) };
    if !matches!(config.r#type.as_str(), "" | "json-file" | "local") {
        return Err(unimplemented(format!(
            "log driver {:?} is unimplemented: use json-file or local",
            config.r#type
        )));
    }
    for (name, value) in config.config.iter().flatten() {
        let bad = || invalid(format!("log option {name}={value} is not valid"));
        match name.as_str() {
            "max-size" => settings.max_size = bytes(value).filter(|size| *size > 0).ok_or_else(bad)?,
            "max-file" => {
                settings.max_files = value.parse().ok().filter(|count| *count > 0).ok_or_else(bad)?
            }
            _ => {
                return Err(unimplemented(format!(
                    "log option {name} is unimplemented: use max-size or max-file"
                )));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> (SandboxSpec, ContainerSpec) {
        let request: CreateRequest = serde_json::from_value(body).unwrap();
        let host = request.host_config.clone().unwrap_or_default();
        (sandbox_spec(&request, &host, &["80/tcp".into()]).unwrap(), container_spec(request, host).unwrap())
    }

    #[test]
    fn volumes_are_binds_names_or_anonymous() {
        let mount = |text| bind_mount(text).unwrap();
        let bind = MountSource::Bind { path: "/a".into(), propagation: Propagation::Slave, create: true };
        assert_eq!(mount("/a:/b:ro,rslave"), Mount { target: "/b".into(), source: bind, read_only: true });
        assert_eq!(mount("data:/b").source, MountSource::Volume { name: "data".into() });
        assert_eq!(mount("/b").source, MountSource::Volume { name: String::new() });
        for bad in ["/a:b", "/a:/b:odd", "/a:/", "a:b:c:d"] {
            assert!(bind_mount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_that_ask_for_it_get_no_copy_of_the_image() {
        let (_, spec) = parsed(json!({ "Image": "busybox", "HostConfig": {
            "Binds": ["a:/a:nocopy", "b:/b", "c:/c:ro,nocopy"],
            "Mounts": [{ "Type": "volume", "Source": "d", "Target": "/d", "VolumeOptions": { "NoCopy": true } },
                       { "Type": "volume", "Source": "e", "Target": "/e", "VolumeOptions": {} }] } }));
        assert_eq!(spec.no_copy, ["/a", "/c", "/d"].map(PathBuf::from));
    }

    #[test]
    fn a_request_of_the_cli_becomes_a_spec() {
        let (sandbox, spec) = parsed(json!({
            "Image": "busybox", "Cmd": ["true"], "Entrypoint": null, "Labels": {"a": "b"}, "StopSignal": "SIGINT",
            "HostConfig": {
                "NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}, "PublishAllPorts": true,
                "Memory": 67_108_864, "NanoCpus": 1_500_000_000, "PidsLimit": 50, "CapDrop": ["ALL"], "Tmpfs": {"/t": "size=1m"},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "SecurityOpt": ["no-new-privileges"],
            },
        }));
        assert_eq!(sandbox.ports.len(), 1);
        assert_eq!((sandbox.ports[0].host_port, sandbox.ports[0].container_port), (8080, 80));
        assert_eq!(spec.args, ["true"]);
        assert_eq!(
            (spec.resources.cpu_quota_us, spec.resources.cpu_period_us),
            (Some(150_000), Some(100_000))
        );
        assert_eq!(
            (spec.resources.memory, spec.resources.pids, spec.stop_signal),
            (Some(64 << 20), Some(50), Some(2))
        );
        assert_eq!(spec.restart, RestartPolicy::OnFailure { max_retries: 3 });
        assert!(spec.no_new_privs);
        assert!(matches!(spec.mounts[0].source, MountSource::Tmpfs { size: Some(1_048_576), .. }));
    }
}
