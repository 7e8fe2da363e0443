//! A root in a mount namespace where the host never was.
//!
//! The other way, `pivot_root`, asks every process of the machine for its root, which takes half a millisecond among two
//! thousand. An engine has one mount namespace that is empty; a container's is a copy of it, and its root is put onto the
//! empty one. Whoever has the rights to lay bare what is below finds an empty directory that is read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hako_sys::{CloneFlags, MountAttributes, Propagation, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::thread::move_into_link_name_space;

use super::error::{InitError, failed};
use super::mounts::{self, Taken};
use super::root::{self, Site};
use crate::plan::{ContainerPlan, MountPlan, MountSource, RootPropagation};
use crate::types::Rootfs;

/// The empty namespace, and what is still needed of the host's.
#[derive(Debug)]
pub(super) struct Ground {
    empty: OwnedFd,
    /// The host's `/proc/self/ns`, which goes on to tell of this process.
    namespaces: OwnedFd,
    home: OwnedFd,
    /// The null device, if paths are to be masked.
    pub null: Option<OwnedFd>,
}

/// Takes all that the container gets of the host. `None` if its root cannot be had without a place in the host's mounts.
pub(super) fn take(plan: &ContainerPlan, empty: OwnedFd) -> Result<Option<Site>, InitError> {
    let Rootfs::Overlay { lower, upper, work } = &plan.rootfs else { return Ok(None) };
    let Ok(root) = root::overlay(lower, upper, work, plan.is_unsynced) else { return Ok(None) };
    let mut shared = root::take_shared(plan)?.into_iter();
    let mut taken = Vec::new();
    for mount in &plan.mounts {
        taken.push(match shared.next().flatten() {
            Some(shared) => Some(shared),
            None => take_one(plan, mount)?,
        });
    }
    let open = |from: BorrowedFd<'_>, path: &str, flags| {
        openat(from, path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed(format!("cannot open {path}")))
    };
    let namespaces = open(CWD, "/proc/self/ns", OFlags::PATH | OFlags::DIRECTORY)?;
    let home = open(namespaces.as_fd(), "mnt", OFlags::RDONLY)?;
    let null = match plan.masked_paths.is_empty() {
        true => None,
        false => {
            let null = root::null_device()?;
            Some(root::copy_of(null.as_fd()).map_err(failed("cannot take the null device"))?)
        }
    };
    let ground = Ground { empty, namespaces, home, null };
    Ok(Some(Site { root, taken, devices: None, ground: Some(ground) }))
}

/// What is of the host is taken now, and what it takes paths of the host to mount is mounted.
fn take_one(plan: &ContainerPlan, mount: &MountPlan) -> Result<Option<Taken>, InitError> {
    let taken = match &mount.source {
        MountSource::FileSystem { kind, .. } if !mounts::is_own_kind(kind) => Some(mounts::make(mount)?),
        _ => mounts::take(mount)?,
    };
    if plan.root_propagation == RootPropagation::Private {
        let private = MountAttributes::default().propagation(Propagation::Private);
        let trees: &[OwnedFd] = match &taken {
            Some(Taken::Tree(tree, _)) => std::slice::from_ref(tree),
            Some(Taken::Groups(trees)) => trees,
            None => &[],
        };
        for tree in trees {
            set_attributes(tree.as_fd(), &private, true)
                .map_err(failed(format!("cannot detach {} from the host", mount.target.display())))?;
        }
    }
    Ok(taken)
}

impl Ground {
    /// Leaves the host's mounts for a copy of the empty namespace, with the container's root as its own.
    pub fn enter(&self, root: BorrowedFd<'_>) -> Result<(), InitError> {
        let doing = "cannot make a mount namespace for the container";
        move_into_link_name_space(self.empty.as_fd(), None).map_err(failed(doing))?;
        hako_sys::unshare(CloneFlags::NEWNS).map_err(failed(doing))?;
        move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed("cannot put the container's root into its mount namespace"))?;
        rustix::process::fchdir(root).map_err(failed("cannot change to the container's root"))?;
        rustix::process::chroot(".").map_err(failed("cannot enter the container's root"))
    }

    /// A mount of the host, taken after it was left.
    pub fn take_of_host(&self, path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
        let own = openat(&self.namespaces, "mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        move_into_link_name_space(self.home.as_fd(), None)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, path, flags);
        // That leads to the container's root again.
        move_into_link_name_space(own.as_fd(), None)?;
        tree
    }
}
