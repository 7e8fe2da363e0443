//! The container's root: built beside the host's, then made `/`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hako_sys::{
    CloneFlags, MountAttributes, Propagation, open_in_root, open_or_create_in_root, set_attributes,
};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};

use super::devices::{self, Source};
use super::error::{InitError, failed};
use super::ground::{self, Ground};
use super::mounts::Taken;
use super::{Terminal, mounts, open_terminal};
use crate::plan::{ContainerPlan, MountPlan, MountPropagation, MountSource, RootPropagation};
use crate::types::Rootfs;

/// The root in its place, and what of the host is to be put into it.
#[derive(Debug)]
pub(super) struct Site {
    pub root: OwnedFd,
    /// For each mount what was taken from the host already.
    pub taken: Vec<Option<Taken>>,
    /// The devices, where they cannot be made here.
    pub devices: Option<Vec<OwnedFd>>,
    /// Where the root goes, unless it has a place in a copy of the host's mounts.
    pub ground: Option<Ground>,
}

impl Site {
    /// `empty` is a mount namespace for the root; with it this process is in one that is not its own.
    pub fn of(plan: &ContainerPlan, empty: Option<OwnedFd>) -> Result<Self, InitError> {
        let Some(empty) = empty else { return Self::of_host(plan) };
        if let Some(site) = ground::take(plan, empty)? {
            return Ok(site);
        }
        hako_sys::unshare(CloneFlags::NEWNS).map_err(failed("cannot make a mount namespace"))?;
        Self::of_host(plan)
    }

    /// For an init that has the host's rights itself.
    fn of_host(plan: &ContainerPlan) -> Result<Self, InitError> {
        let taken = take_shared(plan)?;
        detach_from_host(plan)?;
        let root = mount_root(plan)?;
        Ok(Self { root, taken, devices: None, ground: None })
    }
}

/// Binds whose mounts are meant to reach the host: a copy that is taken after the host was left behind is not its peer
/// any more.
pub(super) fn take_shared(plan: &ContainerPlan) -> Result<Vec<Option<Taken>>, InitError> {
    let is_shared = |mount: &MountPlan| {
        let is_wanted = matches!(mount.propagation, Some((MountPropagation::Shared, _)));
        is_wanted && matches!(mount.source, MountSource::Bind { .. })
    };
    if !plan.mounts.iter().any(is_shared) {
        return Ok(Vec::new());
    }
    let take = |mount: &MountPlan| if is_shared(mount) { mounts::take(mount) } else { Ok(None) };
    crate::host_mounts::inside(|| plan.mounts.iter().map(take).collect())
        .map_err(failed("cannot enter the host's mounts"))?
}

/// Whether the container's /dev is one of the host's, which has its devices.
pub(super) fn has_hosts_devices(plan: &ContainerPlan) -> bool {
    let is_dev = |mount: &MountPlan| {
        mount.target == Path::new("/dev") && matches!(mount.source, MountSource::Bind { .. })
    };
    plan.mounts.iter().any(is_dev)
}

/// Mounts everything into the root; the terminal is opened in its own devpts.
pub(super) fn build(
    plan: &ContainerPlan,
    site: Site,
    hooks: &dyn Fn() -> Result<(), InitError>,
) -> Result<Terminal, InitError> {
    let Site { root, taken, devices, ground } = site;
    let root_fd = root.as_fd();
    if let Some(ground) = &ground {
        ground.enter(root_fd)?;
    }
    let mut taken = taken.into_iter();
    let mut unfinished = Vec::new();
    for mount in &plan.mounts {
        let taken = match taken.next().flatten() {
            Some(taken) => Some(taken),
            None => mounts::take(mount)?,
        };
        unfinished.extend(mounts::mount(root_fd, mount, taken)?);
    }
    if !has_hosts_devices(plan) {
        devices::make(root_fd, &plan.devices, &Source { made: devices, ground: ground.as_ref() })?;
    }
    let terminal = match plan.process.tty {
        true => Some(console(root_fd, plan)?),
        false => None,
    };
    hooks()?;
    unfinished.iter().try_for_each(mounts::Unfinished::finish)?;
    for path in &plan.read_only_paths {
        make_read_only(root_fd, path)?;
    }
    let is_at_home = ground.is_none();
    let null = ground.and_then(|ground| ground.null);
    mask(root_fd, &plan.masked_paths, null)?;
    if plan.read_only_root {
        set_attributes(root_fd, &MountAttributes::read_only(), false)
            .map_err(failed("cannot make the root read-only"))?;
    }
    if is_at_home {
        enter(root_fd, plan)?;
    }
    finish(root_fd, plan)?;
    Ok(terminal)
}

