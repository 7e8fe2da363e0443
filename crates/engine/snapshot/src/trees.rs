//! Trees of any depth: walked, measured and removed without recursion and with few descriptors.
//!
//! Who lives in a container can make directories deeper than any stack, and with names longer than any path may be. So
//! nothing here goes by a path: each directory is opened in the one above it, and no symlink is followed.
//!
//! ```text
//! way:  root ─ a ─ b ─ … ─ x ─ y ─ z
//!                          └─ open ─┘    those above are opened again by "..", and have to be what they were
//! ```

use crate::Usage;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use rustix::io::{Errno, Result};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many directories of the way stay open.
const MOST_OPEN: usize = 64;
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Who is told what a walk meets. `dir` is the open directory that has the name.
pub trait Visitor {
    /// What is no directory.
    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()>;
    /// A directory, before what is in it; `false` passes it by.
    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<bool>;
    /// A directory that was entered, after what is in it.
    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()>;
}

/// Walks what `name` in `at` is, with all below it if it is a directory. What vanishes meanwhile is passed by.
pub fn walk(at: BorrowedFd<'_>, name: &CStr, visitor: &mut impl Visitor) -> Result<()> {
    let mut way: Vec<Level> = Vec::new();
    let top = match openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return visitor.file(at, name),
        top => top?,
    };
    if visitor.enter(at, name)? {
        way.push(Level::new(top, name, visitor)?);
    }
    while let Some(mut level) = way.pop() {
        let Some(name) = level.directories.pop() else {
            match way.last_mut() {
                Some(above) => {
                    above.reopen(&level)?;
                    visitor.leave(above.dir()?, &level.name)?;
                }
                None => visitor.leave(at, &level.name)?,
            }
            continue;
        };
        let inner = enter(level.dir()?, &name, visitor)?;
        way.push(level);
        if let Some(inner) = inner {
            let opened = Level::new(inner, &name, visitor)?;
            way.push(opened);
            if let Some(far) = way.len().checked_sub(MOST_OPEN + 1) {
                way[far].dir = None;
            }
        }
    }
    Ok(())
}

/// Opens a directory that is to be walked.
fn enter(dir: BorrowedFd<'_>, name: &CStr, visitor: &mut impl Visitor) -> Result<Option<OwnedFd>> {
    match openat(dir, name, DIRECTORY, Mode::empty()) {
        Ok(inner) => Ok(visitor.enter(dir, name)?.then_some(inner)),
        Err(Errno::NOENT) => Ok(None),
        // Something else was put in its place.
        Err(Errno::NOTDIR | Errno::LOOP) => visitor.file(dir, name).map(|()| None),
        Err(error) => Err(error),
    }
}

/// A directory on the way.
struct Level {
    /// INVARIANT: open for the last level, and for those right above it.
    dir: Option<OwnedFd>,
    /// Device and inode.
    id: (u64, u64),
    name: CString,
    /// What is yet to be entered.
    directories: Vec<CString>,
}

impl Level {
    /// Lists a directory and tells of what is none in it.
    fn new(dir: OwnedFd, name: &CStr, visitor: &mut impl Visitor) -> Result<Self> {
        let (mut directories, mut files) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let is_directory = is_directory(&dir, name, entry.file_type())?;
            let list = if is_directory { &mut directories } else { &mut files };
            list.push(name.to_owned());
        }
        // Not while it is read: the visitor may change it.
        files.iter().try_for_each(|name: &CString| visitor.file(dir.as_fd(), name))?;
        let id = id(&fstat(&dir)?);
        Ok(Self { dir: Some(dir), id, name: name.to_owned(), directories })
    }

    fn dir(&self) -> Result<BorrowedFd<'_>> {
        self.dir.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// Opens this level, which is the one above `below`.
    fn reopen(&mut self, below: &Self) -> Result<()> {
        if self.dir.is_some() {
            return Ok(());
        }
        let dir = openat(below.dir()?, "..", DIRECTORY, Mode::empty())?;
        if id(&fstat(&dir)?) != self.id {
            // It was moved away, and what is above it now is none of ours.
            return Err(Errno::STALE);
        }
        self.dir = Some(dir);
        Ok(())
    }
}

fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn is_directory(dir: &OwnedFd, name: &CStr, said: FileType) -> Result<bool> {
    if said != FileType::Unknown {
        return Ok(said == FileType::Directory);
    }
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        stat => Ok(FileType::from_raw_mode(stat?.st_mode) == FileType::Directory),
    }
}

/// Removes a file, or a directory with all that is in it, however deep. Symlinks are removed, not followed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    walk_path(path, &mut Removal)
}

/// Walks what is at `path`, whose last part is not followed.
pub fn walk_path(path: &Path, visitor: &mut impl Visitor) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = CString::new(name.as_bytes())?;
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = openat(CWD, above, flags, Mode::empty())?;
    Ok(walk(above.as_fd(), &name, visitor)?)
}

struct Removal;

impl Visitor for Removal {
    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        gone(unlinkat(dir, name, AtFlags::empty()))
    }

    fn enter(&mut self, _: BorrowedFd<'_>, _: &CStr) -> Result<bool> {
        Ok(true)
    }

    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        gone(unlinkat(dir, name, AtFlags::REMOVEDIR))
    }
}

fn gone(removed: Result<()>) -> Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

/// What is below the directory `path`, itself not counted.
pub(crate) fn measure(path: &Path) -> io::Result<Usage> {
    let mut measure = Measure::default();
    walk_path(path, &mut measure)?;
    Ok(measure.usage)
}

#[derive(Default)]
struct Measure {
    usage: Usage,
    /// Files with several names that were counted.
    seen: HashSet<(u64, u64)>,
    is_inside: bool,
}

impl Measure {
    fn count(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_nlink > 1 && !is_directory && !self.seen.insert(id(&stat)) {
            return Ok(());
        }
        self.usage.inodes += 1;
        self.usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        Ok(())
    }
}

impl Visitor for Measure {
    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        self.count(dir, name)
    }

    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
        if std::mem::replace(&mut self.is_inside, true) {
            self.count(dir, name)?;
        }
        Ok(true)
    }

    fn leave(&mut self, _: BorrowedFd<'_>, _: &CStr) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::fs;

    /// Runs `work` with less stack than one frame a level would take.
    fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, work);
            thread.unwrap().join().unwrap()
        })
    }

    /// Directories in directories, far longer together than a path may be, with a file and a link in the last.
    fn dig(root: &Path, depth: usize) {
        let mut dir = openat(CWD, root, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..depth {
            mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
            dir = openat(&dir, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        mkdirat(&dir, "beside", Mode::from_raw_mode(0o755)).unwrap();
        rustix::fs::symlinkat("/", &dir, "link").unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(&dir, "file", flags, Mode::from_raw_mode(0o644)).unwrap());
    }

    #[test]
    fn a_tree_deeper_than_the_stack_is_measured_and_removed() {
        const DEPTH: usize = 6_000;
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(tmp.path().join("outside"), "safe").unwrap();
        dig(&root, DEPTH);
        std::os::unix::fs::symlink(tmp.path(), root.join("out")).unwrap();
        let usage = on_a_small_stack(|| measure(&root)).unwrap();
        assert_eq!(usage.inodes, DEPTH as u64 + 4);
        on_a_small_stack(|| remove_tree(&root)).unwrap();
        assert!(!root.exists() && tmp.path().join("outside").exists());
        assert_eq!(remove_tree(&root).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_wide_tree_is_counted_once_and_links_are_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().join("root");
        for dir in 0..100 {
            fs::create_dir_all(root.join(format!("{dir}/a/b"))).unwrap();
        }
        fs::write(root.join("one"), "1").unwrap();
        fs::hard_link(root.join("one"), root.join("7/a/two")).unwrap();
        std::os::unix::fs::symlink("7", root.join("link")).unwrap();
        assert_eq!(measure(&root).unwrap().inodes, 302);
        remove_tree(&root.join("link")).unwrap();
        assert!(root.join("7/a/two").exists());
        remove_tree(&root).unwrap();
        assert!(!root.exists());
    }
}
