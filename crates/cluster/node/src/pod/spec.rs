//! A pod in the engine's words: sandbox and containers.

use super::labels;
use super::status::qos_class;
use crate::config::ClusterDns;
use crate::env::{Environment, expand};
use crate::seams::LocalImage;
use crate::volume::{VolumeError, Volumes};
use hako_container::{
    ContainerSpec, Dns, HostEntry, ImageSource, Mount, MountSource, NetworkMode, PortMapping, Propagation,
    Protocol, Resources, SandboxSpec, Seccomp,
};
use hako_error::{Classify, Kind};
use hako_names::{ImageRef, Quantity};
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, SecurityContext,
};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

const PERIOD_US: i64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

/// Why a container's specification cannot be made: `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It would run as root.
    #[error("container has runAsNonRoot and {0}")]
    Root(String),
    /// A feature this node does not have.
    #[error("{0} is not supported by this node")]
    Unsupported(String),
    /// A volume cannot be mounted.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl Classify for ConfigError {
    fn kind(&self) -> Kind {
        match self {
            Self::Root(_) => Kind::FailedPrecondition,
            Self::Unsupported(_) => Kind::Unimplemented,
            Self::Volume(error) => Classify::kind(error),
        }
    }
}

/// What of a pod this node cannot do; such a pod does not start.
pub(crate) fn refusals(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return vec!["a pod without spec".into()];
    };
    let is_other_os = spec.os.as_ref().is_some_and(|os| os.name != "linux");
    let fields = [
        (spec.host_users == Some(false), "hostUsers: false"),
        (spec.runtime_class_name.is_some(), "runtimeClassName"),
        (spec.resource_claims.iter().flatten().next().is_some(), "resourceClaims"),
        (is_other_os, "an operating system other than linux"),
    ];
    let mut out: Vec<String> =
        fields.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned()).collect();
    for container in containers(spec) {
        let devices = container.volume_devices.iter().flatten().next().is_some();
        let rules = container.restart_policy_rules.iter().flatten().next().is_some();
        for (is_set, name) in [(devices, "volumeDevices"), (rules, "restartPolicyRules")] {
            if is_set {
                out.push(format!("{name} of container {}", container.name));
            }
        }
    }
    out
}

/// What of a pod this node does not enforce; such a pod starts, and its events say so.
pub(crate) fn notices(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut out = Vec::new();
    let shares_processes = spec.share_process_namespace == Some(true) || spec.host_pid == Some(true);
    for container in spec.ephemeral_containers.iter().flatten() {
        if let Some(target) = container.target_container_name.as_ref().filter(|_| !shares_processes) {
            let name = &container.name;
            out.push(format!("ephemeral container {name} does not see the processes of container {target}"));
        }
    }
    for container in containers(spec) {
        let limits = container.resources.iter().flat_map(|r| r.limits.iter().flatten());
        for name in limits.map(|(name, _)| name).filter(|name| !matches!(name.as_str(), "cpu" | "memory")) {
            out.push(format!("limit of {name} of container {} is not enforced by this node", container.name));
        }
    }
    out
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// The sandbox of `pod`.
pub(crate) fn sandbox(pod: &Pod, dns: &ClusterDns, volumes: &Volumes) -> SandboxSpec {
    let spec = pod.spec.clone().unwrap_or_default();
    let is_host = spec.host_network == Some(true);
    let security = spec.security_context.as_ref();
    let sysctls = security.iter().flat_map(|context| context.sysctls.iter().flatten());
    let aliases = spec.host_aliases.iter().flatten();
    SandboxSpec {
        name: super::machine::identity(pod),
        hostname: hostname(pod, &spec, dns),
        domain: domain(pod, &spec, dns).unwrap_or_default(),
        network: if is_host { NetworkMode::Host } else { NetworkMode::Bridge },
        dns: dns_of(pod, &spec, dns),
        ports: if is_host { Vec::new() } else { host_ports(&spec) },
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        resources: resources(spec.resources.as_ref(), false),
        memory_volumes: volumes.memory.clone(),
        hosts: aliases
            .filter_map(|alias| {
                let names = alias.hostnames.clone().unwrap_or_default();
                let ip: IpAddr = alias.ip.parse().ok()?;
                Some(HostEntry { ip, names })
            })
            .collect(),
        hosts_title: hosts_title(is_host).to_owned(),
        host_ipc: spec.host_ipc == Some(true),
        host_pid: spec.host_pid == Some(true),
        shared_pid: spec.share_process_namespace == Some(true),
        labels: labels::of_sandbox(pod),
        ..SandboxSpec::default()
    }
}

/// Programs tell by this line, as upstream writes it, whether /etc/hosts is theirs.
const fn hosts_title(is_host: bool) -> &'static str {
    if is_host { "Kubernetes-managed hosts file (host network)." } else { "Kubernetes-managed hosts file." }
}

