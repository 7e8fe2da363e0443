//! Our own executable, as containers may get to see it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::mount::{MountAttributes, set_attributes};

/// A read-only view of an executable (`/proc/self/exe` for the running one), to be executed as `/proc/self/fd/<n>`
/// before entering a container.
///
/// CVE-2019-5736: a hostile program reaches the runtime's executable by `/proc/<pid>/exe` and overwrites it. Executed
/// through this view, that link leads to a detached read-only mount: opening it for writing fails, whoever asks. It
/// costs two system calls and no copy.
pub fn read_only_exe(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD.as_fd(), path, flags)?;
    set_attributes(tree.as_fd(), &MountAttributes::read_only(), false)?;
    Ok(tree)
}

/// Whether this process was executed through such a view.
#[must_use]
pub fn is_read_only_exe() -> bool {
    rustix::fs::statvfs("/proc/self/exe").is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}
