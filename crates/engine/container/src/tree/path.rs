//! Paths in a container's tree.

use super::Tree;
use crate::error::{EngineError, io};
use hako_error::Result;
use rustix::fs::{AtFlags, FileType, OFlags, ResolveFlags, Stat, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// How many symbolic links one look-up follows, as the kernel's own bound.
const MAX_LINKS: usize = 40;

/// What a path of a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// The last part of the path as it was asked for.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Type and permission bits of stat(2).
    pub mode: u32,
    /// When it changed: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Where a symbolic link leads to in the end, from the container's root; empty for anything else.
    pub link_target: String,
}

/// A path that was found.
pub(super) struct Found {
    pub(super) node: OwnedFd,
    pub(super) stat: Stat,
}

/// Whether the path means what a link at its end leads to.
fn follows(path: &str) -> bool {
    path.ends_with('/') || is_content(path)
}

/// Whether the path ends in `.`: what is in the directory, not the directory.
pub(super) fn is_content(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// The last part of a path without `.` and `..`; `/` for the root.
pub(super) fn last_part(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.last().map_or_else(|| "/".to_owned(), |part| (*part).to_owned())
}

impl Tree {
    /// What a path is. A symbolic link at its end is not followed, unless the path ends in a slash.
    ///
    /// # Errors
    /// `NotFound` in Docker's words.
    pub fn stat(&self, path: &str) -> Result<PathStat> {
        let found = self.find(path)?;
        self.stat_found(path, &found)
    }

    /// The same of a path that was found.
    pub(super) fn stat_found(&self, path: &str, found: &Found) -> Result<PathStat> {
        let is_link = FileType::from_raw_mode(found.stat.st_mode) == FileType::Symlink;
        Ok(PathStat {
            name: last_part(path),
            size: u64::try_from(found.stat.st_size).unwrap_or(0),
            mode: found.stat.st_mode,
            mtime: (found.stat.st_mtime, u32::try_from(found.stat.st_mtime_nsec).unwrap_or(0)),
            link_target: if is_link { self.resolved(path)? } else { String::new() },
        })
    }

    /// The node of a path.
    pub(super) fn find(&self, path: &str) -> Result<Found> {
        let flags = if follows(path) { OFlags::DIRECTORY } else { OFlags::NOFOLLOW };
        let node =
            self.open(path.as_bytes(), OFlags::PATH | flags).map_err(|error| self.failed(path, error))?;
        let stat = rustix::fs::fstat(&node).map_err(|error| self.failed(path, error))?;
        Ok(Found { node, stat })
    }

    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        let inside = if start == path.len() { b".".as_slice() } else { &path[start..] };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        hako_sys::open_resolved(&self.root, inside, flags, resolve)
    }

    pub(super) fn failed(&self, path: &str, error: Errno) -> hako_error::Error {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => {
                EngineError::NoFile { path: path.to_owned(), container: self.container.clone() }.into()
            }
            error => io("open", path)(error.into()).into(),
        }
    }

    /// Where a path leads to with all links followed, for people: what is missing stays as it is written.
    fn resolved(&self, path: &str) -> Result<String> {
        let mut todo: VecDeque<Vec<u8>> = parts(path.as_bytes());
        let (mut done, mut links): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
        while let Some(part) = todo.pop_front() {
            if part == b".." {
                done.pop();
                continue;
            }
            done.push(part);
            let Some(target) = self.link(&done.join(&b'/')) else { continue };
            links += 1;
            if links > MAX_LINKS {
                return Err(self.failed(path, Errno::LOOP));
            }
            done.pop();
            if target.starts_with(b"/") {
                done.clear();
            }
            let mut next = parts(&target);
            next.append(&mut todo);
            todo = next;
        }
        Ok(format!("/{}", String::from_utf8_lossy(&done.join(&b'/'))))
    }

    /// The text of a link; `None` for anything else.
    fn link(&self, path: &[u8]) -> Option<Vec<u8>> {
        let node = self.open(path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        readlinkat(&node, "", Vec::new()).ok().map(std::ffi::CString::into_bytes)
    }
}

fn parts(path: &[u8]) -> VecDeque<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.map(<[u8]>::to_vec).collect()
}

/// stat(2) of a descriptor that only names something.
pub(super) fn stat_of(node: &OwnedFd) -> rustix::io::Result<Stat> {
    rustix::fs::statat(node, "", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
}