fn hostname(pod: &Pod, spec: &PodSpec, dns: &ClusterDns) -> String {
    if let Some(name) = &spec.hostname_override {
        return name.clone();
    }
    let name = spec.hostname.as_ref().or(pod.metadata.name.as_ref()).cloned().unwrap_or_default();
    let short: String = name.chars().take(63).collect();
    let short = short.trim_end_matches(['-', '.']).to_owned();
    match domain(pod, spec, dns) {
        Some(domain) if spec.set_hostname_as_fqdn == Some(true) => format!("{short}.{domain}"),
        _ => short,
    }
}

/// The domain of a pod with a subdomain.
fn domain(pod: &Pod, spec: &PodSpec, dns: &ClusterDns) -> Option<String> {
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    if spec.hostname_override.is_some() {
        return None;
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!("{subdomain}.{namespace}.svc.{}", dns.domain))
}

fn dns_of(pod: &Pod, spec: &PodSpec, cluster: &ClusterDns) -> Dns {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let is_cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => spec.host_network != Some(true),
        _ => false,
    };
    let mut dns = match policy {
        "None" => Dns::default(),
        _ if is_cluster && !cluster.servers.is_empty() => cluster_dns(pod, cluster),
        _ if spec.dns_config.is_some() => host_dns(&cluster.host_resolv_conf),
        // All empty: the engine uses the host's file as it is.
        _ => Dns::default(),
    };
    if let Some(config) = &spec.dns_config {
        let servers = config.nameservers.iter().flatten();
        extend_new(&mut dns.servers, servers.filter_map(|server| server.parse().ok()));
        extend_new(&mut dns.search, config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            dns.options.retain(|known| known.split(':').next() != Some(name));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    dns
}

fn extend_new<T: PartialEq>(to: &mut Vec<T>, from: impl Iterator<Item = T>) {
    for item in from {
        if !to.contains(&item) {
            to.push(item);
        }
    }
}

fn cluster_dns(pod: &Pod, cluster: &ClusterDns) -> Dns {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let domain = &cluster.domain;
    let mut search = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    extend_new(&mut search, host_dns(&cluster.host_resolv_conf).search.into_iter());
    Dns { servers: cluster.servers.clone(), search, options: vec!["ndots:5".to_owned()] }
}

/// The host's resolv.conf(5); one that cannot be read says nothing.
fn host_dns(path: &Path) -> Dns {
    let mut dns = Dns::default();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                dns.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
            }
            Some("search") => dns.search = words.map(str::to_owned).collect(),
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    dns
}

fn host_ports(spec: &PodSpec) -> Vec<PortMapping> {
    let ports = containers(spec).flat_map(|container| container.ports.iter().flatten());
    let mapping = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        Some(PortMapping {
            host_ip: port
                .host_ip
                .as_deref()
                .and_then(|ip| ip.parse().ok())
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            host_port: u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?,
            host_port_last: 0,
            container_port: u16::try_from(port.container_port).ok()?,
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
        })
    };
    ports.filter_map(mapping).collect()
}

/// What a container's specification is made of.
pub(crate) struct Parts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) image_name: ImageRef,
    pub(crate) image: &'a LocalImage,
    pub(crate) environment: &'a Environment,
    pub(crate) volumes: &'a Volumes,
    /// Where its last words go, a file that exists.
    pub(crate) termination_message: Option<PathBuf>,
    pub(crate) attempt: u32,
    pub(crate) restarts: u32,
    pub(crate) memory_capacity: i64,
}

