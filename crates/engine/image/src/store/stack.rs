//! Layers that are applied each in a directory of its own and stacked when all below are there.

use super::ImageStore;
use super::unpack::fresh_key;
use crate::ImageError;
use crate::layer::Alone;
use hako_error::Result;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown,
    fgetxattr, flistxattr, fsetxattr, fstat, futimens, openat, openat2, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory that a layer is applied to before it has a parent; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Loose {
    store: ImageStore,
    key: String,
    upper: PathBuf,
    is_taken: bool,
    /// What the layers below have to answer; filled in by who applied the layer.
    pub(crate) alone: Alone,
}

/// What became of a directory that was to be stacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stacked {
    /// It is the committed snapshot now.
    Done,
    /// The layer walks through links of the layers below: it must be applied to the merged tree.
    NeedsMerged,
}

impl Drop for Loose {
    fn drop(&mut self) {
        if !self.is_taken
            && let Err(error) = self.store.snapshots().remove(&self.key)
        {
            tracing::warn!(
                key = self.key,
                error = error.chain(),
                "a half-unpacked layer stays until restart"
            );
        }
    }
}

impl Loose {
    /// Its directory.
    pub(crate) fn root(&self) -> Result<File> {
        Ok(File::open(&self.upper).map_err(ImageError::io("open", &self.upper))?)
    }

    /// Removes the directories that only a whiteout walked through.
    fn drop_empty<'a>(&self, paths: impl DoubleEndedIterator<Item = &'a Vec<u8>>) -> Result<()> {
        let root = self.root()?;
        // Those above were made first.
        for path in paths.rev() {
            match remove_plain(root.as_fd(), Path::new(OsStr::from_bytes(path)), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT | Errno::NOTDIR | Errno::EXIST | Errno::LOOP) => {
                }
                Err(error) => return Err(ImageError::io("complete", &self.upper)(error.into()).into()),
            }
        }
        Ok(())
    }

    /// Removes the whiteouts that hide nothing.
    fn drop_marks(&self, hides: impl Fn(&Path) -> bool) -> Result<()> {
        let root = self.root()?;
        for mark in &self.alone.marks {
            let path = Path::new(OsStr::from_bytes(mark));
            if hides(path) {
                continue;
            }
            match remove_plain(root.as_fd(), path, AtFlags::empty()) {
                // Something else of the layer took its place.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(ImageError::io("complete", &self.upper)(error.into()).into()),
            }
        }
        Ok(())
    }
}

impl ImageStore {
    /// An empty directory for a layer.
    pub(crate) fn loose(&self) -> Result<Loose> {
        let key = fresh_key();
        let mounts = self.snapshots().prepare(&key, None)?;
        let upper = mounts.upper.ok_or_else(|| ImageError::Unusable {
            what: key.clone(),
            reason: "a new snapshot has no directory to write to".into(),
        })?;
        Ok(Loose { store: self.clone(), key, upper, is_taken: false, alone: Alone::default() })
    }

    /// Commits `loose` as the snapshot `name` on top of `parent`.
    pub(crate) fn stack(&self, mut loose: Loose, name: &str, parent: Option<&str>) -> Result<Stacked> {
        self.inner.flights.alone(name, || {
            if self.is_unpacked(name) {
                return Ok(Stacked::Done);
            }
            if loose.alone.needs_merged {
                return Ok(Stacked::NeedsMerged);
            }
            let is_complete = match parent {
                Some(parent) => self.complete(&loose, parent)?,
                None => {
                    loose.drop_marks(|_| false)?;
                    loose.drop_empty(loose.alone.implied.iter())?;
                    true
                }
            };
            if !is_complete {
                return Ok(Stacked::NeedsMerged);
            }
            self.snapshots().commit_onto(name, &loose.key, parent)?;
            loose.is_taken = true;
            Ok(Stacked::Done)
        })
    }

