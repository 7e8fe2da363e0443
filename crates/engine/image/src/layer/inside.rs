//! Paths that cannot leave a directory.
//!
//! Every lookup is one openat2(2) with RESOLVE_IN_ROOT: the kernel itself takes `/` and `..` in names and
//! symlinks to mean the given root, also while somebody else changes the tree.

use hako_snapshot::{Visitor, walk};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, linkat, mkdirat, readlink,
    readlinkat, statat, unlinkat,
};
use rustix::io::{Errno, Result};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::rc::Rc;

const LONGEST_PATH: usize = 4096;
/// No path of an image or archive has more parts, links on the way resolved.
const MOST_PARTS: usize = 1024;
/// Links to follow before they are taken for a loop, as in the kernel.
const MOST_LINKS: usize = 40;

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
    if parts.len() > MOST_PARTS {
        return Err("it lies more than 1024 directories deep");
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
        self.open_by(path, flags, ResolveFlags::NO_MAGICLINKS)
    }

    fn open_by(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
        hako_sys::open_resolved(self.root, path, flags, resolve | ResolveFlags::IN_ROOT)
    }

    /// The directory `path`, made where it is missing.
    pub(super) fn make_parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(dir.clone());
        }
        let flags = OFlags::DIRECTORY | OFlags::PATH;
        let dir = match self.open_by(or_dot(path), flags, ResolveFlags::NO_SYMLINKS) {
            Err(Errno::NOENT) => self.make_all(path, None)?,
            Err(Errno::LOOP) => self.make_behind_links(path)?,
            dir => dir?,
        };
        let dir = Rc::new(dir);
        self.last = Some((path.to_vec(), dir.clone()));
        Ok(dir)
    }

    /// [`Self::make_parent`] where links are on the way: they may lead deeper than any name says.
    fn make_behind_links(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let dir = match self.open(path, OFlags::DIRECTORY | OFlags::PATH) {
            Err(Errno::NOENT) => self.make_all(path, None)?,
            dir => dir?,
        };
        // What is too long for the kernel to say is too deep as well.
        let parts = |fd: i32| -> Result<usize> {
            let place = readlink(format!("/proc/self/fd/{fd}"), Vec::new())?;
            Ok(place.as_bytes().iter().filter(|byte| **byte == b'/').count())
        };
        if parts(dir.as_raw_fd())?.saturating_sub(parts(self.root.as_raw_fd())?) > MOST_PARTS {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(dir)
    }

    /// What `path` comes to when its links are followed as the kernel does, also those to what is not there yet.
    fn followed(&self, path: &[u8]) -> Result<Vec<u8>> {
        let split =
            |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (mut ahead, mut done, mut links) = (split(path), Vec::<Vec<u8>>::new(), 0);
        while let Some(part) = ahead.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            if done.len() > MOST_PARTS {
                return Err(Errno::NAMETOOLONG);
            }
            let Some(target) = self.link_at(&done.join(&b'/'))? else { continue };
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            done.pop();
            if target.starts_with(b"/") {
                done.clear();
            }
            ahead.extend(split(&target));
        }
        Ok(done.join(&b'/'))
    }

    /// Where the link at `path` points to; `None` if there is none.
    fn link_at(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            found => found?,
        };
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        Ok(Some(readlinkat(&found, "", Vec::new())?.into_bytes()))
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
                    match mkdirat(&dir, part, Mode::from_raw_mode(0o755)) {
                        // Somebody else made it, or it is a link that leads nowhere.
                        Err(Errno::EXIST) => {
                            let opened = self.open(&so_far, OFlags::DIRECTORY | OFlags::PATH);
                            dir = opened
                                .map_err(|error| if error == Errno::NOENT { Errno::EXIST } else { error })?;
                            continue;
                        }
                        made => made?,
                    }
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
        let base = CString::new(or_dot(name)).map_err(|_| Errno::INVAL)?;
        let mut clearing = Clearing { path: parent.to_vec(), way: Vec::new(), spared, with_self };
        match walk(dir.as_fd(), &base, &mut clearing) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }
}

/// Makes the directory `path` inside `root` with all that is missing above it, following symlinks as a process
/// rooted there would, also those to what is not there yet; new directories belong to `owner`.
pub fn make_directories(root: &File, path: &[u8], owner: Option<(u32, u32)>) -> std::io::Result<OwnedFd> {
    let mut inside = Inside::new(root);
    let path = inside.followed(path)?;
    if path.is_empty() {
        return Ok(inside.root()?);
    }
    Ok(inside.make_all(&path, owner)?)
}

fn or_dot(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

/// Removes what a walk meets, except what is spared. Of a directory that is spared its other children go all the same:
/// they are of lower layers.
struct Clearing<'a> {
    /// The path of the directory that the walk is in; before it begins, of the one that has its first name.
    path: Vec<u8>,
    /// The directories that the walk is in.
    way: Vec<Cleared>,
    spared: &'a HashSet<Vec<u8>>,
    /// Whether what the walk begins with goes too.
    with_self: bool,
}

struct Cleared {
    /// The length of the path above it.
    above: usize,
    goes: bool,
    /// Whether something in it stays.
    is_kept: bool,
}

impl Clearing<'_> {
    /// The path of `name` where the walk is.
    fn below(&self, name: &CStr) -> Vec<u8> {
        match (self.path.is_empty(), name.to_bytes()) {
            (_, b".") => self.path.clone(),
            (true, name) => name.to_vec(),
            (false, name) => [self.path.as_slice(), b"/", name].concat(),
        }
    }

    fn goes(&self, path: &[u8]) -> bool {
        if self.way.is_empty() { self.with_self } else { !self.spared.contains(path) }
    }

    fn keep(&mut self) {
        if let Some(dir) = self.way.last_mut() {
            dir.is_kept = true;
        }
    }
}

impl Visitor for Clearing<'_> {
    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        if self.goes(&self.below(name)) {
            return unlinkat(dir, name, AtFlags::empty());
        }
        self.keep();
        Ok(())
    }

    fn enter(&mut self, _: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
        let path = self.below(name);
        let goes = self.goes(&path);
        self.way.push(Cleared { above: self.path.len(), goes, is_kept: false });
        self.path = path;
        Ok(true)
    }

    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let Some(cleared) = self.way.pop() else { return Ok(()) };
        self.path.truncate(cleared.above);
        if cleared.goes && !cleared.is_kept {
            return unlinkat(dir, name, AtFlags::REMOVEDIR);
        }
        self.keep();
        Ok(())
    }
}
