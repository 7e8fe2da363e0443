//! Attributes of mounts, by descriptor.
#![expect(unsafe_code, reason = "mount_setattr has no safe form")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// How mounts below spread to and from other mount namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Both ways.
    Shared,
    /// From the original only.
    Slave,
    /// Neither way, and not to be bound.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// The kernel's `struct mount_attr`; `set` and `clear` are `MOUNT_ATTR_*` bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear, before setting.
    pub clear: u64,
    propagation: u64,
    userns: u64,
}

impl MountAttributes {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits mean nothing.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The field of the three atime modes.
    pub const ATIME: u64 = 0x70;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// Access times always.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;

    /// Sets and clears these bits.
    #[must_use]
    pub fn new(set: u64, clear: u64) -> Self {
        Self { set, clear, ..Self::default() }
    }

    /// Sets the propagation too.
    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation.bits();
        self
    }

    /// Read-only and nothing else.
    #[must_use]
    pub fn read_only() -> Self {
        Self::new(Self::RDONLY, 0)
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes the mount a descriptor refers to, with all mounts below it if `recursive`.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: &MountAttributes,
    recursive: bool,
) -> io::Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    change(mount, attributes, recursive)
}

/// Shows the files of a detached mount with the ids that a user namespace gives those on disk (Linux 5.12).
pub fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    const IDMAP: u64 = 0x10_0000;
    let userns = u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    change(mount, &MountAttributes { set: IDMAP, userns, ..MountAttributes::default() }, recursive)
}

/// A detached mount of sysfs, which shows the links of the calling thread's network namespace.
pub fn mount_sysfs() -> io::Result<OwnedFd> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?)
}

fn change(mount: BorrowedFd<'_>, attributes: &MountAttributes, recursive: bool) -> io::Result<()> {
    const AT_RECURSIVE: i32 = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, the structure has the size given and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
