//! A merged view without a place in the file system.
//!
//! The mount is never attached to a path: it lives as long as its file descriptor, so neither a forgotten
//! unmount nor `kill -9` can leave it behind.

use crate::{Mounts, SnapshotError};
use hako_error::Result;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A snapshot's merged tree, reachable through a file descriptor only.
#[derive(Debug)]
pub struct MountedTree {
    root: OwnedFd,
    /// The work directory, where nobody waits for the disk.
    work: Option<PathBuf>,
}

impl MountedTree {
    /// Mounts `mounts`; `scratch` is an existing directory that serves as mount point on kernels before 6.5,
    /// inside a mount namespace that ends before this returns.
    pub fn mount(mounts: &Mounts, scratch: &Path) -> Result<Self> {
        Self::mount_as(mounts, scratch, false)
    }

    /// The same without waiting for the disk at its end: overlayfs would write all of the upper file system there,
    /// whoever changed it.
    pub fn mount_unsynced(mounts: &Mounts, scratch: &Path) -> Result<Self> {
        let mut tree = Self::mount_as(mounts, scratch, mounts.upper.is_some())?;
        tree.work.clone_from(&mounts.work);
        Ok(tree)
    }

    fn mount_as(mounts: &Mounts, scratch: &Path, is_unsynced: bool) -> Result<Self> {
        match mount_by_fd(mounts, is_unsynced) {
            Ok(root) => Ok(Self { root, work: None }),
            Err(error) if error == rustix::io::Errno::NODEV => Err(SnapshotError::NoOverlay.into()),
            Err(error) => {
                tracing::debug!(%error, "overlayfs takes no lowerdir+, using a mount namespace");
                Ok(Self { root: mount_by_namespace(mounts, scratch)?, work: None })
            }
        }
    }

    /// A path to the root that is valid in this process while the tree is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/.", self.root.as_raw_fd()).into()
    }
}

impl Drop for MountedTree {
    fn drop(&mut self) {
        if let Some(work) = &self.work {
            // The kernel's mark that what was written may not be on disk, by which it refuses to mount these directories
            // again. Here nothing outlives a crash that was not committed.
            let _ = std::fs::remove_dir_all(work.join("work/incompat"));
        }
    }
}

impl AsFd for MountedTree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Linux 6.5: one `lowerdir+` a layer, no limit of one page for them all.
fn mount_by_fd(mounts: &Mounts, is_unsynced: bool) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    for lower in &mounts.lower {
        fsconfig_set_string(context.as_fd(), "lowerdir+", lower.as_path())?;
    }
    if let (Some(upper), Some(work)) = (&mounts.upper, &mounts.work) {
        fsconfig_set_string(context.as_fd(), "upperdir", upper.as_path())?;
        fsconfig_set_string(context.as_fd(), "workdir", work.as_path())?;
    }
    if is_unsynced {
        fsconfig_set_flag(context.as_fd(), "volatile")?;
    }
    // A diff has to see whole files and whole directories.
    fsconfig_set_string(context.as_fd(), "redirect_dir", "nofollow")?;
    fsconfig_set_string(context.as_fd(), "metacopy", "off")?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Older kernels: mounts in a namespace of its own and takes a detached copy of the mount out of it.
fn mount_by_namespace(mounts: &Mounts, scratch: &Path) -> Result<OwnedFd, SnapshotError> {
    let failed = |source: io::Error| SnapshotError::Io {
        action: "mount overlayfs over",
        path: mounts.upper.clone().unwrap_or_else(|| scratch.into()),
        source,
    };
    let options = options(mounts);
    let run = || -> io::Result<OwnedFd> {
        nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        nix::mount::mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
        nix::mount::mount(
            Some("overlay"),
            scratch,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )?;
        Ok(open_tree(CWD, scratch, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    match result {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed(io::Error::other("the mounting thread panicked"))),
    }
}

/// The option string of mount(2); colons, commas and backslashes in paths are escaped.
fn options(mounts: &Mounts) -> String {
    let escape = |path: &PathBuf| {
        let mut text = String::new();
        for c in path.to_string_lossy().chars() {
            if matches!(c, ':' | ',' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text
    };
    let lower: Vec<String> = mounts.lower.iter().map(escape).collect();
    let mut options = format!("redirect_dir=nofollow,metacopy=off,lowerdir={}", lower.join(":"));
    if let (Some(upper), Some(work)) = (&mounts.upper, &mounts.work) {
        options += &format!(",upperdir={},workdir={}", escape(upper), escape(work));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layers(dir: &Path) -> Mounts {
        for name in ["low", "up", "work", "mnt"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        fs::write(dir.join("low/a"), "a").unwrap();
        Mounts { lower: vec![dir.join("low")], upper: Some(dir.join("up")), work: Some(dir.join("work")) }
    }

    fn check(tree: &MountedTree, dir: &Path) {
        let root = tree.path();
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "a");
        fs::write(root.join("b"), "b").unwrap();
        fs::remove_file(root.join("a")).unwrap();
        assert_eq!(fs::read_to_string(dir.join("up/b")).unwrap(), "b");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains(&*dir.to_string_lossy()), "{table}");
    }

    #[test]
    fn a_detached_mount_shows_the_merged_tree_and_no_path_of_the_host_does() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = layers(dir.path());
        check(&MountedTree::mount(&mounts, &dir.path().join("mnt")).unwrap(), dir.path());
        assert_eq!(fs::read_to_string(dir.path().join("low/a")).unwrap(), "a");
    }

    #[test]
    fn an_unsynced_mount_is_made_again_in_the_same_directories() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = layers(dir.path());
        let tree = MountedTree::mount_unsynced(&mounts, &dir.path().join("mnt")).unwrap();
        check(&tree, dir.path());
        let mark = dir.path().join("work/work/incompat/volatile");
        assert!(mark.is_dir(), "the kernel does not wait for the disk");
        drop(tree);
        let again = MountedTree::mount(&mounts, &dir.path().join("mnt")).unwrap();
        assert_eq!(fs::read_to_string(again.path().join("b")).unwrap(), "b");
        // A view has nothing to write.
        let view =
            Mounts { lower: vec![dir.path().join("up"), dir.path().join("low")], upper: None, work: None };
        MountedTree::mount_unsynced(&view, &dir.path().join("mnt")).unwrap();
    }

    #[test]
    fn the_way_of_older_kernels_gives_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = layers(dir.path());
        let root = mount_by_namespace(&mounts, &dir.path().join("mnt")).unwrap();
        check(&MountedTree { root, work: None }, dir.path());
    }
}
