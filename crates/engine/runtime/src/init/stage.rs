//! What takes the host's rights, before a user namespace is entered.
//!
//! A process of its own does it and then starts the init in the user namespace, as a copy of itself that has everything
//! taken here: the root, what is bound, devices. Its mount namespace ends with it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hako_sys::CloneFlags;
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::error::{InitError, failed};
use super::mounts::{self, Taken, attach};
use super::root::{self, Site};
use super::{devices, join};
use crate::plan::{ContainerPlan, MountPlan, MountSource, ProcessPlan};
use crate::types::Rootfs;
use crate::user::{self, UserNamespace};

/// What an init in a user namespace is given.
#[derive(Debug)]
pub(super) struct Staged(Site);

/// Takes everything, and enters the user namespace.
pub(super) fn stage(plan: &ContainerPlan, user: &UserNamespace) -> Result<Staged, InitError> {
    join(plan)?;
    give_process(&plan.process, user.root)?;
    hako_sys::unshare(CloneFlags::NEWNS).map_err(failed("cannot make a mount namespace"))?;
    root::detach_from_host(plan)?;
    let root = root_tree(&plan.rootfs, &plan.mountpoint, user)?;
    let take = |mount: &MountPlan| take(mount, &plan.mountpoint, user);
    let taken = plan.mounts.iter().map(take).collect::<Result<_, _>>()?;
    let devices = match root::has_hosts_devices(plan) {
        true => None,
        false => Some(devices::stage(&plan.mountpoint, &plan.devices, user.root)?),
    };
    user::enter(user.fd.as_fd()).map_err(failed("cannot enter the user namespace"))?;
    Ok(Staged(Site { root, taken, devices, ground: None }))
}

/// Limits that only the host's root may raise, and the streams for the container's root to hand on.
pub(super) fn give_process(process: &ProcessPlan, root: (u32, u32)) -> Result<(), InitError> {
    for (resource, soft, hard) in &process.rlimits {
        hako_sys::set_rlimit(*resource, *soft, *hard)
            .map_err(failed(format!("cannot set resource limit {resource} to {soft}:{hard}")))?;
    }
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::fstat(stream).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket)
        });
        if is_pipe {
            let (uid, gid) = (Uid::from_raw(root.0), Gid::from_raw(root.1));
            // Pipes of others may refuse; then only opening them anew fails.
            let _refused = rustix::fs::fchown(stream, Some(uid), Some(gid));
        }
    }
    Ok(())
}

