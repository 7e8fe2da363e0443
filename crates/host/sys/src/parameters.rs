//! The kernel's parameters of network namespaces, by a procfs of our own.
//!
//! Every namespace has an `ipv4` and an `ipv6` of its own below /proc/sys/net, and in the kernel's table of names all of
//! them are in one place: the first look-up in a new namespace passes those of all others, several times (1.5 ms of a start
//! among a thousand). Each instance of procfs has places of its own, so we have one that nobody else uses, and leave it for
//! a new one after a while.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// How many parameters are written by one instance.
const WRITES: u32 = 64;

/// `sys` of an instance, and how often it was asked for.
static PLACE: Mutex<Option<(Arc<OwnedFd>, u32)>> = Mutex::new(None);

/// Writes a parameter of the calling thread's network namespace; `name` is its path below /proc/sys.
///
/// # Errors
/// `NotFound` where the kernel has none of that name, and what it says to the value.
pub fn write_parameter(name: &Path, value: &str) -> io::Result<()> {
    // A kernel or a place that lets us have no instance has one for all.
    match parameters(1) {
        Ok(place) => write_parameter_in(place.as_fd(), name, value),
        Err(_) => std::fs::write(Path::new("/proc/sys").join(name), value),
    }
}

/// The same by what [`parameters`] gave.
///
/// # Errors
/// As [`write_parameter`].
pub fn write_parameter_in(place: BorrowedFd<'_>, name: &Path, value: &str) -> io::Result<()> {
    let file = openat(place, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // A value is taken in one piece.
    let written = rustix::io::write(&file, value.as_bytes())?;
    if written == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// `sys` of the instance, for so many writes; another process, to which it is handed, writes the parameters of its own namespaces.
///
/// # Errors
/// When the kernel gives none.
pub fn parameters(count: u32) -> io::Result<Arc<OwnedFd>> {
    let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((fd, writes)) = place.as_mut().filter(|(_, writes)| *writes < WRITES) {
        *writes = writes.saturating_add(count);
        return Ok(Arc::clone(fd));
    }
    let fd = Arc::new(instance()?);
    // The one before ends with its last user.
    *place = Some((Arc::clone(&fd), count));
    Ok(fd)
}

fn instance() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(openat(&mount, "sys", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_thread_s_own_namespace() {
        let name = Path::new("net/ipv4/ip_default_ttl");
        let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
        let host = read();
        // More often than one instance serves.
        for ttl in 1..=2 * WRITES {
            let own = std::thread::spawn(move || {
                crate::unshare(crate::CloneFlags::NEWNET).unwrap();
                write_parameter(name, &ttl.to_string()).unwrap();
                read()
            });
            assert_eq!(own.join().unwrap().trim(), ttl.to_string());
        }
        assert_eq!(read(), host, "the host's own is as it was");
        let missing = write_parameter(Path::new("net/ipv4/conf/no-such-link/forwarding"), "1").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(write_parameter(name, "words").is_err());
    }

    #[test]
    fn who_is_handed_the_place_writes_its_own_parameters_there() {
        let name = Path::new("net/ipv4/ip_default_ttl");
        let place = parameters(1).unwrap().try_clone().unwrap();
        let write = move || {
            crate::unshare(crate::CloneFlags::NEWNET.with(crate::CloneFlags::NEWNS)).unwrap();
            write_parameter_in(place.as_fd(), name, "77").unwrap();
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap()
        };
        assert_eq!(std::thread::spawn(write).join().unwrap().trim(), "77");
        assert_ne!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap().trim(), "77");
    }
}
