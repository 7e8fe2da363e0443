//! Our own executable, as containers may get to see it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::mount::{MountAttributes, set_attributes};

/// A read-only view of the running executable, to be executed as `/proc/self/fd/<n>` before entering a container.
///
/// CVE-2019-5736: a hostile program reaches the runtime's executable by `/proc/<pid>/exe` and overwrites it. Executed
/// through this view, that link leads to a detached read-only mount: opening it for writing fails, whoever asks. It
/// costs two system calls and no copy.
pub fn read_only_exe() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // Resolved by the link's text: cloning needs a mount of our own namespace, and the link itself may lead to a
    // detached one. A shim started from a shim's view falls back to that view.
    let path = std::fs::read_link("/proc/self/exe")?;
    let tree = match open_tree(CWD.as_fd(), &path, flags) {
        Ok(tree) => tree,
        Err(_) => open_tree(CWD.as_fd(), "/proc/self/exe", flags)?,
    };
    set_attributes(tree.as_fd(), &MountAttributes::read_only(), false)?;
    Ok(tree)
}
