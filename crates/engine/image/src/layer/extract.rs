//! An archive into a directory of a tree that somebody else may change meanwhile.
//!
//! Unlike a layer, an archive has no whiteouts, and nothing is done to a file by its name once it was looked at: who
//! lives in the tree could put a link in its place (CVE-2018-15664). What is made is opened without following a link,
//! and all that follows is done to that descriptor.

use super::error::ApplyError;
use super::inside::{Inside, clean, split};
use super::reader::{Entry, EntryKind, TarReader};
use hako_error::Result;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fstat, makedev,
    mkdirat, mknodat, openat, setxattr, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Who on this machine a user and a group of an archive are, for a node; `None` where nobody is.
pub type Owners = Arc<dyn Fn(BorrowedFd<'_>, (u32, u32)) -> Option<(u32, u32)> + Send + Sync>;

/// How an archive is extracted.
#[derive(Clone, Default)]
pub struct ExtractOptions {
    /// The directory that it goes to, from the tree's root.
    pub directory: Vec<u8>,
    /// Fail where a directory would take the place of something else, or the other way round.
    pub keeps_kinds: bool,
    /// Who gets everything; the archive's own owners when `None`.
    pub owner: Option<(u32, u32)>,
    /// Who the archive's owners are here; themselves when `None`.
    pub owners: Option<Owners>,
}

impl fmt::Debug for ExtractOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractOptions").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Extracts a plain tar. Every path, links on the way and targets of hard links included, is resolved as a process
/// rooted in `root` would; `what` names the archive in errors.
pub fn extract(root: &File, tar: impl Read, what: &str, options: &ExtractOptions) -> Result<()> {
    let mut extract = Extract { inside: Inside::new(root), what, options, directories: Vec::new() };
    let mut tar = TarReader::new(tar);
    while let Some(entry) = tar.next().map_err(|source| extract.stream(source))? {
        extract.entry(entry, &mut tar)?;
    }
    extract.set_directory_times();
    Ok(())
}

struct Extract<'a> {
    inside: Inside<'a>,
    what: &'a str,
    options: &'a ExtractOptions,
    /// Directories and their times, set last because every child changes them.
    directories: Vec<(OwnedFd, Timespec)>,
}

/// Directories whose times are still to be set: each holds a descriptor.
const MOST_DIRECTORIES: usize = 256;

