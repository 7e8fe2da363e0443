//! A mount namespace with nothing in it but a read-only root, for containers to be copies of.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use hako_sys::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
};
use rustix::process::{fchdir, pivot_root};

/// Made once, when there are few processes to ask for their roots. `None` where that cannot be done; then each container leaves
/// the host's mounts by itself.
pub(super) fn mounts() -> Option<&'static OwnedFd> {
    static EMPTY: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let made = EMPTY.get_or_init(|| {
        // A thread of its own: it ends in there.
        let thread = std::thread::Builder::new().name("empty-mounts".to_owned()).spawn(make).ok()?;
        match thread.join().ok()? {
            Ok(namespace) => Some(namespace),
            Err(error) => {
                tracing::debug!(%error, "no empty mount namespace");
                None
            }
        }
    });
    made.as_ref()
}

fn make() -> io::Result<OwnedFd> {
    hako_sys::unshare(CloneFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let namespace = File::open("/proc/thread-self/ns/mnt")?;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in [("size", "0"), ("nr_inodes", "1"), ("mode", "555")] {
        fsconfig_set_string(context.as_fd(), name, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    // Any directory will do.
    move_mount(root.as_fd(), "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let old = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fchdir(&root)?;
    // The old root ends up on top of the new one.
    pivot_root(".", ".")?;
    fchdir(&old)?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(namespace.into())
}
