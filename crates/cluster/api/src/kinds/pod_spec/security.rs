//! Security contexts, of a pod and of each of its containers.

use super::super::place::{Faults, Place};
use super::{profiles, windows};
use hako_kube::field;
use std::collections::HashSet;

const ID: &str = "must be between 0 and 2147483647, inclusive";
const SYSCTL_MAX: usize = 253;
const SYSCTL: &str = "must have at most 253 characters and match regex \
     ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// All faults of a pod's own context; `spec` is the pod's.
pub(super) fn pod(spec: &Place<'_>, faults: &mut Faults) {
    let context = spec.at(&["securityContext"]);
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context.at(&[name]), faults);
    }
    context.at(&["supplementalGroups"]).items().for_each(|group| id(&group, faults));
    let share = spec.at(&["shareProcessNamespace"]);
    if share.is_true() && spec.at(&["hostPID"]).is_true() {
        let path = field::child(&context.path(), "shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        faults.push(field::invalid(path, true, detail));
    }
    sysctls(spec, &context.at(&["sysctls"]), faults);
    context.at(&["fsGroupChangePolicy"]).one_of_given(&["Always", "OnRootMismatch"], faults);
    profiles::seccomp(&context.at(&["seccompProfile"]), faults);
    windows::options(&context.at(&["windowsOptions"]), faults);
    profiles::app_armor(&context.at(&["appArmorProfile"]), faults);
    context.at(&["supplementalGroupsPolicy"]).one_of_given(&["Merge", "Strict"], faults);
    context.at(&["seLinuxChangePolicy"]).one_of_given(&["MountOption", "Recursive"], faults);
}

/// All faults of a container's context.
pub(super) fn container(container: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    let context = container.at(&["securityContext"]);
    if !context.is_set() {
        return;
    }
    for name in ["runAsUser", "runAsGroup"] {
        id(&context.at(&[name]), faults);
    }
    let mount = context.at(&["procMount"]);
    mount.one_of_given(&["Default", "Unmasked"], faults);
    if mount.text() == "Unmasked" && super::has_host_users(spec) {
        faults.push(mount.invalid("`hostUsers` must be false to use `Unmasked`"));
    }
    profiles::seccomp(&context.at(&["seccompProfile"]), faults);
    escalation(&context, faults);
    windows::options(&context.at(&["windowsOptions"]), faults);
    profiles::app_armor(&context.at(&["appArmorProfile"]), faults);
}

/// Who may do everything may also become more.
fn escalation(context: &Place<'_>, faults: &mut Faults) {
    let escalation = context.at(&["allowPrivilegeEscalation"]);
    if !escalation.is_set() || escalation.is_true() {
        return;
    }
    if context.at(&["privileged"]).is_true() {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        faults.push(context.invalid(detail));
    }
    if context.at(&["capabilities", "add"]).texts().contains(&"CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        faults.push(context.invalid(detail));
    }
}

/// The number of a user or group.
pub(in super::super) fn id(id: &Place<'_>, faults: &mut Faults) {
    if id.is_set() && !(0..=i64::from(i32::MAX)).contains(&id.number()) {
        faults.push(id.invalid(ID));
    }
}

fn sysctls(spec: &Place<'_>, sysctls: &Place<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for sysctl in sysctls.items() {
        let name = sysctl.at(&["name"]);
        let is_first = seen.insert(name.text());
        if name.is_empty() {
            faults.push(name.required(""));
        } else if !is_sysctl(name.text()) {
            faults.push(name.invalid(SYSCTL));
        } else if !is_first {
            faults.push(name.duplicate());
        }
        for (namespace, host) in [("net", "hostNetwork"), ("ipc", "hostIPC")] {
            if sysctl_namespace(name.text()) == Some(namespace) && spec.at(&[host]).is_true() {
                faults.push(name.invalid(&format!("may not be specified when '{host}' is true")));
            }
        }
    }
}

/// Parts of small letters, digits and signs between dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let is_edge =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_part = |part: &str| {
        let is_inner = |byte: u8| is_edge(Some(byte)) || matches!(byte, b'-' | b'_');
        is_edge(part.bytes().next()) && is_edge(part.bytes().last()) && part.bytes().all(is_inner)
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(is_part)
}

/// The namespace that a sysctl is about, if it is about one.
fn sysctl_namespace(name: &str) -> Option<&'static str> {
    let name = name.replace('/', ".");
    match name.as_str() {
        "kernel.sem" => Some("ipc"),
        name if ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|it| name.starts_with(it)) => {
            Some("ipc")
        }
        name if name.starts_with("net.") => Some("net"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_have_parts_and_a_namespace() {
        for sound in ["kernel.shm_rmid_forced", "net/ipv4/conf/eth0.1/rp_filter", "a"] {
            assert!(is_sysctl(sound), "{sound}");
        }
        for faulty in ["", "Kernel.x", "kernel..x", "kernel.", "net.-a"] {
            assert!(!is_sysctl(faulty), "{faulty}");
        }
        assert_eq!(sysctl_namespace("net/core/somaxconn"), Some("net"));
        assert_eq!(sysctl_namespace("fs.mqueue.msg_max"), Some("ipc"));
        assert_eq!(sysctl_namespace("vm.swappiness"), None);
    }
}
