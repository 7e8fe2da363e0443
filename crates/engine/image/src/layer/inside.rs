//! Paths that cannot leave a directory.
//!
//! Every lookup is one openat2(2) with RESOLVE_IN_ROOT: the kernel itself takes `/` and `..` in names and
//! symlinks to mean the given root, also while somebody else changes the tree.

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, linkat, mkdirat, openat2, statat,
    unlinkat,
};
use rustix::io::{Errno, Result};
use std::collections::HashSet;
use std::fs::File;
use std::rc::Rc;

const LONGEST_PATH: usize = 4096;

/// A directory and what lies below it.
pub(super) struct Inside<'a> {
    root: &'a File,
    /// The directory used last: tars are sorted by directory.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories that were made because something in them was named, not they themselves.
    implied: Vec<Vec<u8>>,
}

/// Brings a name to the form `a/b/c`: relative, without `.`, `..` and empty parts.
pub(crate) fn clean(path: &[u8]) -> std::result::Result<Vec<u8>, &'static str> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or("it would leave the root file system")?;
            }
            part if part.contains(&0) => return Err("its name contains a zero byte"),
            part => parts.push(part),
        }
    }
    let cleaned = parts.join(&b'/');
    if cleaned.len() >= LONGEST_PATH { Err("its name is longer than 4095 bytes") } else { Ok(cleaned) }
}

/// A cleaned path's parent and last part.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

impl<'a> Inside<'a> {
    pub(super) fn new(root: &'a File) -> Self {
        Self { root, last: None, implied: Vec::new() }
    }

    /// The directories made so far that no entry named.
    pub(super) fn take_implied(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.implied)
    }

    pub(super) fn root(&self) -> Result<OwnedFd> {
        self.open(b".", OFlags::DIRECTORY | OFlags::PATH)
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The directory `path`, made where it is missing.
    pub(super) fn make_parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(dir.clone());
        }
        let dir = match self.open(or_dot(path), OFlags::DIRECTORY | OFlags::PATH) {
            Err(Errno::NOENT) => self.make_all(path, None)?,
            dir => dir?,
        };
        let dir = Rc::new(dir);
        self.last = Some((path.to_vec(), dir.clone()));
        Ok(dir)
    }

    fn make_all(&mut self, path: &[u8], owner: Option<(u32, u32)>) -> Result<OwnedFd> {
        let (mut dir, mut so_far) = (self.root()?, Vec::new());
        for part in path.split(|byte| *byte == b'/') {
            if !so_far.is_empty() {
                so_far.push(b'/');
            }
            so_far.extend_from_slice(part);
            dir = match self.open(&so_far, OFlags::DIRECTORY | OFlags::PATH) {
                Err(Errno::NOENT) => {
                    mkdirat(&dir, part, Mode::from_raw_mode(0o755))?;
                    self.implied.push(so_far.clone());
                    // The umask may have taken bits away. By descriptor: who shares the tree may have put a link here.
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let made = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                    if let Some((uid, gid)) = owner {
                        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                        chownat(&dir, part, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                    }
                    self.open(&so_far, OFlags::DIRECTORY | OFlags::PATH)?
                }
                dir => dir?,
            };
        }
        Ok(dir)
    }

    /// The directory `path` itself, not what a symlink of that name points to; `None` if it is none.
    pub(super) fn directory(&self, path: &[u8]) -> Result<Option<OwnedFd>> {
        match self.open(or_dot(path), OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            dir => dir.map(Some),
        }
    }

    /// Makes room for a new entry; a directory may stay where another directory comes.
    pub(super) fn clear(
        &mut self,
        dir: &OwnedFd,
        path: &[u8],
        name: &[u8],
        for_directory: bool,
    ) -> Result<()> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory && for_directory {
            return Ok(());
        }
        self.last = None;
        if !is_directory {
            return unlinkat(dir, name, AtFlags::empty());
        }
        self.remove_lower(path, &HashSet::new(), true)
    }

    /// Makes `name` in `dir` another name of the file `target`, which is not followed if it is a symlink.
    pub(super) fn link(&self, target: &[u8], dir: &OwnedFd, name: &[u8]) -> Result<()> {
        let (parent, base) = split(target);
        if base.is_empty() {
            return Err(Errno::PERM);
        }
        let from = self.open(or_dot(parent), OFlags::DIRECTORY | OFlags::PATH)?;
        linkat(from, base, dir, name, AtFlags::empty())
    }

    /// Removes everything under `path`, and `path` itself if `with_self`, except what is in `spared`.
    pub(super) fn remove_lower(
        &mut self,
        path: &[u8],
        spared: &HashSet<Vec<u8>>,
        with_self: bool,
    ) -> Result<()> {
        self.last = None;
        let with_self = with_self && !spared.contains(path);
        let (parent, name) = split(path);
        let dir = match self.open(or_dot(parent), OFlags::DIRECTORY | OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            dir => dir?,
        };
        let mut walk = path.to_vec();
        match remove_tree(&dir, if name.is_empty() { b"." } else { name }, &mut walk, spared, with_self) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.map(drop),
        }
    }
}

/// Makes the directory `path` inside `root` with all that is missing above it, following symlinks as a process
/// rooted there would; new directories belong to `owner`.
pub fn make_directories(root: &File, path: &[u8], owner: Option<(u32, u32)>) -> std::io::Result<OwnedFd> {
    let path = clean(path).map_err(|reason| std::io::Error::new(std::io::ErrorKind::InvalidInput, reason))?;
    let mut inside = Inside::new(root);
    if path.is_empty() {
        return Ok(inside.root()?);
    }
    Ok(inside.make_all(&path, owner)?)
}

fn or_dot(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

/// Removes `name` in `dir`, or only what is in it; returns whether it is gone. Of a directory that is spared its other
/// children go all the same: they are of lower layers.
fn remove_tree(
    dir: &OwnedFd,
    name: &[u8],
    path: &mut Vec<u8>,
    spared: &HashSet<Vec<u8>>,
    with_self: bool,
) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => {
            if with_self {
                unlinkat(dir, name, AtFlags::empty())?;
            }
            return Ok(with_self);
        }
        inner => inner?,
    };
    let mut is_empty = true;
    let length = path.len();
    for child in children(&inner)? {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&child);
        let goes = !spared.contains(path.as_slice());
        is_empty &= remove_tree(&inner, &child, path, spared, goes)?;
        path.truncate(length);
    }
    let goes = with_self && is_empty;
    if goes {
        unlinkat(dir, name, AtFlags::REMOVEDIR)?;
    }
    Ok(goes)
}

fn children(dir: &OwnedFd) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