/// Nothing mounted from here on may reach the host.
pub(super) fn detach_from_host(plan: &ContainerPlan) -> Result<(), InitError> {
    let change = match plan.root_propagation {
        RootPropagation::Slave | RootPropagation::Unbindable => MountPropagationFlags::DOWNSTREAM,
        RootPropagation::Private => MountPropagationFlags::PRIVATE,
        // What is shared stays so, for mounts of the container that are meant to reach the host; only the place
        // where the root goes must not pass on the root itself, so it gets a private mount of its own.
        RootPropagation::Shared => {
            let doing = || format!("cannot mount at {}", plan.mountpoint.display());
            rustix::mount::mount_bind(&plan.mountpoint, &plan.mountpoint).map_err(failed(doing()))?;
            return rustix::mount::mount_change(&plan.mountpoint, MountPropagationFlags::PRIVATE)
                .map_err(failed(doing()));
        }
    };
    rustix::mount::mount_change("/", change | MountPropagationFlags::REC)
        .map_err(failed("cannot detach from the host's mounts"))
}

fn mount_root(plan: &ContainerPlan) -> Result<OwnedFd, InitError> {
    let mountpoint = plan.mountpoint.as_path();
    let tree = match &plan.rootfs {
        Rootfs::Bind(path) => clone_tree(path, true)?,
        Rootfs::Overlay { lower, upper, .. } if lower.is_empty() => clone_tree(upper, false)?,
        Rootfs::Overlay { lower, upper, work } => match overlay(lower, upper, work, plan.is_unsynced) {
            Ok(tree) => tree,
            Err(_) => return overlay_by_options(lower, upper, work, mountpoint),
        },
    };
    move_mount(tree.as_fd(), "", CWD.as_fd(), mountpoint, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(failed(format!("cannot mount the root at {}", mountpoint.display())))?;
    Ok(tree)
}

/// A detached copy of the mounts at a path of the host.
pub(super) fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd, InitError> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD.as_fd(), path, flags).map_err(failed(format!("cannot bind {}", path.display())))
}

/// An overlay with one parameter a layer, so that their number and names are not bounded by a page. Its end writes all of
/// the upper file system to disk, whoever changed it, unless it `is_unsynced`.
pub(super) fn overlay(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    is_unsynced: bool,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        fsconfig_set_string(context.as_fd(), "lowerdir+", layer)?;
    }
    fsconfig_set_string(context.as_fd(), "upperdir", upper)?;
    fsconfig_set_string(context.as_fd(), "workdir", work)?;
    if is_unsynced {
        fsconfig_set_flag(context.as_fd(), "volatile")?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The old way, for kernels without `lowerdir+` (before 6.8) and for paths over 255 bytes.
fn overlay_by_options(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    mountpoint: &Path,
) -> Result<OwnedFd, InitError> {
    let escape = |path: &Path| {
        path.display().to_string().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
    };
    let layers: Vec<String> = lower.iter().map(|layer| escape(layer)).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", layers.join(":"), escape(upper), escape(work));
    let options = std::ffi::CString::new(options).map_err(failed("a layer's path has a NUL byte"))?;
    rustix::mount::mount("overlay", mountpoint, "overlay", MountFlags::empty(), options.as_c_str()).map_err(
        failed(format!(
            "cannot mount the overlay of {} layers with upper directory {}",
            lower.len(),
            upper.display()
        )),
    )?;
    rustix::fs::open(mountpoint, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed(format!("cannot open {}", mountpoint.display())))
}

/// Opens the container's terminal and binds it to /dev/console.
fn console(root: BorrowedFd<'_>, plan: &ContainerPlan) -> Result<(OwnedFd, OwnedFd), InitError> {
    let pts = open_in_root(root, Path::new("/dev/pts"), OFlags::PATH)
        .map_err(failed("cannot open /dev/pts in the container; mount devpts there"))?;
    let (master, slave) = open_terminal(&plan.process, pts.as_fd())?;
    let target = open_or_create_in_root(root, Path::new("/dev/console"), false)
        .map_err(failed("cannot create /dev/console"))?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree =
        open_tree(slave.as_fd(), "", flags).map_err(failed("cannot bind the terminal to /dev/console"))?;
    mounts::attach(tree.as_fd(), target.as_fd())
        .map_err(failed("cannot bind the terminal to /dev/console"))?;
    Ok((master, slave))
}

fn make_read_only(root: BorrowedFd<'_>, path: &Path) -> Result<(), InitError> {
    let target = match open_in_root(root, path, OFlags::PATH) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed(format!("cannot open {} in the container", path.display())))?,
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let doing = || format!("cannot make {} read-only", path.display());
    let tree = open_tree(target.as_fd(), "", flags).map_err(failed(doing()))?;
    set_attributes(tree.as_fd(), &MountAttributes::read_only(), true).map_err(failed(doing()))?;
    mounts::attach(tree.as_fd(), target.as_fd()).map_err(failed(doing()))
}