    /// Gives the directories that the layer only walks through the looks that they have below; `false` if one
    /// of them is no directory there.
    fn complete(&self, loose: &Loose, parent: &str) -> Result<bool> {
        let alone = &loose.alone;
        if alone.has_root && alone.implied.is_empty() && alone.marks.is_empty() {
            return Ok(true);
        }
        let look = Look::at(self, parent)?;
        let io = |error: Errno| ImageError::io("complete", &loose.upper)(error.into());
        if !loose.alone.has_root {
            let below = look.mounts.lower.first().cloned().unwrap_or_default();
            let below = File::open(&below).map_err(ImageError::io("open", &below))?;
            copy_looks(below.as_fd(), loose.root()?.as_fd()).map_err(io)?;
        }
        if loose.alone.implied.is_empty() && loose.alone.marks.is_empty() {
            return Ok(true);
        }
        let tree = self.snapshots().mounted(&look.mounts)?;
        loose.drop_marks(|path| !loose.alone.is_under_opaque(path) && exists(tree.as_fd(), path))?;
        let (root, mut only_here) = (loose.root()?, Vec::new());
        for bytes in &loose.alone.implied {
            let path = Path::new(OsStr::from_bytes(bytes));
            match open_plain(tree.as_fd(), path) {
                Ok(below) => {
                    // The layer itself may have put something else there.
                    let Ok(here) = open_plain(root.as_fd(), path) else { return Ok(false) };
                    // What an opaque directory hides gives nothing its looks.
                    if alone.is_under_opaque(path) {
                        only_here.push(bytes);
                    } else {
                        copy_looks(below.as_fd(), here.as_fd()).map_err(io)?;
                    }
                }
                Err(Errno::NOENT) => only_here.push(bytes),
                Err(Errno::LOOP | Errno::NOTDIR) => return Ok(false),
                Err(error) => return Err(io(error).into()),
            }
        }
        loose.drop_empty(only_here.into_iter())?;
        Ok(true)
    }
}

/// A view of a committed snapshot while it is looked at.
struct Look<'a> {
    store: &'a ImageStore,
    key: String,
    mounts: hako_snapshot::Mounts,
}

impl<'a> Look<'a> {
    fn at(store: &'a ImageStore, parent: &str) -> Result<Self> {
        let key = fresh_key();
        let mounts = store.snapshots().view(&key, Some(parent))?;
        Ok(Self { store, key, mounts })
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let _ = self.store.snapshots().remove(&self.key);
    }
}

/// Whether there is a file of that name, on whose way there is no symlink.
fn exists(root: impl AsFd, path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let found = open_plain(root, parent.unwrap_or(Path::new(".")));
    found
        .is_ok_and(|dir| path.file_name().is_some_and(|name| openat(dir, name, flags, Mode::empty()).is_ok()))
}

/// Removes a file or an empty directory on whose way there is no symlink: the layer chose what stands there.
fn remove_plain(root: impl AsFd, path: &Path, flags: AtFlags) -> rustix::io::Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    unlinkat(open_plain(root, parent.unwrap_or(Path::new(".")))?, name, flags)
}

/// A directory below `root` on whose way there is no symlink.
fn open_plain(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH)
}

/// Owner, mode, xattrs and times of one directory for another.
fn copy_looks(from: impl AsFd, to: impl AsFd) -> rustix::io::Result<()> {
    let stat: Stat = fstat(&from)?;
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let mut names = Vec::with_capacity(1 << 16);
    match flistxattr(&from, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = Vec::with_capacity(1 << 16);
        fgetxattr(&from, name, rustix::buffer::spare_capacity(&mut value))?;
        fsetxattr(&to, name, &value, XattrFlags::empty())?;
    }
    let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: nanos(&stat) };
    futimens(&to, &Timestamps { last_access: mtime, last_modification: mtime })
}

fn nanos(stat: &Stat) -> i64 {
    i64::try_from(stat.st_mtime_nsec).unwrap_or(0)
}
