//! Baseline: no known ways out of a container.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Check, Subject, Violation, containers, plural, quoted, security, setters, violation};
use super::policy::Version;
use super::{items, text};

/// In the order of their names.
pub(super) const CHECKS: &[Check] = &[
    Check::baseline(app_armor),
    Check::baseline(capabilities).replaced(22),
    Check::baseline(host_namespaces),
    Check::baseline(host_path).replaced(0),
    Check::baseline(host_ports),
    Check::baseline(probe_hosts).since(34),
    Check::baseline(privileged),
    Check::baseline(proc_mount),
    Check::baseline(selinux),
    Check::baseline(seccomp).replaced(19),
    Check::baseline(sysctls),
    Check::baseline(host_process),
];

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Whether an annotation says under which profile a container runs.
pub(super) fn is_profile_annotation(key: &str) -> bool {
    key.starts_with(APP_ARMOR) || key.starts_with(SECCOMP) || key == SECCOMP_POD
}

fn annotations<'a>(pod: &Subject<'a>) -> impl Iterator<Item = (&'a String, &'a str)> {
    let all = pod.object.pointer("/metadata/annotations").and_then(Value::as_object);
    all.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn app_armor(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    let is_fine =
        |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let bad = annotations(pod).filter(|(key, value)| key.starts_with(APP_ARMOR) && !is_fine(value));
    let mut bad: Vec<String> = bad.map(|(key, value)| format!("{key}={value:?}")).collect();
    bad.sort();
    let (types, by) = profiles(pod, "/appArmorProfile/type");
    if let Some(by) = by {
        bad.push(format!("{by} must not set AppArmor profile type to {}", quoted(&types)));
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", bad.len());
    if bad.is_empty() { None } else { violation(reason, bad.join(", ")) }
}

/// Types of profiles that are no confinement, and who set them.
fn profiles(pod: &Subject<'_>, pointer: &str) -> (BTreeSet<String>, Option<String>) {
    let bad = |value: Option<&Value>| {
        let kind = value.and_then(Value::as_str).unwrap_or("");
        (!matches!(kind, "" | "RuntimeDefault" | "Localhost")).then(|| kind.to_owned())
    };
    let of_pod = bad(pod.security(pointer));
    let named = pod.which(|it| bad(security(it, pointer)).is_some());
    let by = setters(of_pod.is_some(), &named);
    let of_containers = pod.containers.iter().filter_map(|it| bad(security(it, pointer)));
    (of_containers.chain(of_pod).collect(), by)
}

const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    let (by, added) = added(pod, DEFAULT_CAPABILITIES);
    if added.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers(&by),
        quoted(&added)
    );
    violation("non-default capabilities", detail)
}

/// Who adds capabilities besides those that are fine, and which.
pub(super) fn added(pod: &Subject<'_>, fine: &[&str]) -> (Vec<String>, BTreeSet<String>) {
    let bad = |container: &Value| -> Vec<String> {
        let list = security(container, "/capabilities/add").and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        names.filter(|name| !fine.contains(name)).map(str::to_owned).collect()
    };
    let by = pod.which(|it| !bad(it).is_empty());
    (by, pod.containers.iter().flat_map(|it| bad(it)).collect())
}

fn host_namespaces(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    let is_set = |name: &&str| pod.object["spec"][*name] == true;
    let set = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|name| is_set(name));
    let set: Vec<String> = set.map(|name| format!("{name}=true")).collect();
    if set.is_empty() { None } else { violation("host namespaces", set.join(", ")) }
}

fn host_path(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    let volumes = items(pod.object, "/spec/volumes").iter();
    let named = volumes.filter(|it| it.get("hostPath").is_some_and(|source| !source.is_null()));
    let named: Vec<String> = named.map(|it| text(it, "/name").to_owned()).collect();
    if named.is_empty() {
        return None;
    }
    let volumes = plural("volume", "volumes", named.len());
    violation("hostPath volumes", format!("{volumes} {}", quoted(&named)))
}

fn host_ports(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    let ports = |container: &Value| -> Vec<i64> {
        let ports = items(container, "/ports").iter().filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).collect()
    };
    let by = pod.which(|it| !ports(it).is_empty());
    let all: BTreeSet<String> =
        pod.containers.iter().flat_map(|it| ports(it)).map(|it| it.to_string()).collect();
    if all.is_empty() {
        return None;
    }
    let (uses, what) = (plural("uses", "use", by.len()), plural("hostPort", "hostPorts", all.len()));
    let all = all.into_iter().collect::<Vec<_>>().join(", ");
    violation("hostPort", format!("{} {uses} {what} {all}", containers(&by)))
}

