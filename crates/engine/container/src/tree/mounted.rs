//! The root of a container at rest, mounted for this thread alone.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::{EngineError, io};
use crate::volume::VolumeSource;
use crate::{Below, Mount, MountSource};
use hako_error::Result;
use hako_sys::{MountAttributes, open_in_root, open_or_create_in_root, set_attributes};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

impl Core {
    /// The overlay and what the container mounts on it. It ends with this thread and its namespace, also by `kill -9`.
    pub(super) fn mounted_root(&self, container: &ContainerObject) -> Result<OwnedFd> {
        // Covered in this namespace only.
        let place = container.dir.join("log");
        let failed = |op| {
            let place = place.clone();
            move |error: rustix::io::Errno| io(op, place)(error.into())
        };
        unshare(CloneFlags::CLONE_NEWNS).map_err(|error| io("leave the mounts of", &place)(error.into()))?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(failed("make private mounts for"))?;
        let snapshots = self.config.images.snapshots();
        let overlay = snapshots.mounted(&self.root_mounts(container)?)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(overlay.as_fd(), "", CWD, &place, flags).map_err(failed("mount over"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &place, flags, Mode::empty()).map_err(failed("open"))?;
        for (source, mount) in self.sources(container)? {
            bind(&root, &source, &mount)?;
        }
        if container.record.spec.read_only_rootfs {
            set_attributes(root.as_fd(), &MountAttributes::read_only(), false)
                .map_err(io("make read-only", &place))?;
        }
        Ok(root)
    }

    /// What is mounted from the host, outer targets first.
    fn sources(&self, container: &ContainerObject) -> Result<Vec<(PathBuf, Mount)>> {
        let mut wanted = Vec::new();
        for mount in &container.record.spec.mounts {
            let source = match &mount.source {
                MountSource::Volume { name, new } => match self.ensure_volume(name, new)?.source() {
                    VolumeSource::Directory(path) => path,
                    // A file system that only the container itself mounts.
                    VolumeSource::Mounted { .. } => continue,
                },
                MountSource::Bind { path, .. } => path.clone(),
                // Files of an image are not the container's.
                MountSource::Tmpfs { .. } | MountSource::Image { .. } => continue,
            };
            wanted.push((source, mount.clone()));
        }
        for (source, target) in container.sandbox.files().mounts() {
            let is_own = wanted.iter().any(|(_, mount)| mount.target == Path::new(target));
            // Written by the first start.
            if !is_own && source.exists() {
                let file = MountSource::Bind {
                    path: source.clone(),
                    propagation: Default::default(),
                    create: false,
                };
                wanted.push((
                    source,
                    Mount {
                        target: target.into(),
                        source: file,
                        read_only: false,
                        below: Below::Hidden,
                        subpath: String::new(),
                    },
                ));
            }
        }
        wanted.sort_by_key(|(_, mount)| mount.target.components().count());
        Ok(wanted)
    }
}

fn bind(root: &OwnedFd, source: &Path, mount: &Mount) -> Result<()> {
    let Ok(mut found) = openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
        return Err(EngineError::NoBindSource { path: source.to_owned() }.into());
    };
    if !mount.subpath.is_empty() {
        // No link in the volume leads out of it.
        found = open_in_root(found.as_fd(), Path::new(&mount.subpath), OFlags::PATH)
            .map_err(io("open a part of", source))?;
    }
    let stat = fstat(&found).map_err(|error| io("stat", source)(error.into()))?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let target =
        open_or_create_in_root(root.as_fd(), &mount.target, is_dir).map_err(io("open", &mount.target))?;
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if mount.below != Below::Hidden {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let clone =
        open_tree(&found, "", flags).map_err(|error| io("clone the mount of", source)(error.into()))?;
    if mount.read_only {
        let is_deep = mount.below == Below::Same;
        set_attributes(clone.as_fd(), &MountAttributes::read_only(), is_deep)
            .map_err(io("make read-only", source))?;
    }
    attach(clone.as_fd(), target.as_fd()).map_err(|error| io("mount on", &mount.target)(error.into()).into())
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}