/// Files are hidden by the host's /dev/null, directories by an empty read-only tmpfs. The null device is the host's
/// and checked, for the container's may be anything (CVE-2025-31133).
///
/// `null` is a copy of it, for a process that has left the host's mounts. No mount is made that gets no place: the kernel waits for
/// all processors before it lets go of one.
fn mask(root: BorrowedFd<'_>, paths: &[PathBuf], null: Option<OwnedFd>) -> Result<(), InitError> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut cover_file = match null {
        Some(mount) => Cover { mount, has_place: false },
        None => Cover { mount: null_device()?, has_place: true },
    };
    // One for all directories: each file system more is one that the kernel looks at when it is short of memory.
    let mut cover_directory: Option<Cover> = None;
    for path in paths {
        let target = match open_in_root(root, path, OFlags::PATH) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                continue;
            }
            other => other.map_err(failed(format!("cannot open {} in the container", path.display())))?,
        };
        let doing = || format!("cannot mask {}", path.display());
        let stat = rustix::fs::fstat(&target).map_err(failed(doing()))?;
        let is_directory =
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
        let cover = match (is_directory, &mut cover_directory) {
            (false, _) => &mut cover_file,
            (true, Some(cover)) => cover,
            (true, none) => {
                let mount = empty_directory().map_err(failed(doing()))?;
                none.insert(Cover { mount, has_place: false })
            }
        };
        cover.put(target.as_fd()).map_err(failed(doing()))?;
    }
    Ok(())
}

/// A mount that hides others, however many. Kernels before 6.15 copy it where it has a place.
#[derive(Debug)]
struct Cover {
    mount: OwnedFd,
    has_place: bool,
}

impl Cover {
    fn put(&mut self, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
        if std::mem::replace(&mut self.has_place, true) {
            return mounts::attach(copy_of(self.mount.as_fd())?.as_fd(), target);
        }
        mounts::attach(self.mount.as_fd(), target)
    }
}

pub(super) fn null_device() -> Result<OwnedFd, InitError> {
    let null = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("cannot open /dev/null"))?;
    let stat = rustix::fs::fstat(&null).map_err(failed("cannot read /dev/null"))?;
    if stat.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(InitError::new("the host's /dev/null is not the null device"));
    }
    Ok(null)
}

pub(super) fn copy_of(mount: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(mount, "", flags)
}

fn empty_directory() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "size", "0")?;
    fsconfig_set_string(context.as_fd(), "nr_inodes", "2")?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Makes the built root `/` and lets go of the host's.
fn enter(root: BorrowedFd<'_>, plan: &ContainerPlan) -> Result<(), InitError> {
    rustix::process::fchdir(root).map_err(failed("cannot change to the container's root"))?;
    if plan.no_pivot { move_over() } else { pivot() }
}

fn finish(root: BorrowedFd<'_>, plan: &ContainerPlan) -> Result<(), InitError> {
    rustix::process::chdir("/").map_err(failed("cannot change to the new root"))?;
    let wanted = match plan.root_propagation {
        RootPropagation::Shared => Propagation::Shared,
        RootPropagation::Private => Propagation::Private,
        RootPropagation::Slave => return Ok(()),
        RootPropagation::Unbindable => Propagation::Unbindable,
    };
    let attributes = MountAttributes::default().propagation(wanted);
    set_attributes(root, &attributes, false).map_err(failed("cannot set the root's propagation"))
}

/// The old root stays mounted below, out of reach.
fn move_over() -> Result<(), InitError> {
    rustix::mount::mount_move(".", "/")
        .map_err(failed("cannot move the container's root over the old one"))?;
    rustix::process::chroot(".").map_err(failed("cannot enter the container's root"))
}

fn pivot() -> Result<(), InitError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).map_err(failed("cannot open the host's root"))?;
    // With "." for both, the old root ends up on top of the new one and can be unmounted without a directory for it.
    rustix::process::pivot_root(".", ".").map_err(failed("cannot pivot into the container's root"))?;
    // "." is still the new root, whose shared mounts stay so.
    rustix::process::fchdir(&old).map_err(failed("cannot change to the host's root"))?;
    // Unmounting must not reach the host's own mounts.
    rustix::mount::mount_change(".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(failed("cannot detach the host's root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("cannot unmount the host's root"))
}