impl Extract<'_> {
    fn entry(&mut self, mut entry: Entry, data: &mut impl Read) -> Result<(), ApplyError> {
        let below = clean(&entry.path).map_err(|reason| self.hostile(&entry, reason))?;
        let path = self.joined(below);
        if let EntryKind::HardLink(target) = &entry.kind {
            let target = clean(target).map_err(|reason| self.hostile(&entry, reason))?;
            entry.kind = EntryKind::HardLink(self.joined(target));
        }
        if let Some((uid, gid)) = self.options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        let (parent, name) = split(&path);
        if name.is_empty() {
            return Ok(());
        }
        let dir = self.inside.make_parent(parent).map_err(|error| self.failed("reach", &entry, error))?;
        self.make_room(&entry, &dir, &path, name)?;
        match &entry.kind {
            EntryKind::File => self.file(&entry, &dir, name, data),
            EntryKind::HardLink(target) => {
                self.inside.link(target, &dir, name).map_err(|error| self.failed("create", &entry, error))
            }
            _ => self.node(&entry, &dir, name),
        }
    }

    fn joined(&self, below: Vec<u8>) -> Vec<u8> {
        let directory = &self.options.directory;
        match (directory.is_empty(), below.is_empty()) {
            (true, _) => below,
            (false, true) => directory.clone(),
            (false, false) => [directory.as_slice(), b"/", &below].concat(),
        }
    }

    /// Takes away what is in the way, unless both are directories.
    fn make_room(
        &mut self,
        entry: &Entry,
        dir: &OwnedFd,
        path: &[u8],
        name: &[u8],
    ) -> Result<(), ApplyError> {
        let is_directory = entry.kind == EntryKind::Directory;
        if self.options.keeps_kinds
            && let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            && (FileType::from_raw_mode(stat.st_mode) == FileType::Directory) != is_directory
        {
            let reason = match is_directory {
                true => "cannot overwrite non-directory with directory",
                false => "cannot overwrite directory with non-directory",
            };
            return Err(self.hostile(entry, reason));
        }
        self.inside.clear(dir, path, name, is_directory).map_err(|error| self.failed("replace", entry, error))
    }

    fn file(
        &mut self,
        entry: &Entry,
        dir: &OwnedFd,
        name: &[u8],
        data: &mut impl Read,
    ) -> Result<(), ApplyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(dir, name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|error| self.failed("create", entry, error))?);
        let whole = [(0, entry.size)];
        let segments = entry.sparse.as_ref().map_or(&whole[..], |sparse| &sparse.segments);
        for (offset, length) in segments {
            file.seek(SeekFrom::Start(*offset)).map_err(|source| self.write(entry, source))?;
            self.copy(entry, data, &mut file, *length)?;
        }
        if let Some(sparse) = &entry.sparse {
            file.set_len(sparse.real_size).map_err(|source| self.write(entry, source))?;
        }
        self.metadata(entry, &file.into())
    }

    fn copy(
        &self,
        entry: &Entry,
        data: &mut impl Read,
        file: &mut File,
        length: u64,
    ) -> Result<(), ApplyError> {
        let mut buffer = vec![0; 128 << 10];
        let mut left = length;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            data.read_exact(&mut buffer[..want]).map_err(|source| self.stream(source))?;
            file.write_all(&buffer[..want]).map_err(|source| self.write(entry, source))?;
            left -= want as u64;
        }
        Ok(())
    }

    /// Everything but files and hard links.
    fn node(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<(), ApplyError> {
        let mode = Mode::from_raw_mode(0o600);
        let (kind, made) = match &entry.kind {
            EntryKind::Directory => (FileType::Directory, mkdirat(dir, name, Mode::from_raw_mode(0o700))),
            EntryKind::Symlink(target) => (FileType::Symlink, symlinkat(target.as_slice(), dir, name)),
            EntryKind::Fifo => (FileType::Fifo, mknodat(dir, name, FileType::Fifo, mode, 0)),
            EntryKind::Character { major, minor } | EntryKind::Block { major, minor } => {
                let is_block = matches!(entry.kind, EntryKind::Block { .. });
                let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
                (kind, mknodat(dir, name, kind, mode, makedev(*major, *minor)))
            }
            EntryKind::File | EntryKind::HardLink(_) => return Ok(()),
        };
        match made {
            Err(Errno::EXIST) if kind == FileType::Directory => {}
            made => made.map_err(|error| self.failed("create", entry, error))?,
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node =
            openat(dir, name, flags, Mode::empty()).map_err(|error| self.failed("open", entry, error))?;
        let stat = fstat(&node).map_err(|error| self.failed("look at", entry, error))?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            return Err(self.hostile(entry, "something else was put in its place"));
        }
        self.metadata(entry, &node)?;
        if kind == FileType::Directory && self.directories.len() < MOST_DIRECTORIES {
            self.directories.push((node, time(entry)));
        }
        Ok(())
    }

    /// Owner before mode, because changing the owner clears setuid; xattrs after both, for file capabilities.
    fn metadata(&self, entry: &Entry, node: &OwnedFd) -> Result<(), ApplyError> {
        let failed = |action| move |error| self.failed(action, entry, error);
        let owner = (entry.uid, entry.gid);
        let here = self.options.owners.as_ref().map_or(Some(owner), |owners| owners(node.as_fd(), owner));
        let (uid, gid) = here.ok_or(Errno::OVERFLOW).map_err(failed("find on this machine the owner of"))?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(failed("set the owner of"))?;
        if !matches!(entry.kind, EntryKind::Symlink(_)) {
            // The magic link is the node itself, whatever its name leads to by now.
            let itself = format!("/proc/self/fd/{}", node.as_raw_fd());
            rustix::fs::chmod(&itself, Mode::from_raw_mode(entry.mode)).map_err(failed("set the mode of"))?;
            for (key, value) in entry.xattrs.iter().filter(|(key, _)| !is_of_overlayfs(key)) {
                match setxattr(&itself, key.as_slice(), value, XattrFlags::empty()) {
                    Ok(()) | Err(Errno::OPNOTSUPP) => {}
                    Err(error) => return Err(self.failed("set an xattr of", entry, error)),
                }
            }
        }
        set_time(node, time(entry)).map_err(failed("set the time of"))
    }

    /// Best effort: the tree's owner may have removed one meanwhile.
    fn set_directory_times(&mut self) {
        for (node, time) in self.directories.drain(..).rev() {
            if let Err(error) = set_time(&node, time) {
                tracing::debug!(%error, "set a directory's time");
            }
        }
    }

    fn hostile(&self, entry: &Entry, reason: &'static str) -> ApplyError {
        ApplyError::Hostile { layer: self.what.into(), entry: entry_name(entry), reason: reason.into() }
    }

    fn stream(&self, source: io::Error) -> ApplyError {
        ApplyError::Stream { layer: self.what.into(), source }
    }

    fn failed(&self, action: &'static str, entry: &Entry, error: Errno) -> ApplyError {
        ApplyError::of(self.what, action, entry, error)
    }

    fn write(&self, entry: &Entry, source: io::Error) -> ApplyError {
        ApplyError::Write { layer: self.what.into(), action: "write", entry: entry_name(entry), source }
    }
}

