//! Docker's defaults as an OCI runtime spec.

use hako_oci::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxIdMappingBuilder,
    LinuxNamespace, LinuxNamespaceType, LinuxResources, LinuxSeccomp, Mount, Process, Root, Spec, User,
};

use crate::seccomp::default_profile;

/// Docker's default capabilities.
pub const DEFAULT_CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Paths that a container sees nothing of, unless it is asked for otherwise.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    // What power is drawn tells what is reckoned with (CVE-2020-8694).
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that a container may not write.
pub const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A spec with Docker's defaults: 14 capabilities, the default seccomp profile, masked and read-only paths, the
/// usual mounts, all namespaces new. The caller sets args, env, cwd and user, and adds mounts and limits.
#[must_use]
pub fn default_spec() -> Spec {
    let mut process = Process::default();
    process
        .set_args(Some(vec!["/bin/sh".to_owned()]))
        .set_env(Some(vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()]))
        .set_cwd("/".into())
        .set_user(User::default())
        .set_rlimits(None)
        .set_no_new_privileges(Some(false))
        .set_terminal(Some(false));
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_process(Some(process))
        .set_root(Some(root()))
        .set_hostname(None)
        .set_mounts(Some(default_mounts()))
        .set_linux(Some(linux()));
    set_capabilities(&mut spec, DEFAULT_CAPABILITIES.into_iter().collect());
    spec
}

/// Gives the process these capabilities (bounding, effective and permitted, as Docker does) and, if the spec has a
/// profile, the default seccomp profile that goes with them.
fn set_capabilities(spec: &mut Spec, capabilities: Capabilities) {
    let bits = crate::plan::capability_bits(&capabilities);
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(capabilities.clone()))
        .set_effective(Some(capabilities.clone()))
        .set_permitted(Some(capabilities))
        .set_inheritable(None)
        .set_ambient(None);
    if let Some(process) = spec.process_mut() {
        process.set_capabilities(Some(sets));
    }
    if let Some(linux) = spec.linux_mut().as_mut().filter(|linux| linux.seccomp().is_some()) {
        linux.set_seccomp(Some(default_profile(bits)));
    }
}

/// Docker's default seccomp profile for a process that has these capabilities.
#[must_use]
pub fn seccomp_for(capabilities: &Capabilities) -> LinuxSeccomp {
    default_profile(crate::plan::capability_bits(capabilities))
}

/// What somebody who is not root can run, as runc writes it: the user is root of a user namespace, in the network of the
/// host, with the host's /sys, without groups and ids of others.
pub(crate) fn make_rootless(spec: &mut Spec, (uid, gid): (u32, u32)) {
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if mount.destination() == std::path::Path::new("/sys") {
            *mount = mount_of("/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro");
        }
        let is_own = |option: &String| !option.starts_with("uid=") && !option.starts_with("gid=");
        if let Some(options) = mount.options_mut() {
            options.retain(is_own);
        }
    }
    let only = |host: u32| {
        let mapping = LinuxIdMappingBuilder::default().container_id(0u32).host_id(host).size(1u32);
        mapping.build().ok().map(|mapping| vec![mapping])
    };
    let Some(linux) = spec.linux_mut() else { return };
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    // What of the groups a process sees is the host's, as none is made for it.
    namespaces.retain(|one| !matches!(one.typ(), LinuxNamespaceType::Network | LinuxNamespaceType::Cgroup));
    namespaces.push(namespace(LinuxNamespaceType::User));
    linux
        .set_namespaces(Some(namespaces))
        .set_uid_mappings(only(uid))
        .set_gid_mappings(only(gid))
        .set_resources(None)
        .set_cgroups_path(None);
}

fn namespace(kind: LinuxNamespaceType) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(None);
    namespace
}

fn root() -> Root {
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(false));
    root
}

fn linux() -> Linux {
    let kinds = [
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
    ];
    let namespaces = kinds.into_iter().map(namespace);
    let mut deny = LinuxDeviceCgroup::default();
    deny.set_allow(false).set_access(Some("rwm".to_owned()));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(vec![deny]));
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces.collect()))
        .set_resources(Some(resources))
        .set_masked_paths(Some(MASKED_PATHS.map(str::to_owned).to_vec()))
        .set_readonly_paths(Some(READ_ONLY_PATHS.map(str::to_owned).to_vec()))
        .set_seccomp(Some(default_profile(0)));
    linux
}

/// /proc, /dev and what is below it, /sys and the groups, as Docker mounts them.
#[must_use]
pub fn default_mounts() -> Vec<Mount> {
    [
        ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
        ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ]
    .map(|(destination, kind, source, options)| mount_of(destination, kind, source, options))
    .to_vec()
}

fn mount_of(destination: &str, kind: &str, source: &str, options: &str) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.split(',').map(str::to_owned).collect()));
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_spec_has_dockers_capabilities_and_a_profile() {
        let spec = default_spec();
        let sets = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
        let bits = crate::plan::capability_bits(sets.bounding().as_ref().unwrap());
        assert_eq!(format!("{bits:x}"), "a80425fb");
        assert!(spec.linux().as_ref().unwrap().seccomp().is_some());
    }
}