/// One run of a container.
pub(crate) fn container(parts: &Parts<'_>) -> Result<ContainerSpec, ConfigError> {
    let container = parts.container;
    let spec = parts.pod.spec.clone().unwrap_or_default();
    let pod_security = spec.security_context.clone().unwrap_or_default();
    let security = container.security_context.clone().unwrap_or_default();
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        let words = words.iter().flatten();
        words.map(|word| expand(word, |name| parts.environment.get(name))).collect()
    };
    check_security(&pod_security, &security)?;
    let is_privileged = security.privileged == Some(true);
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let is_unmasked = security.proc_mount.as_deref() == Some("Unmasked");
    Ok(ContainerSpec {
        name: container.name.clone(),
        image: ImageSource::Name(parts.image_name.clone()),
        command: expanded(&container.command),
        args: expanded(&container.args),
        env: parts.environment.lines(),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        user: user(&pod_security, &security, parts.image)?,
        additional_gids: groups(&pod_security),
        run_as_non_root: non_root(&pod_security, &security),
        mounts: mounts(parts)?,
        resources: resources(container.resources.as_ref(), true),
        cap_add: capabilities.add.unwrap_or_default(),
        cap_drop: capabilities.drop.unwrap_or_default(),
        privileged: is_privileged,
        no_new_privs: security.allow_privilege_escalation == Some(false) && !is_privileged,
        read_only_rootfs: security.read_only_root_filesystem == Some(true),
        seccomp: seccomp(&pod_security, &security)?,
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        stop_signal: stop_signal(container)?,
        oom_score_adj: oom_score(parts),
        masked_paths: is_unmasked.then(Vec::new),
        readonly_paths: is_unmasked.then(Vec::new),
        labels: labels::of_container(parts.pod, &container.name, parts.attempt, parts.restarts),
        ..ContainerSpec::default()
    })
}

fn check_security(pod: &PodSecurityContext, own: &SecurityContext) -> Result<(), ConfigError> {
    let profile = own.app_armor_profile.as_ref().or(pod.app_armor_profile.as_ref());
    if profile.is_some_and(|profile| profile.type_ == "Localhost") {
        return Err(ConfigError::Unsupported("appArmorProfile of type Localhost".into()));
    }
    if own.windows_options.is_some() || pod.windows_options.is_some() {
        return Err(ConfigError::Unsupported("windowsOptions".into()));
    }
    Ok(())
}

fn non_root(pod: &PodSecurityContext, own: &SecurityContext) -> bool {
    own.run_as_non_root.or(pod.run_as_non_root) == Some(true)
}

/// `user[:group]`; empty leaves it to the image.
fn user(pod: &PodSecurityContext, own: &SecurityContext, image: &LocalImage) -> Result<String, ConfigError> {
    let user = own.run_as_user.or(pod.run_as_user);
    let group = own.run_as_group.or(pod.run_as_group);
    if non_root(pod, own) {
        verify_not_root(user, image)?;
    }
    let name = match (user, group) {
        (None, None) => return Ok(String::new()),
        (Some(user), _) => user.to_string(),
        (None, Some(_)) => {
            let name = image.user.split(':').next().unwrap_or("");
            if name.is_empty() { "0".to_owned() } else { name.to_owned() }
        }
    };
    Ok(match group {
        Some(group) => format!("{name}:{group}"),
        None => name,
    })
}

fn verify_not_root(user: Option<i64>, image: &LocalImage) -> Result<(), ConfigError> {
    let of_image = image.user.split(':').next().unwrap_or("");
    match (user, of_image) {
        (Some(0), _) => Err(ConfigError::Root("its runAsUser is 0".into())),
        (Some(_), _) => Ok(()),
        (None, "" | "0" | "root") => Err(ConfigError::Root("image will run as root, set runAsUser".into())),
        (None, name) if name.parse::<u32>().is_err() => Err(ConfigError::Root(format!(
            "image has non-numeric user ({name}), cannot verify user is non-root, set runAsUser"
        ))),
        (None, _) => Ok(()),
    }
}

