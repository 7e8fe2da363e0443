//! The host's mount namespace, for a process that has left it: a shim. Its own is the host's slave, so what is bound
//! there does not pass mounts on to the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::thread::move_into_link_name_space;

/// The namespace, held by the process that left it, and the path by which children find it there: they have closed
/// what they do not need.
static HOST: OnceLock<(File, PathBuf)> = OnceLock::new();

fn current() -> io::Result<File> {
    File::open("/proc/self/ns/mnt")
}

/// To be called before the namespace is left; children made afterwards know it too.
pub(crate) fn remember() -> io::Result<()> {
    let namespace = current()?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    // The first one is the host's.
    let _known = HOST.set((namespace, path.into()));
    Ok(())
}

/// Works in the host's mount namespace, or in this one where it was never left. Only for a process of one thread; its
/// directory is `/` afterwards.
pub(crate) fn inside<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let Some((_, host)) = HOST.get() else { return Ok(work()) };
    let (own, host) = (current()?, File::open(host)?);
    move_into_link_name_space(host.as_fd(), None)?;
    let done = work();
    move_into_link_name_space(own.as_fd(), None)?;
    Ok(done)
}
