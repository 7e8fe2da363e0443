//! Which namespaces are made and which are entered.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hako_error::Result;
use hako_oci::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use hako_sys::CloneFlags;
use serde::{Deserialize, Serialize};

use super::not_supported;
use super::sysctl::Own;

/// The namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamespacePlan {
    /// `CLONE_NEW*` bits for clone3.
    pub clone: u64,
    /// Whether the init makes a cgroup namespace after it joined its groups: what is its root is decided then.
    pub cgroup: bool,
    /// Namespaces the init enters: (bit, path).
    pub join: Vec<(u64, PathBuf)>,
    /// A pid namespace entered before clone3, as it counts for children only.
    pub join_pid: Option<PathBuf>,
}

impl NamespacePlan {
    /// Whether a kind of namespace is new.
    pub fn is_new(&self, kind: CloneFlags) -> bool {
        CloneFlags(self.clone).has(kind)
    }

    /// Whether a kind of namespace is not the caller's, new or entered.
    pub fn is_own(&self, kind: CloneFlags) -> bool {
        self.is_new(kind) || self.join.iter().any(|(bit, _)| *bit == kind.0)
    }
}

impl NamespacePlan {
    /// Which namespaces are not the caller's: one entered by path may still be.
    pub fn own(&self) -> Own {
        let is_own = |kind: CloneFlags, name: &str| {
            let mut entered = self.join.iter().filter(|(bit, _)| *bit == kind.0);
            self.is_new(kind)
                || entered.any(|(_, path)| !is_same(path, &Path::new("/proc/self/ns").join(name)))
        };
        Own {
            net: is_own(CloneFlags::NEWNET, "net"),
            ipc: is_own(CloneFlags::NEWIPC, "ipc"),
            uts: is_own(CloneFlags::NEWUTS, "uts"),
        }
    }
}

/// Whether two files are one; what cannot be looked at is taken for the same.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (std::fs::metadata(one), std::fs::metadata(other)) else { return true };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

pub(super) fn plan(namespaces: &[LinuxNamespace]) -> Result<NamespacePlan> {
    let mut plan = NamespacePlan { clone: CloneFlags::NEWNS.0, ..NamespacePlan::default() };
    for namespace in namespaces {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        match (namespace.typ(), path) {
            (LinuxNamespaceType::User, _) => {
                return Err(not_supported("a user namespace", "remove it from linux.namespaces"));
            }
            (LinuxNamespaceType::Time, _) => {
                return Err(not_supported("a time namespace", "remove it from linux.namespaces"));
            }
            (LinuxNamespaceType::Mount, Some(_)) => {
                return Err(not_supported(
                    "joining a mount namespace",
                    "remove the path of the mount namespace",
                ));
            }
            (LinuxNamespaceType::Mount, None) => {}
            (LinuxNamespaceType::Cgroup, None) => plan.cgroup = true,
            (LinuxNamespaceType::Pid, Some(path)) => plan.join_pid = Some(path.clone()),
            (kind, None) => plan.clone |= kind as u64,
            (kind, Some(path)) => plan.join.push((kind as u64, path.clone())),
        }
    }
    Ok(plan)
}

/// Network, ipc and uts namespaces without a path are the sandbox's, which the shim is in already.
pub(crate) fn strip_sandbox_namespaces(spec: &mut Spec) {
    let Some(namespaces) = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut()) else {
        return;
    };
    namespaces.retain(|one| {
        let is_shared = matches!(
            one.typ(),
            LinuxNamespaceType::Network | LinuxNamespaceType::Ipc | LinuxNamespaceType::Uts
        );
        !is_shared || one.path().is_some()
    });
}
