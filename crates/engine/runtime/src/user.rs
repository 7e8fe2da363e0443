//! User namespaces, as seen from outside.
//!
//! Owns: making one, entering one, and who its root is on the host.
//! Does not own: what a container does in it (`init`).
//! Invariant: a process made here ends with the function that made it, or with whoever called that.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hako_sys::{Child, CloneFlags};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::types::{IdMap, IdRange};

/// A user namespace, and who its user and group 0 are outside.
#[derive(Debug)]
pub(crate) struct UserNamespace {
    pub fd: OwnedFd,
    pub root: (u32, u32),
}

/// Why there is none.
fn failed(doing: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| {
        let hint = match error.raw_os_error() {
            Some(libc::ENOSPC) => "; is user.max_user_namespaces too low?",
            Some(libc::EINVAL) => "; is it switched off, or do ranges of its ids overlap?",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{doing}: {error}{hint}"))
    }
}

impl UserNamespace {
    /// A new one.
    pub fn new(map: &IdMap) -> io::Result<Self> {
        let namespace = Self { fd: new_mapping(map)?, root: root_of(map)? };
        Ok(namespace)
    }

    /// One that exists, such as that of another container.
    pub fn open(path: &Path) -> io::Result<Self> {
        let doing = format!("cannot enter user namespace {}", path.display());
        let fd = OwnedFd::from(File::open(path).map_err(failed(&doing))?);
        Self::of(fd).map_err(failed(&doing))
    }

    /// The one that a descriptor says. Who its root is, is asked of a process in it.
    pub fn of(fd: OwnedFd) -> io::Result<Self> {
        let helper = Helper::start(CloneFlags::default(), || enter(fd.as_fd()))?;
        let root = (helper.outside("uid_map")?, helper.outside("gid_map")?);
        Ok(Self { root, fd })
    }

    /// New namespaces that belong to this one, in the order asked for. `inside` is run in them, by their root.
    pub fn populate(
        &self,
        kinds: &[(CloneFlags, &str)],
        inside: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Vec<OwnedFd>> {
        let all = kinds.iter().fold(CloneFlags::default(), |all, (kind, _)| all.with(*kind));
        let helper = Helper::start(CloneFlags::default(), || {
            enter(self.fd.as_fd())?;
            hako_sys::unshare(all)?;
            hako_sys::become_root()?;
            inside()
        })?;
        kinds.iter().map(|(_, name)| helper.namespace(name)).collect()
    }
}

/// A user namespace that is never entered: its ids are those of mounts.
pub(crate) fn new_mapping(map: &IdMap) -> io::Result<OwnedFd> {
    let helper = Helper::start(CloneFlags::NEWUSER, || Ok(()))?;
    helper.write("uid_map", &lines(&map.uids)).map_err(failed("cannot map users"))?;
    helper.write("gid_map", &lines(&map.gids)).map_err(failed("cannot map groups"))?;
    helper.namespace("user")
}

/// Goes into a user namespace, with all capabilities there and none outside.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::User))?)
}

fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

fn root_of(map: &IdMap) -> io::Result<(u32, u32)> {
    let root = |ranges: &[IdRange]| {
        let first = ranges.iter().find(|range| range.inside == 0 && range.count > 0);
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "id 0 of the container is not mapped");
        first.map(|range| range.outside).ok_or_else(none)
    };
    Ok((root(&map.uids)?, root(&map.gids)?))
}

/// A process that waits in namespaces while they are looked at; dropped, it ends.
#[derive(Debug)]
struct Helper {
    child: Child,
    socket: Option<OwnedFd>,
    pid: u32,
}

impl Helper {
    /// Returns when `begin` was done.
    fn start(kinds: CloneFlags, begin: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        let (ours, theirs) = hako_sys::socket_pair()?;
        let child = hako_sys::spawn(kinds, None, || {
            // Without our own copy of the other end, whose death would not be seen.
            let result = begin();
            let Ok(kept) = hako_sys::keep_only(&[theirs.as_fd()]) else { return 1 };
            let text = result.err().map(|error| error.to_string()).unwrap_or_default();
            let told = hako_sys::send(kept[0].as_fd(), &[b"R", text.as_bytes()].concat(), &[]);
            // Until the other end is closed.
            told.and_then(|_| hako_sys::receive(kept[0].as_fd(), &mut [0], &mut Vec::new())).map_or(1, |_| 0)
        });
        drop(theirs);
        let child = child.map_err(failed("cannot make a user namespace"))?;
        let pid = host_pid(child.pidfd.as_fd()).unwrap_or(child.pid);
        let helper = Self { child, socket: Some(ours), pid };
        helper.has_begun()?;
        Ok(helper)
    }

    fn has_begun(&self) -> io::Result<()> {
        let mut text = [0; 512];
        let Some(socket) = &self.socket else { return Ok(()) };
        match hako_sys::receive(socket.as_fd(), &mut text, &mut Vec::new())? {
            1 => Ok(()),
            0 => Err(io::Error::other("a process in a user namespace ended early")),
            count => Err(io::Error::other(String::from_utf8_lossy(&text[1..count]).into_owned())),
        }
    }

    fn namespace(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/{}/ns/{name}", self.pid))?.into())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(format!("/proc/{}/{file}", self.pid))?;
        // In one go: the kernel takes one write.
        io::Write::write_all(&mut file, text.as_bytes())
    }

    /// Whom id 0 means to us.
    fn outside(&self, file: &str) -> io::Result<u32> {
        outside(&fs::read_to_string(format!("/proc/{}/{file}", self.pid))?)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.socket.take();
        let pid = i32::try_from(self.child.pid).ok().and_then(Pid::from_raw);
        // A shim that takes every child's end may have been quicker.
        let _reaped = rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()));
    }
}

/// Whom id 0 of a map, as /proc has it, means to us.
fn outside(map: &str) -> io::Result<u32> {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let first = map.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (number(fields.next()) == Some(0)).then(|| number(fields.next())).flatten()
    });
    first.ok_or_else(|| io::Error::other("id 0 of the user namespace is not mapped"))
}

/// Who the root of a process's user namespace is, unless it is in ours.
pub(crate) fn root_of_process(pid: u32) -> io::Result<Option<(u32, u32)>> {
    let namespace = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/user"));
    if namespace("self")? == namespace(&pid.to_string())? {
        return Ok(None);
    }
    let root = |file: &str| outside(&fs::read_to_string(format!("/proc/{pid}/{file}"))?);
    Ok(Some((root("uid_map")?, root("gid_map")?)))
}

/// A process's number in the pid namespace that /proc shows, which need not be ours.
pub(crate) fn host_pid(pidfd: BorrowedFd<'_>) -> Option<u32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_map_is_what_its_zero_means() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let map = IdMap { uids: vec![range(1, 0, 1), range(0, 1000, 1)], gids: vec![range(0, 2000, 10)] };
        assert_eq!(root_of(&map).unwrap(), (1000, 2000));
        assert_eq!(lines(&map.uids), "1 0 1\n0 1000 1\n");
        assert!(root_of(&IdMap::default()).is_err());
        assert_eq!(outside("         1       5       1\n         0     1000     65536\n").unwrap(), 1000);
        assert!(outside("1 0 1\n").is_err());
    }
}
