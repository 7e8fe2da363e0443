//! Paths inside a root directory somebody else filled.
//!
//! An image's symbolic links must not lead out of its root (CVE-2021-30465, CVE-2025-31133), so every path is
//! resolved by the kernel with `RESOLVE_IN_ROOT` to a descriptor, and only the descriptor is used afterwards.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Links followed by our own walk before it gives up, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Opens a path as seen by somebody whose root is `root`.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let inside = path.strip_prefix("/").unwrap_or(path);
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    Ok(open_resolved(root, inside, flags, ResolveFlags::IN_ROOT)?)
}

/// openat2(2) of what is there, with an answer that does not depend on what else the machine does: the kernel gives up
/// with EAGAIN when any rename came between it and a `..`. The descriptor is closed on exec.
pub fn open_resolved(
    root: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// Opens (`O_PATH`) a path inside `root`; what is missing is created: directories of mode 755, and the last
/// component as a directory or an empty file. Dangling links are followed inside the root.
pub fn open_or_create_in_root(root: BorrowedFd<'_>, path: &Path, is_directory: bool) -> io::Result<OwnedFd> {
    match open_in_root(root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(root, path, is_directory, MAX_LINKS),
        other => other,
    }
}

fn create(root: BorrowedFd<'_>, path: &Path, is_directory: bool, links_left: usize) -> io::Result<OwnedFd> {
    let parts: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            _ => None,
        })
        .collect();
    let mut parent = open_in_root(root, Path::new("/"), OFlags::PATH)?;
    let mut walked = PathBuf::from("/");
    for (index, name) in parts.iter().enumerate() {
        let next = walked.join(name);
        let is_last = index + 1 == parts.len();
        parent = match open_in_root(root, &next, OFlags::PATH) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match create_one(parent.as_fd(), name, is_directory || !is_last) {
                    Ok(()) => open_in_root(root, &next, OFlags::PATH | OFlags::NOFOLLOW)?,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && links_left > 0 => {
                        let target = readlinkat(&parent, *name, Vec::new())?;
                        let target = walked.join(OsStr::from_bytes(target.as_bytes()));
                        create(root, &target, is_directory || !is_last, links_left - 1)?
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        walked = next;
    }
    Ok(parent)
}

fn create_one(parent: BorrowedFd<'_>, name: &OsStr, is_directory: bool) -> io::Result<()> {
    if is_directory {
        mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    }
    Ok(())
}