fn groups(pod: &PodSecurityContext) -> Vec<u32> {
    let groups = pod.supplemental_groups.iter().flatten().copied().chain(pod.fs_group);
    groups.filter_map(|group| u32::try_from(group).ok()).collect()
}

/// Without a profile the default filter applies, as a kubelet with `seccompDefault` does it.
fn seccomp(pod: &PodSecurityContext, own: &SecurityContext) -> Result<Seccomp, ConfigError> {
    let profile: Option<&SeccompProfile> = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    match profile.map(|profile| profile.type_.as_str()) {
        None | Some("RuntimeDefault") => Ok(Seccomp::Default),
        Some("Unconfined") => Ok(Seccomp::Unconfined),
        Some(other) => Err(ConfigError::Unsupported(format!("seccompProfile of type {other}"))),
    }
}

fn mounts(parts: &Parts<'_>) -> Result<Vec<Mount>, ConfigError> {
    let wanted = parts.container.volume_mounts.as_deref().unwrap_or(&[]);
    let expand_path = |path: &str| expand(path, |name| parts.environment.get(name));
    let mut mounts = parts.volumes.mounts(wanted, expand_path)?;
    if let Some(path) = &parts.termination_message {
        let target = parts.container.termination_message_path.as_deref();
        mounts.push(Mount {
            target: PathBuf::from(target.unwrap_or("/dev/termination-log")),
            source: MountSource::Bind {
                path: path.clone(),
                propagation: Propagation::Private,
                create: false,
            },
            read_only: false,
            below: Default::default(),
            subpath: String::new(),
        });
    }
    Ok(mounts)
}

fn amount(
    list: Option<
        &std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >,
    name: &str,
) -> Option<Quantity> {
    list?.get(name)?.0.parse().ok()
}

/// Requests become shares, limits become quota and bound; a request that is not set is the limit.
pub(crate) fn resources(wanted: Option<&ResourceRequirements>, has_shares: bool) -> Resources {
    let limits = wanted.and_then(|wanted| wanted.limits.as_ref());
    let requests = wanted.and_then(|wanted| wanted.requests.as_ref());
    let memory = amount(limits, "memory").and_then(|memory| u64::try_from(memory.units()).ok());
    let cpu = amount(limits, "cpu").map(|cpu| cpu.millis()).filter(|millis| *millis > 0);
    let asked = amount(requests, "cpu").map(|cpu| cpu.millis()).or(cpu).unwrap_or(0);
    let shares = (asked * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES);
    Resources {
        memory: memory.filter(|memory| *memory > 0),
        memory_swap: memory.filter(|memory| *memory > 0).and_then(|memory| i64::try_from(memory).ok()),
        cpu_quota_us: cpu.map(|millis| (millis * PERIOD_US / 1000).max(1000)),
        cpu_period_us: cpu.map(|_| PERIOD_US as u64),
        cpu_shares: has_shares.then_some(shares as u64),
        ..Resources::default()
    }
}

/// Who asked for least is killed first. Guaranteed pods keep the host's score: lowering it needs more than root here.
fn oom_score(parts: &Parts<'_>) -> Option<i32> {
    match qos_class(parts.pod) {
        "Guaranteed" => None,
        "BestEffort" => Some(1000),
        _ => {
            let requests = parts.container.resources.as_ref().and_then(|r| r.requests.as_ref());
            let asked = amount(requests, "memory").map_or(0, |memory| memory.units());
            let share = asked.saturating_mul(1000) / parts.memory_capacity.max(1);
            i32::try_from((1000 - share).clamp(3, 999)).ok()
        }
    }
}

fn stop_signal(container: &Container) -> Result<Option<i32>, ConfigError> {
    let name = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    let Some(name) = name else { return Ok(None) };
    match signal_number(name) {
        Some(number) => Ok(Some(number)),
        None => Err(ConfigError::Unsupported(format!("stop signal {name}"))),
    }
}

fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    const RTMIN: i32 = 34;
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset: i32 = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
        return Some(RTMIN + offset);
    }
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
