//! Which hierarchies a machine has.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::error::CgroupError;
use crate::file;
use crate::group::Cgroup;

/// Version 1's controllers that every group of ours is made in; the others only when one of their limits is set,
/// because each costs a directory and a migration at every start.
const BASE_V1: [&str; 6] = ["memory", "cpu", "cpuacct", "pids", "devices", "freezer"];

/// Version 2's controllers that are enabled for the children of our groups.
const BASE_V2: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Which interface a machine, or one hierarchy, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Controllers in hierarchies of their own.
    V1,
    /// One unified hierarchy.
    V2,
    /// Controllers in version 1, and a unified hierarchy beside them.
    Hybrid,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// [`Version::V1`] or [`Version::V2`].
    pub version: Version,
    /// Its controllers (version 1: of the mount; version 2: of the root), `name=…` for a named one.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether it has a controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    fn is_base(&self) -> bool {
        self.version == Version::V2 || BASE_V1.iter().any(|name| self.has(name))
    }
}

/// The hierarchies of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupRoot {
    hierarchies: Vec<Hierarchy>,
}

impl CgroupRoot {
    /// Finds what is mounted.
    pub fn detect() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let text = file::read(path)?.unwrap_or_default();
        let hierarchies =
            text.lines().filter_map(parse_mount).fold(Vec::new(), |mut found: Vec<Hierarchy>, next| {
                let is_known = found
                    .iter()
                    .any(|old| old.version == next.version && old.controllers == next.controllers);
                if !is_known {
                    found.push(next);
                }
                found
            });
        Self::new(hierarchies)
    }

    /// The hierarchies given, for tests and unusual mounts.
    pub fn new(hierarchies: Vec<Hierarchy>) -> Result<Self, CgroupError> {
        let mut root = Self { hierarchies };
        if root.hierarchies.is_empty() {
            return Err(CgroupError::NoHierarchy);
        }
        for hierarchy in &mut root.hierarchies {
            if hierarchy.version == Version::V2 {
                let names = file::read(&hierarchy.mount.join("cgroup.controllers"))?.unwrap_or_default();
                hierarchy.controllers = names.split_whitespace().map(str::to_owned).collect();
            }
        }
        Ok(root)
    }

    /// What the machine as a whole has.
    #[must_use]
    pub fn version(&self) -> Version {
        let has_v1 = self.hierarchies.iter().any(|one| one.version == Version::V1);
        let has_v2 = self.hierarchies.iter().any(|one| one.version == Version::V2);
        match (has_v1, has_v2) {
            (true, true) => Version::Hybrid,
            (true, false) => Version::V1,
            _ => Version::V2,
        }
    }

    /// All hierarchies.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The hierarchy that has a controller.
    #[must_use]
    pub fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|one| one.has(controller))
    }

    /// The unified hierarchy, if there is one.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|one| one.version == Version::V2)
    }

    /// Creates the group in every hierarchy (of version 1: the ones with controllers every container needs);
    /// nothing happens where it exists.
    pub fn create(&self, path: &str) -> Result<Cgroup, CgroupError> {
        let path = checked(path)?;
        for hierarchy in self.hierarchies.iter().filter(|one| one.is_base()) {
            make(hierarchy, &path)?;
        }
        Ok(Cgroup::new(self.clone(), path))
    }

    /// Creates the group also in named hierarchies (systemd's), so that no service manager counts its processes
    /// among the caller's.
    pub fn create_everywhere(&self, path: &str) -> Result<Cgroup, CgroupError> {
        let path = checked(path)?;
        for hierarchy in &self.hierarchies {
            make(hierarchy, &path)?;
        }
        Ok(Cgroup::new(self.clone(), path))
    }

    /// The group if it exists in any hierarchy.
    pub fn open(&self, path: &str) -> Result<Cgroup, CgroupError> {
        let path = checked(path)?;
        let group = Cgroup::new(self.clone(), path);
        if group.directories().next().is_none() {
            return Err(CgroupError::NotFound { path: group.path().to_owned() });
        }
        Ok(group)
    }
}

/// The group's directory in one hierarchy, made with its ancestors.
pub(crate) fn make(hierarchy: &Hierarchy, path: &str) -> Result<(), CgroupError> {
    let full = hierarchy.mount.join(&path[1..]);
    let is_cpuset = hierarchy.version == Version::V1 && hierarchy.has("cpuset");
    if full.is_dir() && !(is_cpuset && is_empty_cpuset(&full)?) {
        return Ok(());
    }
    let mut parent = hierarchy.mount.clone();
    for part in path[1..].split('/') {
        if hierarchy.version == Version::V2 {
            enable_controllers(&parent)?;
        }
        let child = parent.join(part);
        match fs::create_dir(&child) {
            Ok(()) if is_cpuset => clone_for_children(&child),
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(file::failed("create cgroup", &child, source)),
        }
        // Also where it existed: who made it may be about to do this, or was killed before.
        if is_cpuset {
            inherit_cpuset(&parent, &child)?;
        }
        parent = child;
    }
    Ok(())
}