fn entry_name(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.path).into_owned()
}

fn is_of_overlayfs(key: &[u8]) -> bool {
    key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.")
}

fn time(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime_s, tv_nsec: i64::from(entry.mtime_ns) }
}

fn set_time(node: &OwnedFd, time: Timespec) -> rustix::io::Result<()> {
    utimensat(node, "", &Timestamps { last_access: time, last_modification: time }, AtFlags::EMPTY_PATH)
}

#[cfg(test)]
mod tests {
    use super::super::writer::TarWriter;
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn entry(path: &str, kind: EntryKind, size: usize) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode: 0o640,
            uid: 7,
            gid: 8,
            mtime_s: 1_000_000,
            mtime_ns: 0,
            size: size as u64,
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    fn tar(entries: &[(Entry, &[u8])]) -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        for (entry, data) in entries {
            tar.append(entry, *data).unwrap();
        }
        tar.finish().unwrap()
    }

    #[test]
    fn an_archive_stays_in_the_tree_and_follows_the_links_of_the_tree() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().join("root");
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::fs::create_dir_all(root.join("to")).unwrap();
        std::os::unix::fs::symlink("/real", root.join("to/link")).unwrap();
        std::os::unix::fs::symlink("../../../..", root.join("to/out")).unwrap();
        let archive = tar(&[
            (entry("link/file", EntryKind::File, 2), b"hi"),
            (entry("out/outside", EntryKind::File, 2), b"hi"),
            (entry("again", EntryKind::HardLink(b"link/file".to_vec()), 0), b""),
            (entry(".wh.kept", EntryKind::File, 0), b""),
        ]);
        let options = ExtractOptions { directory: b"to".to_vec(), ..ExtractOptions::default() };
        extract(&File::open(&root).unwrap(), &archive[..], "test", &options).unwrap();
        let meta = std::fs::metadata(root.join("real/file")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.mtime()), (0o640, 2, 1_000_000));
        assert!(root.join("outside").exists() && !tmp.path().join("outside").exists());
        assert!(root.join("to/.wh.kept").exists(), "an archive has no whiteouts");
    }

    #[test]
    fn kinds_are_kept_where_that_is_asked_for() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir(tmp.path().join("name")).unwrap();
        let archive = tar(&[(entry("name", EntryKind::File, 0), b"")]);
        let root = File::open(tmp.path()).unwrap();
        let kept = ExtractOptions { keeps_kinds: true, ..ExtractOptions::default() };
        let refused = extract(&root, &archive[..], "test", &kept).unwrap_err();
        assert!(
            refused.chain().contains("cannot overwrite directory with non-directory"),
            "{}",
            refused.chain()
        );
        extract(&root, &archive[..], "test", &ExtractOptions::default()).unwrap();
        assert!(tmp.path().join("name").is_file());
    }
}
