//! Which namespaces are made and which are entered.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hako_error::Result;
use hako_oci::runtime::{LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, LinuxTimeOffset, Spec};
use hako_sys::CloneFlags;
use serde::{Deserialize, Serialize};

use super::sysctl::Own;
use super::{PlanError, not_supported};
use crate::types::{IdMap, IdRange};

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
    /// The user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserPlan>,
    /// A new time namespace, with its clocks' offsets: name, seconds, nanoseconds. The init makes and enters it, as the
    /// offsets are set before anybody is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Vec<(String, i64, u32)>>,
}

/// A container's user namespace, where it has one of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UserPlan {
    /// A new one.
    New(IdMap),
    /// The one at a path.
    Join(PathBuf),
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
    /// Takes the offsets of the clocks that a new time namespace has.
    pub fn set_time_offsets(&mut self, offsets: HashMap<String, LinuxTimeOffset>) -> Result<()> {
        let bad = |value: String, expected| PlanError::Bad { field: "linux.timeOffsets", value, expected };
        if offsets.is_empty() {
            return Ok(());
        }
        let Some(time) = &mut self.time else {
            return Err(
                bad(String::new(), "they take a new namespace of type time in linux.namespaces").into()
            );
        };
        for (clock, offset) in offsets {
            if !["monotonic", "boottime"].contains(&clock.as_str()) {
                return Err(bad(clock, "use monotonic or boottime").into());
            }
            time.push((clock, offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0)));
        }
        Ok(())
    }

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

/// Ids as the OCI has them.
pub(super) fn id_map(uids: Option<&[LinuxIdMapping]>, gids: Option<&[LinuxIdMapping]>) -> Option<IdMap> {
    let ranges = |all: Option<&[LinuxIdMapping]>| -> Vec<IdRange> {
        let range = |one: &LinuxIdMapping| IdRange {
            inside: one.container_id(),
            outside: one.host_id(),
            count: one.size(),
        };
        all.unwrap_or_default().iter().map(range).collect()
    };
    let map = IdMap { uids: ranges(uids), gids: ranges(gids) };
    (map != IdMap::default()).then_some(map)
}

/// What is wrong with mappings is said as far as the kernel would not say it.
fn user_plan(map: Option<IdMap>, path: Option<&PathBuf>) -> Result<UserPlan> {
    let bad = |expected| PlanError::Bad { field: "linux.uidMappings", value: String::new(), expected };
    match (path, map) {
        (Some(path), _) => Ok(UserPlan::Join(path.clone())),
        (None, None) => Err(bad("a new user namespace takes uidMappings and gidMappings").into()),
        (None, Some(map)) => {
            let has_root = |ranges: &[IdRange]| ranges.iter().any(|one| one.inside == 0 && one.count > 0);
            match has_root(&map.uids) && has_root(&map.gids) {
                true => Ok(UserPlan::New(map)),
                false => Err(bad("map user and group 0 of the container").into()),
            }
        }
    }
}

pub(super) fn plan(namespaces: &[LinuxNamespace], map: Option<IdMap>) -> Result<NamespacePlan> {
    let has_user = namespaces.iter().any(|one| one.typ() == LinuxNamespaceType::User);
    if map.is_some() && !has_user {
        return Err(PlanError::Bad {
            field: "linux.uidMappings",
            value: String::new(),
            expected: "they take a namespace of type user in linux.namespaces",
        }
        .into());
    }
    let mut plan = NamespacePlan { clone: CloneFlags::NEWNS.0, ..NamespacePlan::default() };
    for namespace in namespaces {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        match (namespace.typ(), path) {
            (LinuxNamespaceType::User, path) => plan.user = Some(user_plan(map.clone(), path)?),
            (LinuxNamespaceType::Time, None) => plan.time = Some(Vec::new()),
            (LinuxNamespaceType::Time, Some(path)) => plan.join.push((CloneFlags::NEWTIME.0, path.clone())),
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