/// Version 2 gives children only the controllers their parent enables.
fn enable_controllers(parent: &Path) -> Result<(), CgroupError> {
    let available = file::read(&parent.join("cgroup.controllers"))?.unwrap_or_default();
    let control = parent.join("cgroup.subtree_control");
    let enabled = file::read(&control)?.unwrap_or_default();
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|name| BASE_V2.contains(name) && !enabled.split_whitespace().any(|on| on == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    file::write(&control, &missing.join(" "))
}

/// Enables one controller of version 2 that only some groups need, from the root to the group's parent.
pub(crate) fn enable_for(hierarchy: &Hierarchy, path: &str, controller: &str) -> Result<(), CgroupError> {
    if hierarchy.version != Version::V2 || BASE_V2.contains(&controller) {
        return Ok(());
    }
    let mut parent = hierarchy.mount.clone();
    for part in path[1..].split('/') {
        let control = parent.join("cgroup.subtree_control");
        let enabled = file::read(&control)?.unwrap_or_default();
        if !enabled.split_whitespace().any(|on| on == controller) {
            file::write(&control, &format!("+{controller}"))?;
        }
        parent.push(part);
    }
    Ok(())
}

/// Lets groups below get their CPUs and memory nodes from the kernel as they are made. To write them makes it go through
/// all groups of the machine for each. A kernel that does not know it leaves them empty, to be written.
fn clone_for_children(group: &Path) {
    let _unknown = file::write(&group.join("cgroup.clone_children"), "1");
}

fn is_empty_cpuset(group: &Path) -> Result<bool, CgroupError> {
    let mut is_empty = false;
    for name in ["cpuset.cpus", "cpuset.mems"] {
        is_empty |= file::read(&group.join(name))?.is_none_or(|own| own.is_empty());
    }
    Ok(is_empty)
}

/// A new cpuset group of version 1 is empty and takes no task until it has CPUs and memory nodes.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if let Some(value) = file::read(&parent.join(name))?
            && file::read(&child.join(name))?.is_none_or(|own| own.is_empty())
        {
            file::write(&child.join(name), &value)?;
        }
    }
    Ok(())
}

/// A path inside the hierarchies: absolute, no `..`, not the root itself, written in one way.
fn checked(path: &str) -> Result<String, CgroupError> {
    let bad = || CgroupError::BadPath { path: path.to_owned() };
    let mut clean = String::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir => {}
            Component::Normal(part) => {
                clean.push('/');
                clean.push_str(part.to_str().ok_or_else(bad)?);
            }
            _ => return Err(bad()),
        }
    }
    if clean.is_empty() || !path.starts_with('/') {
        return Err(bad());
    }
    Ok(clean)
}

/// A line of mountinfo, if it is a hierarchy.
fn parse_mount(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mount = PathBuf::from(left.split(' ').nth(4)?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    match kind {
        "cgroup2" => Some(Hierarchy { mount, version: Version::V2, controllers: Vec::new() }),
        "cgroup" => {
            let is_controller =
                |option: &&str| !matches!(*option, "rw" | "ro" | "xattr" | "clone_children" | "noprefix");
            Some(Hierarchy {
                mount,
                version: Version::V1,
                controllers: options
                    .split(',')
                    .filter(is_controller)
                    .filter(|option| !option.starts_with("release_agent="))
                    .map(str::to_owned)
                    .collect(),
            })
        }
        _ => None,
    }
}

/// The directory opened for `CLONE_INTO_CGROUP`.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, CgroupError> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD.as_fd(), path, flags, Mode::empty()).map_err(|errno| file::failed("open", path, errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_become_hierarchies() {
        let line =
            "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let hierarchy = parse_mount(line).unwrap();
        assert_eq!(hierarchy.controllers, ["cpu", "cpuacct"]);
        let line = "40 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw";
        assert_eq!(parse_mount(line).unwrap().version, Version::V2);
        assert_eq!(parse_mount("1 0 0:1 / / rw - ext4 /dev/vda rw"), None);
    }

    #[test]
    fn a_cpuset_that_was_left_empty_is_filled() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy {
            controllers: vec!["cpuset".into()],
            mount: root.path().to_owned(),
            ..parse_mount("31 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset").unwrap()
        };
        let (above, group) = (root.path().join("above"), root.path().join("above/group"));
        fs::create_dir_all(&group).unwrap();
        for (name, value) in [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")] {
            fs::write(root.path().join(name), value).unwrap();
            fs::write(above.join(name), "").unwrap();
            fs::write(group.join(name), "").unwrap();
        }
        make(&hierarchy, "/above/group").unwrap();
        for dir in [above, group] {
            assert_eq!(fs::read_to_string(dir.join("cpuset.cpus")).unwrap().trim(), "0-1");
            assert_eq!(fs::read_to_string(dir.join("cpuset.mems")).unwrap().trim(), "0");
        }
    }

    #[test]
    fn paths_that_leave_the_hierarchy_are_refused() {
        assert_eq!(checked("/a//b/").unwrap(), "/a/b");
        for bad in ["", "/", "a/b", "/a/../b"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}
