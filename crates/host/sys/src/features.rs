//! What the kernel must have.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use hako_error::{Classify, Kind};
use hako_netlink::nft::Part;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::caps::{capability_bit, own_set};
use crate::mount::{MountAttributes, set_attributes};
use crate::process::{CloneFlags, unshare};

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
    /// A part of nftables.
    Nftables(Part),
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
            Self::Nftables(part) => match part {
                Part::Core => "nftables",
                Part::Inet => "nftables for both address families",
                Part::Connections => "the list of tracked connections",
                Part::Ct => "nftables' matching on connections",
                Part::Nat => "nftables' address translation",
                Part::Masquerade => "nftables' masquerading",
                Part::Redirect => "nftables' redirection",
                Part::Fib => "nftables' routing lookups",
                Part::Numgen => "nftables' random numbers",
                Part::Reject => "nftables' rejection",
            },
        }
    }

    /// How to get it.
    #[must_use]
    pub fn remedy(self) -> Cow<'static, str> {
        match self {
            Self::Root => "run as root, for example with sudo".into(),
            Self::Namespace("net") => {
                "use a kernel built with CONFIG_NET_NS, and a limit user.max_net_namespaces above 0".into()
            }
            Self::Namespace("pid") => "use a kernel built with CONFIG_PID_NS".into(),
            Self::Namespace("ipc") => "use a kernel built with CONFIG_IPC_NS".into(),
            Self::Namespace("uts") => "use a kernel built with CONFIG_UTS_NS".into(),
            Self::Namespace(_) => "use a kernel built with CONFIG_NAMESPACES and CONFIG_CGROUPS".into(),
            Self::Overlay => load("overlay", "CONFIG_OVERLAY_FS").into(),
            Self::MountApi => "use Linux 5.12 or newer".into(),
            Self::Seccomp => "use a kernel built with CONFIG_SECCOMP_FILTER".into(),
            Self::Cgroup => "mount it with 'mount -t cgroup2 none /sys/fs/cgroup'".into(),
            Self::Nftables(part) => load(part.module(), part.option()).into(),
        }
    }
}

fn load(module: &str, option: &str) -> String {
    format!("load it with 'modprobe {module}', or use a kernel built with {option}")
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
        check(&ThisKernel)
    }
}

/// What is asked about a kernel.
trait Kernel {
    /// Whether it has a feature other than nftables.
    fn has(&self, feature: Feature) -> bool;
    /// The parts of nftables that it lacks; `None` when no network namespace could be made to try them in.
    fn missing_nftables(&self) -> Option<Vec<Part>>;
}

fn check(kernel: &impl Kernel) -> Result<(), FeatureError> {
    if !kernel.has(Feature::Root) {
        return Err(FeatureError { missing: vec![Feature::Root] });
    }
    let others = [Feature::Overlay, Feature::MountApi, Feature::Seccomp, Feature::Cgroup];
    let namespaces = NAMESPACES.map(Feature::Namespace);
    let mut missing: Vec<Feature> =
        namespaces.into_iter().chain(others).filter(|feature| !kernel.has(*feature)).collect();
    match kernel.missing_nftables() {
        Some(parts) => missing.extend(parts.into_iter().map(Feature::Nftables)),
        None if missing.contains(&Feature::Namespace("net")) => {}
        None => missing.push(Feature::Namespace("net")),
    }
    if missing.is_empty() { Ok(()) } else { Err(FeatureError { missing }) }
}

const NAMESPACES: [&str; 6] = ["mnt", "net", "pid", "ipc", "uts", "cgroup"];

struct ThisKernel;

impl Kernel for ThisKernel {
    fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Root => has_sys_admin(),
            Feature::Namespace(name) => Path::new("/proc/self/ns").join(name).exists(),
            Feature::Overlay => has_file_system("overlay"),
            Feature::MountApi => mount_api().is_ok(),
            Feature::Seccomp => Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            Feature::Cgroup => has_cgroup(),
            Feature::Nftables(part) => {
                self.missing_nftables().is_some_and(|missing| !missing.contains(&part))
            }
        }
    }

    /// On a thread of its own, whose namespace goes with it.
    fn missing_nftables(&self) -> Option<Vec<Part>> {
        let probe = || unshare(CloneFlags::NEWNET).is_ok().then(Part::missing);
        std::thread::spawn(probe).join().ok().flatten()
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

    struct FakeKernel {
        lacks: Vec<Feature>,
    }

    impl Kernel for FakeKernel {
        fn has(&self, feature: Feature) -> bool {
            !self.lacks.contains(&feature)
        }

        fn missing_nftables(&self) -> Option<Vec<Part>> {
            let lacks = |part: &Part| self.lacks.contains(&Feature::Nftables(*part));
            self.has(Feature::Namespace("net")).then(|| Part::ALL.into_iter().filter(lacks).collect())
        }
    }

    fn missing(lacks: &[Feature]) -> Vec<Feature> {
        check(&FakeKernel { lacks: lacks.to_vec() }).err().map(|error| error.missing).unwrap_or_default()
    }

    #[test]
    fn all_that_a_kernel_lacks_is_named_at_once_but_missing_rights_alone() {
        let nftables = Feature::Nftables(Part::Core);
        assert_eq!(missing(&[]), []);
        assert_eq!(missing(&[nftables]), [nftables]);
        assert_eq!(missing(&[nftables, Feature::Overlay]), [Feature::Overlay, nftables]);
        assert_eq!(missing(&[nftables, Feature::Root]), [Feature::Root]);
        assert_eq!(missing(&[Feature::Namespace("net")]), [Feature::Namespace("net")]);
    }

    #[test]
    fn a_kernel_without_nftables_is_told_the_module_and_the_option() {
        let says = |part| FeatureError { missing: vec![Feature::Nftables(part)] }.to_string();
        assert_eq!(
            says(Part::Core),
            "this machine lacks nftables (load it with 'modprobe nf_tables', or use a kernel built with \
             CONFIG_NF_TABLES)"
        );
        assert!(says(Part::Masquerade).contains("'modprobe nft_masq'"), "{}", says(Part::Masquerade));
    }

    #[test]
    fn this_machine_can_run_containers() {
        Features::check().unwrap();
    }
}
