//! What the kernel must have.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use hako_error::{Classify, Kind};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::caps::{capability_bit, own_set};
use crate::mount::{MountAttributes, set_attributes};

/// A feature of the kernel that containers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Effective user id 0 with CAP_SYS_ADMIN.
    Root,
    /// A namespace kind, by its name under /proc/self/ns.
    Namespace(&'static str),
    /// The overlay file system.
    Overlay,
    /// fsopen, fsmount, move_mount and mount_setattr (Linux 5.12).
    MountApi,
    /// Seccomp filters.
    Seccomp,
    /// Any cgroup hierarchy.
    Cgroup,
    /// nftables.
    Nftables,
}

impl Feature {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root rights (CAP_SYS_ADMIN)",
            Self::Namespace(name) => match name {
                "net" => "network namespaces",
                "pid" => "pid namespaces",
                "ipc" => "ipc namespaces",
                "uts" => "uts namespaces",
                "cgroup" => "cgroup namespaces",
                _ => "mount namespaces",
            },
            Self::Overlay => "the overlay file system",
            Self::MountApi => "the mount API of Linux 5.12",
            Self::Seccomp => "seccomp filters",
            Self::Cgroup => "control groups",
            Self::Nftables => "nftables",
        }
    }

    /// How to get it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Root => "run as root, for example with sudo",
            Self::Namespace("net") => "use a kernel built with CONFIG_NET_NS",
            Self::Namespace("pid") => "use a kernel built with CONFIG_PID_NS",
            Self::Namespace("ipc") => "use a kernel built with CONFIG_IPC_NS",
            Self::Namespace("uts") => "use a kernel built with CONFIG_UTS_NS",
            Self::Namespace(_) => "use a kernel built with CONFIG_NAMESPACES and CONFIG_CGROUPS",
            Self::Overlay => "load it with 'modprobe overlay', or use a kernel built with CONFIG_OVERLAY_FS",
            Self::MountApi => "use Linux 5.12 or newer",
            Self::Seccomp => "use a kernel built with CONFIG_SECCOMP_FILTER",
            Self::Cgroup => "mount it with 'mount -t cgroup2 none /sys/fs/cgroup'",
            Self::Nftables => {
                "load it with 'modprobe nf_tables', or use a kernel built with CONFIG_NF_TABLES"
            }
        }
    }
}

/// Features the kernel lacks.
#[derive(Debug, thiserror::Error)]
#[error("this machine lacks {}", .missing.iter().map(|one| format!("{} ({})", one.name(), one.remedy())).collect::<Vec<_>>().join("; "))]
pub struct FeatureError {
    /// All that are missing.
    pub missing: Vec<Feature>,
}

impl Classify for FeatureError {
    fn kind(&self) -> Kind {
        if self.missing.contains(&Feature::Root) { Kind::Forbidden } else { Kind::Unimplemented }
    }
}

/// The check made once when the platform starts.
#[derive(Clone, Copy, Debug)]
pub struct Features;

impl Features {
    /// Checks everything; all that is missing is named at once. Not being root is named alone, as it hides the rest.
    pub fn check() -> Result<(), FeatureError> {
        if !has_sys_admin() {
            return Err(FeatureError { missing: vec![Feature::Root] });
        }
        let namespaces = ["mnt", "net", "pid", "ipc", "uts", "cgroup"];
        let missing: Vec<Feature> = namespaces
            .into_iter()
            .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
            .map(Feature::Namespace)
            .chain((!has_file_system("overlay")).then_some(Feature::Overlay))
            .chain(mount_api().is_err().then_some(Feature::MountApi))
            .chain(
                (!Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()).then_some(Feature::Seccomp),
            )
            .chain((!has_cgroup()).then_some(Feature::Cgroup))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(FeatureError { missing }) }
    }
}

fn has_sys_admin() -> bool {
    let effective = own_set("CapEff:").unwrap_or(0);
    capability_bit("SYS_ADMIN").is_some_and(|bit| effective & bit != 0)
}

/// Opening a file system loads its module, so this asks for it rather than reading a list first.
fn has_file_system(name: &str) -> bool {
    fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

fn mount_api() -> io::Result<()> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    set_attributes(mount.as_fd(), &MountAttributes::read_only(), false)
}

fn has_cgroup() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.contains(" - cgroup ") || line.contains(" - cgroup2 "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_is_named_with_its_remedy() {
        let error = FeatureError { missing: vec![Feature::Overlay] };
        assert_eq!(error.kind(), Kind::Unimplemented);
        assert!(error.to_string().contains("modprobe overlay"));
    }

    #[test]
    fn this_machine_can_run_containers() {
        Features::check().unwrap();
    }
}