fn probe_hosts(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    const HANDLERS: &[&str] =
        &["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let hosts = |container: &Value| -> Vec<String> {
        let places = HANDLERS.iter().flat_map(|handler| {
            ["httpGet", "tcpSocket"].map(|how| text(container, &format!("{handler}/{how}/host")).to_owned())
        });
        places.filter(|host| !host.is_empty()).collect()
    };
    let mut by = pod.which(|it| !hosts(it).is_empty());
    by.sort();
    let all: BTreeSet<String> = pod.containers.iter().flat_map(|it| hosts(it)).collect();
    if all.is_empty() {
        return None;
    }
    let what = plural("probe or lifecycle host", "probe or lifecycle hosts", all.len());
    let uses = plural("uses", "use", by.len());
    violation("probe or lifecycle host", format!("{} {uses} {what} {}", containers(&by), quoted(&all)))
}

fn privileged(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    let by = pod.which(|it| security(it, "/privileged") == Some(&Value::Bool(true)));
    if by.is_empty() {
        return None;
    }
    violation("privileged", format!("{} must not set securityContext.privileged=true", containers(&by)))
}

fn proc_mount(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    if pod.has_own_users(version) {
        return None;
    }
    let kind = |container: &Value| text(container, "/securityContext/procMount").to_owned();
    let is_bad = |kind: &str| !matches!(kind, "" | "Default");
    let by = pod.which(|it| is_bad(&kind(it)));
    let kinds: BTreeSet<String> = pod.containers.iter().map(|it| kind(it)).filter(|it| is_bad(it)).collect();
    if kinds.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&by), quoted(&kinds));
    violation("procMount", detail)
}

fn selinux(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    let mut allowed = vec!["", "container_t", "container_init_t", "container_kvm_t"];
    if version >= Version::Minor(31) {
        allowed.push("container_engine_t");
    }
    let of_pod = pod.security("/seLinuxOptions");
    let given = |options: Option<&Value>, name: &str| {
        options.and_then(|options| options.get(name)?.as_str()).unwrap_or("").to_owned()
    };
    let is_bad = |options: Option<&Value>| {
        let (user, role) = (given(options, "user"), given(options, "role"));
        !allowed.contains(&given(options, "type").as_str()) || !user.is_empty() || !role.is_empty()
    };
    let named = pod.which(|it| is_bad(security(it, "/seLinuxOptions")));
    let by = setters(is_bad(of_pod), &named)?;
    let options = pod.containers.iter().map(|it| security(it, "/seLinuxOptions")).chain([of_pod]);
    let options: Vec<_> = options.collect();
    let types: BTreeSet<String> = options.iter().map(|it| given(*it, "type")).collect();
    let types: Vec<String> = types.into_iter().filter(|it| !allowed.contains(&it.as_str())).collect();
    let mut bad = Vec::new();
    if !types.is_empty() {
        bad.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for name in ["user", "role"] {
        if options.iter().any(|it| !given(*it, name).is_empty()) {
            bad.push(format!("{name} may not be set"));
        }
    }
    let detail = format!("{by} set forbidden securityContext.seLinuxOptions: {}", bad.join("; "));
    violation("seLinuxOptions", detail)
}

fn seccomp(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    if version < Version::Minor(19) {
        return seccomp_annotations(pod);
    }
    seccomp_types(pod)
}

fn seccomp_annotations(pod: &Subject<'_>) -> Option<Violation> {
    let is_fine = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let names = pod.which(|_| true);
    let is_of = |key: &str| key.strip_prefix(SECCOMP).is_some_and(|name| names.iter().any(|it| it == name));
    let bad = annotations(pod).filter(|(key, value)| (*key == SECCOMP_POD || is_of(key)) && !is_fine(value));
    let bad: BTreeSet<String> = bad.map(|(key, value)| format!("{key}={value:?}")).collect();
    if bad.is_empty() {
        return None;
    }
    let what = plural("annotation", "annotations", bad.len());
    violation(
        "seccompProfile",
        format!("forbidden {what} {}", bad.into_iter().collect::<Vec<_>>().join(", ")),
    )
}

/// What is set to no confinement at all.
pub(super) fn seccomp_types(pod: &Subject<'_>) -> Option<Violation> {
    let (types, by) = profiles(pod, "/seccompProfile/type");
    let detail = format!("{} must not set securityContext.seccompProfile.type to {}", by?, quoted(&types));
    violation("seccompProfile", detail)
}

/// Safe ones, and since when they are known to be.
const SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    let is_safe =
        |name: &str| SYSCTLS.iter().any(|(safe, since)| *safe == name && version >= Version::Minor(*since));
    let all = items(pod.object, "/spec/securityContext/sysctls").iter().map(|it| text(it, "/name"));
    let bad: Vec<&str> = all.filter(|name| !is_safe(name)).collect();
    if bad.is_empty() { None } else { violation("forbidden sysctls", bad.join(", ")) }
}

fn host_process(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    const POINTER: &str = "/windowsOptions/hostProcess";
    let is_set = |value: Option<&Value>| value == Some(&Value::Bool(true));
    let by = setters(is_set(pod.security(POINTER)), &pod.which(|it| is_set(security(it, POINTER))))?;
    violation("hostProcess", format!("{by} must not set securityContext.windowsOptions.hostProcess=true"))
}