impl Staged {
    /// Becomes the user namespace's root, in mount and other namespaces that belong to it, and puts the root in its
    /// place, which was found while files of the host's root could still be reached.
    pub fn enter(self, plan: &ContainerPlan) -> Result<Site, InitError> {
        let doing = || format!("cannot mount the root at {}", plan.mountpoint.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(&plan.mountpoint, flags, Mode::empty()).map_err(failed(doing()))?;
        hako_sys::become_root().map_err(failed("cannot become user 0 of the user namespace"))?;
        attach(self.0.root.as_fd(), place.as_fd()).map_err(failed(doing()))?;
        Ok(self.0)
    }
}

/// Binds are the host's, and so is what only the host may mount.
fn take(mount: &MountPlan, site: &Path, user: &UserNamespace) -> Result<Option<Taken>, InitError> {
    match &mount.source {
        MountSource::FileSystem { kind, parameters, .. } if kind == "overlay" => {
            let is_layer = |(key, _): &&(String, Option<String>)| key == "lowerdir+";
            let layers: Vec<PathBuf> = parameters
                .iter()
                .filter(is_layer)
                .filter_map(|(_, value)| Some(value.as_ref()?.into()))
                .collect();
            let mapped = MappedLayers::mount(site, &layers, None, user)?;
            let mut shown = mount.clone();
            if let MountSource::FileSystem { parameters, .. } = &mut shown.source {
                parameters.retain(|(key, _)| key != "lowerdir+");
                let layer = |path: &PathBuf| ("lowerdir+".to_owned(), Some(path.display().to_string()));
                parameters.extend(mapped.lower.iter().map(layer));
            }
            mapped.as_root(user, || mounts::make(&shown)).map(Some)
        }
        MountSource::FileSystem { kind, .. } if !mounts::is_own_kind(kind) => mounts::make(mount).map(Some),
        _ => mounts::take(mount),
    }
}

/// The root. An overlay shows the files of its layers, which belong to the host's users from 0 on, as those of the
/// container's, and writes them as the layers have them: layers are shared with containers of other ids.
fn root_tree(rootfs: &Rootfs, site: &Path, user: &UserNamespace) -> Result<OwnedFd, InitError> {
    match rootfs {
        Rootfs::Bind(path) => root::clone_tree(path, true),
        Rootfs::Overlay { lower, upper, .. } if lower.is_empty() => mapped_clone(upper, user),
        Rootfs::Overlay { lower, upper, work } => {
            let mapped = MappedLayers::mount(site, lower, Some((upper, work)), user)?;
            let (upper, work) = (&mapped.upper, &mapped.work);
            mapped.as_root(user, || {
                root::overlay(&mapped.lower, upper, work, false)
                    .map_err(failed("cannot mount the layers with other ids; this takes Linux 6.8"))
            })
        }
    }
}

fn mapped_clone(path: &Path, user: &UserNamespace) -> Result<OwnedFd, InitError> {
    let tree = root::clone_tree(path, false)?;
    hako_sys::map_ids(tree.as_fd(), user.fd.as_fd(), false).map_err(failed(format!(
        "cannot show {} with other ids; its file system and the kernel (Linux 5.12) have to have mapped mounts",
        path.display()
    )))?;
    Ok(tree)
}

/// A tmpfs for mounts to be put into for a while, at a directory where nobody else sees it.
#[derive(Debug)]
pub(super) struct Scratch {
    site: PathBuf,
    pub directory: OwnedFd,
}

impl Scratch {
    pub fn mount(site: &Path) -> Result<Self, InitError> {
        let mount = || -> rustix::io::Result<OwnedFd> {
            let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(context.as_fd(), "mode", "711")?;
            fsconfig_create(context.as_fd())?;
            let tree = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
            move_mount(tree.as_fd(), "", CWD, site, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(tree)
        };
        let directory = mount().map_err(failed(format!("cannot mount a tmpfs at {}", site.display())))?;
        Ok(Self { site: site.to_owned(), directory })
    }

    /// Puts a mount into a directory of it.
    fn put(&self, name: &str, tree: &OwnedFd) -> Result<PathBuf, InitError> {
        let doing = || "cannot put a layer into its place".to_owned();
        rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o755)).map_err(failed(doing()))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(tree.as_fd(), "", self.directory.as_fd(), name, flags).map_err(failed(doing()))?;
        Ok(self.site.join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it goes with the mount namespace.
        let _left = rustix::mount::unmount(&self.site, UnmountFlags::DETACH);
    }
}

/// An overlay's layers with other ids.
#[derive(Debug)]
struct MappedLayers {
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    _scratch: Scratch,
}

impl MappedLayers {
    /// `writable` are upper and work, which have to be below the same mount and are in one directory.
    fn mount(
        site: &Path,
        lower: &[PathBuf],
        writable: Option<(&Path, &Path)>,
        user: &UserNamespace,
    ) -> Result<Self, InitError> {
        let scratch = Scratch::mount(site)?;
        let (mut upper, mut work) = (PathBuf::new(), PathBuf::new());
        if let Some((own, beside)) = writable {
            let (Some(parent), Some(name), Some(other)) = (own.parent(), own.file_name(), beside.file_name())
            else {
                return Err(InitError::new(format!("{} is no writable layer", own.display())));
            };
            if beside.parent() != Some(parent) {
                let text = format!("{} is not beside {}", beside.display(), own.display());
                return Err(InitError::new(text));
            }
            let place = scratch.put("rw", &mapped_clone(parent, user)?)?;
            (upper, work) = (place.join(name), place.join(other));
        }
        let put =
            |(index, layer): (usize, &PathBuf)| scratch.put(&index.to_string(), &mapped_clone(layer, user)?);
        let lower = lower.iter().enumerate().map(put).collect::<Result<_, _>>()?;
        Ok(Self { lower, upper, work, _scratch: scratch })
    }

    /// The overlay does what it does to its layers as whoever mounts it, and user 0 of the host has no place in them.
    fn as_root<T>(
        &self,
        user: &UserNamespace,
        mount: impl FnOnce() -> Result<T, InitError>,
    ) -> Result<T, InitError> {
        let become_other = |(uid, gid)| {
            hako_sys::set_fs_ids(uid, gid).map_err(failed("cannot make files for the container"))
        };
        become_other(user.root)?;
        let result = mount();
        become_other((0, 0))?;
        result
    }
}
