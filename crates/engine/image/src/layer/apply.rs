//! A layer's tar onto a directory: OCI image specification, "Image Layer Filesystem Changeset".
//!
//! Two ways. [`apply`] writes into an empty directory or a merged overlay, where removing a file is enough for a
//! whiteout: overlayfs keeps the books in the upper directory. [`apply_alone`] writes into a directory that is to
//! become an overlay's layer and sees nothing of what will be below: whiteouts become overlayfs' own marks, and
//! what only the layers below can answer is told in [`Alone`].

use super::error::ApplyError;
use super::inside::{Inside, clean, split};
use super::permits::Permits;
use super::reader::{Entry, EntryKind, TarReader};
use hako_error::Result;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::fs::{
    chmodat, chownat, fchmod, fchown, fstat, futimens, lsetxattr, makedev, mkdirat, mknodat, openat, statat,
    symlinkat, utimensat,
};
use rustix::io::Errno;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Bounds against layers that unpack to more than anybody meant.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Which.
    pub permits: Permits,
}

impl Limits {
    /// What a layer stored in `size` bytes may unpack to: 200 times as much, and 1 GiB in any case; an entry for every
    /// four bytes, which no archive of real files comes near, 200,000 in any case and never more than five million.
    #[must_use]
    pub fn for_blob(size: u64) -> Self {
        Self {
            bytes: size.saturating_mul(200).max(1 << 30),
            entries: (size / 4).clamp(200_000, 5_000_000),
            permits: Permits::LAYER,
        }
    }

    /// None but those of memory and disk: for what is made here.
    pub const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX, permits: Permits::ALL };

    /// The same with other permits.
    #[must_use]
    pub fn permitting(self, permits: Permits) -> Self {
        Self { permits, ..self }
    }

    /// How long the tar may be: the files, and beyond them headers, padding and what follows the archive's end.
    pub(crate) fn longest(&self) -> u64 {
        self.bytes.saturating_add(self.entries.saturating_mul(4096))
    }
}

/// What applying a layer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Whether a name, or what a hard link points to, began with `/`.
    pub has_absolute_names: bool,
}

/// What a layer that was applied alone leaves open until it is stacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alone {
    /// Directories that hold something of the layer without being in it: they look as they do below.
    pub implied: Vec<Vec<u8>>,
    /// Whether the layer says how the root directory looks.
    pub has_root: bool,
    /// Whiteouts that were set. One that hides nothing must go: in a directory that overlayfs does not merge it
    /// would be listed as a file that cannot be opened.
    pub marks: Vec<Vec<u8>>,
    /// Directories that hide the one below.
    pub opaque: HashSet<Vec<u8>>,
    /// The layer puts something in the place of its own, or walks through its own links: what that means below only
    /// the merged tree can tell.
    pub needs_merged: bool,
}

impl Alone {
    /// Whether the file lies in a directory that hides what is below.
    pub(crate) fn is_under_opaque(&self, path: &std::path::Path) -> bool {
        let mut above = path.ancestors().skip(1);
        above.any(|dir| self.opaque.contains(std::os::unix::ffi::OsStrExt::as_bytes(dir.as_os_str())))
    }
}

/// overlayfs' mark of a directory that hides the one below, kernel documentation, "whiteouts and opaque
/// directories".
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Applies a plain tar to the directory `root`; `what` names the layer in errors.
pub fn apply(root: &File, tar: impl Read, what: &str, limits: Limits) -> Result<Applied> {
    Ok(apply_merged(root, tar, what, limits)?)
}

/// Applies an archive that somebody adds to a directory: the archive's own root says nothing about that.
pub fn add_archive(root: &File, tar: impl Read, what: &str, limits: Limits) -> Result<Applied> {
    let mut apply = Apply::new(root, what, limits, false);
    apply.way = Way::Archive;
    apply.all(tar)?;
    Ok(apply.applied)
}

/// Copies what a tar has into a directory: no file takes the place of a directory there, nor the other way round.
pub fn copy_into(root: &File, tar: impl Read, what: &str) -> Result<Applied> {
    let mut apply = Apply::new(root, what, Limits::NONE, false);
    apply.way = Way::Copy;
    apply.all(tar)?;
    Ok(apply.applied)
}

/// What the entries are to a directory that has some already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A change of it.
    Layer,
    /// An archive that is unpacked into it.
    Archive,
    /// Files that are copied to it.
    Copy,
}

/// Entries that go into a directory one by one, as [`apply`] puts those of a tar there.
pub struct Placing<'a>(Apply<'a>);

impl<'a> Placing<'a> {
    /// Into the directory `root`; `what` names the entries in errors. They are as many and as large as they are.
    #[must_use]
    pub fn new(root: &'a File, what: &'a str) -> Self {
        Self(Apply::new(root, what, Limits::NONE, false))
    }

    /// The next entry, whose data is exactly `entry.size` bytes of `data`.
    pub fn place(&mut self, entry: &Entry, data: &mut impl Read) -> Result<()> {
        Ok(self.0.entry(entry, data)?)
    }

    /// No more comes: directories get their times.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.0.set_directory_times()?)
    }
}

impl fmt::Debug for Placing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placing").field("what", &self.0.what).finish_non_exhaustive()
    }
}

/// [`apply`] with an error that can be looked into.
pub(crate) fn apply_merged(
    root: &File,
    tar: impl Read,
    what: &str,
    limits: Limits,
) -> Result<Applied, ApplyError> {
    let mut apply = Apply::new(root, what, limits, false);
    apply.all(tar)?;
    Ok(apply.applied)
}

/// Applies a plain tar to the empty directory `root` as the upper one of layers that are not there yet. A failure
/// that is neither the tar's nor the disk's may be due to that: [`apply`] on the merged tree then decides.
pub fn apply_alone(root: &File, tar: impl Read, what: &str, limits: Limits) -> Result<Alone, ApplyError> {
    let mut apply = Apply::new(root, what, limits, true);
    apply.all(tar)?;
    let mut implied = apply.inside.take_implied();
    let walked = implied.len();
    implied.retain(|path| !apply.made.contains(path));
    let marks = apply.marks.into_iter().collect();
    let (has_root, opaque) = (apply.has_root, apply.opaque);
    // What came before the directory that it is in may belong behind a link that stands there below.
    let needs_merged = apply.needs_merged || implied.len() < walked;
    Ok(Alone { implied, has_root, marks, opaque, needs_merged })
}

struct Apply<'a> {
    inside: Inside<'a>,
    what: &'a str,
    way: Way,
    limits: Limits,
    applied: Applied,
    /// Paths that this layer brought: its whiteouts do not touch them.
    made: HashSet<Vec<u8>>,
    /// Directories and their times, set last because every child changes them.
    directories: Vec<(Vec<u8>, Timespec)>,
    /// Whether whiteouts are marks for overlayfs.
    is_alone: bool,
    /// The marks that were set.
    marks: HashSet<Vec<u8>>,
    opaque: HashSet<Vec<u8>>,
    has_root: bool,
    /// Directories in which this layer has something so far.
    touched: HashSet<Vec<u8>>,
    /// Symlinks that this layer brought.
    links: HashSet<Vec<u8>>,
    needs_merged: bool,
    buffer: Vec<u8>,
}

impl<'a> Apply<'a> {
    fn new(root: &'a File, what: &'a str, limits: Limits, is_alone: bool) -> Self {
        Self {
            inside: Inside::new(root),
            what,
            way: Way::Layer,
            limits,
            applied: Applied::default(),
            made: HashSet::new(),
            directories: Vec::new(),
            is_alone,
            marks: HashSet::new(),
            opaque: HashSet::new(),
            has_root: false,
            touched: HashSet::new(),
            links: HashSet::new(),
            needs_merged: false,
            buffer: vec![0; 1 << 17],
        }
    }

    fn all(&mut self, tar: impl Read) -> Result<(), ApplyError> {
        let mut tar = TarReader::new(tar);
        while let Some(entry) = tar.next().map_err(|source| self.stream(source))? {
            self.entry(&entry, &mut tar)?;
        }
        self.set_directory_times()
    }

    fn entry(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), ApplyError> {
        self.count(entry)?;
        if let Some(reason) = self.limits.permits.refuse(entry) {
            return Err(self.hostile(entry, reason));
        }
        self.applied.has_absolute_names |= entry.is_absolute();
        let path = clean(&entry.path).map_err(|reason| self.hostile(entry, reason))?;
        let (parent, name) = split(&path);
        if self.is_alone {
            self.look_at_way(parent, name == OPAQUE);
        }
        if name == OPAQUE {
            return self.empty(entry, parent);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(entry, parent, hidden);
        }
        if path.is_empty() {
            return self.root(entry);
        }
        let dir = self.inside.make_parent(parent).map_err(|error| self.failed("reach", entry, error))?;
        if entry.kind == EntryKind::File {
            self.file(entry, &dir, &path, name, data)?;
        } else {
            self.create(entry, &dir, &path, name)?;
            if !matches!(entry.kind, EntryKind::HardLink(_)) {
                self.metadata(entry, &dir, name)?;
            }
        }
        if entry.kind == EntryKind::Directory {
            self.directories.push((path.clone(), mtime(entry)));
        }
        self.made.insert(path);
        Ok(())
    }

    /// Notes what the order of a layer's entries decides: an opaque directory should come before what is in it.
    fn look_at_way(&mut self, parent: &[u8], is_opaque: bool) {
        self.needs_merged |= self.is_behind_link(parent) || (is_opaque && self.touched.contains(parent));
        let mut dir = parent;
        while self.touched.insert(dir.to_vec()) && !dir.is_empty() {
            dir = split(dir).0;
        }
    }

    /// Whether one of the layer's own symlinks is on the way.
    fn is_behind_link(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        !self.links.is_empty() && slashes.chain([path.len()]).any(|end| self.links.contains(&path[..end]))
    }

    fn count(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        self.applied.entries += 1;
        // What a sparse file leaves out is written once somebody copies it.
        let size = entry.sparse.as_ref().map_or(entry.size, |sparse| sparse.real_size);
        self.applied.bytes = self.applied.bytes.saturating_add(size);
        let too_big = |what, limit| ApplyError::TooBig { layer: self.what.into(), what, limit };
        if self.applied.entries > self.limits.entries {
            return Err(too_big("the number of entries", self.limits.entries));
        }
        if self.applied.bytes > self.limits.bytes {
            return Err(too_big("the unpacked size in bytes", self.limits.bytes));
        }
        Ok(())
    }

    /// `.wh..wh..opq`: what lower layers put into this directory is gone.
    fn empty(&mut self, entry: &Entry, parent: &[u8]) -> Result<(), ApplyError> {
        if self.is_alone {
            let dir = self.inside.make_parent(parent).map_err(|error| self.failed("reach", entry, error))?;
            return self.mark_opaque(entry, &dir, b".", parent.to_vec());
        }
        self.inside
            .remove_lower(parent, &self.made, false)
            .map_err(|error| self.failed("empty the directory of", entry, error))
    }

    /// `.wh.NAME`: NAME of a lower layer is gone.
    fn whiteout(&mut self, entry: &Entry, parent: &[u8], hidden: &[u8]) -> Result<(), ApplyError> {
        if hidden.starts_with(WHITEOUT) {
            // Book-keeping of AUFS such as `.wh..wh.plnk`.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(self.hostile(entry, "a whiteout of no name"));
        }
        let mut path = parent.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(hidden);
        if self.is_alone {
            return self.mark_hidden(entry, parent, hidden, path);
        }
        self.inside
            .remove_lower(&path, &self.made, true)
            .map_err(|error| self.failed("remove what is hidden by", entry, error))
    }

    /// A device 0:0 hides the name below.
    fn mark_hidden(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        hidden: &[u8],
        path: Vec<u8>,
    ) -> Result<(), ApplyError> {
        let dir = self.inside.make_parent(parent).map_err(|error| self.failed("reach", entry, error))?;
        match mknodat(&dir, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => {
                self.marks.insert(path);
                Ok(())
            }
            Err(Errno::EXIST) if self.marks.contains(&path) => Ok(()),
            Err(Errno::EXIST) => match self.inside.directory(&path) {
                // The layer has a directory of that name itself: the merged tree decides what is hidden.
                Ok(Some(_)) => Err(self.failed("mark what is hidden by", entry, Errno::EXIST)),
                Ok(None) => Ok(()),
                Err(error) => Err(self.failed("look at what is hidden by", entry, error)),
            },
            Err(error) => Err(self.failed("mark what is hidden by", entry, error)),
        }
    }

    fn mark_opaque(
        &mut self,
        entry: &Entry,
        dir: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<(), ApplyError> {
        self.opaque.insert(path);
        lsetxattr(below(dir, name).as_slice(), OPAQUE_XATTR, b"y", XattrFlags::empty())
            .map_err(|error| self.failed("mark the directory of", entry, error))
    }

    /// The entry `./`: only the root's own metadata.
    fn root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.kind != EntryKind::Directory {
            return Err(self.hostile(entry, "it would replace the root directory"));
        }
        if self.way == Way::Archive {
            return Ok(());
        }
        let dir = self.inside.root().map_err(|error| self.failed("reach", entry, error))?;
        self.metadata(entry, &dir, b".")?;
        self.directories.push((Vec::new(), mtime(entry)));
        self.has_root = true;
        Ok(())
    }

    fn create(&mut self, entry: &Entry, dir: &OwnedFd, path: &[u8], name: &[u8]) -> Result<(), ApplyError> {
        let is_directory = entry.kind == EntryKind::Directory;
        match self.make(entry, dir, name)? {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                self.keep_kind(entry, dir, name)?;
                self.needs_merged |= !(self.marks.contains(path) || is_directory && is_plain(dir, name));
                self.inside
                    .clear(dir, path, name, is_directory)
                    .map_err(|error| self.failed("replace", entry, error))?;
                match self.make(entry, dir, name)? {
                    // A directory may stay where another one comes.
                    Err(Errno::EXIST) if is_directory => Ok(()),
                    made => made.map_err(|error| self.failed("create", entry, error)),
                }
            }
            Err(error) => Err(self.failed("create", entry, error)),
        }?;
        if matches!(entry.kind, EntryKind::Symlink(_)) {
            self.links.insert(path.to_vec());
        }
        if self.marks.remove(path) && is_directory {
            return self.mark_opaque(entry, dir, name, path.to_vec());
        }
        Ok(())
    }

    /// Refuses a copy that would replace a directory by a file, or a file by a directory.
    fn keep_kind(&self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<(), ApplyError> {
        if self.way != Way::Copy {
            return Ok(());
        }
        let there = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let there = there.map_err(|error| self.failed("look at what is in the place of", entry, error))?;
        match (FileType::from_raw_mode(there.st_mode), entry.kind == EntryKind::Directory) {
            (FileType::Directory, false) => Err(self.hostile(entry, "a directory of that name is there")),
            (FileType::RegularFile, true) => Err(self.hostile(entry, "a file of that name is there")),
            _ => Ok(()),
        }
    }

    /// Makes what is no regular file. The outer error is the entry's, the inner one the kernel's.
    fn make(&self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<rustix::io::Result<()>, ApplyError> {
        let device = Mode::from_raw_mode(0o600);
        Ok(match &entry.kind {
            EntryKind::File => Ok(()),
            EntryKind::Directory => mkdirat(dir, name, Mode::from_raw_mode(0o700)),
            EntryKind::Symlink(target) => symlinkat(target.as_slice(), dir, name),
            EntryKind::HardLink(target) => {
                let target = clean(target).map_err(|reason| self.hostile(entry, reason))?;
                self.inside.link(&target, dir, name)
            }
            EntryKind::Fifo => mknodat(dir, name, FileType::Fifo, device, 0),
            EntryKind::Character { major, minor } => {
                mknodat(dir, name, FileType::CharacterDevice, device, makedev(*major, *minor))
            }
            EntryKind::Block { major, minor } => {
                mknodat(dir, name, FileType::BlockDevice, device, makedev(*major, *minor))
            }
        })
    }

    fn file(
        &mut self,
        entry: &Entry,
        dir: &OwnedFd,
        path: &[u8],
        name: &[u8],
        data: &mut impl Read,
    ) -> Result<(), ApplyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What others may write, or run as its owner, waits for its owner.
        let mode = if entry.mode & !0o755 == 0 { entry.mode } else { 0o600 };
        let open = || openat(dir, name, flags, Mode::from_raw_mode(mode));
        let file = match open() {
            Err(Errno::EXIST) => {
                self.keep_kind(entry, dir, name)?;
                self.needs_merged |= !self.marks.contains(path);
                self.inside
                    .clear(dir, path, name, false)
                    .map_err(|error| self.failed("replace", entry, error))?;
                self.marks.remove(path);
                open()
            }
            file => file,
        };
        let mut file = File::from(file.map_err(|error| self.failed("create", entry, error))?);
        let whole = [(0, entry.size)];
        let segments = entry.sparse.as_ref().map_or(&whole[..], |sparse| &sparse.segments);
        for (offset, length) in segments {
            if *offset > 0 {
                file.seek(SeekFrom::Start(*offset)).map_err(|source| self.write(entry, source))?;
            }
            self.copy(entry, data, &mut file, *length)?;
        }
        if let Some(sparse) = &entry.sparse {
            file.set_len(sparse.real_size).map_err(|source| self.write(entry, source))?;
        }
        self.file_metadata(entry, dir, name, &file)
    }

    /// The same as [`Self::metadata`] through the descriptor: no path is walked again.
    fn file_metadata(
        &self,
        entry: &Entry,
        dir: &OwnedFd,
        name: &[u8],
        file: &File,
    ) -> Result<(), ApplyError> {
        let failed = |action| move |error| self.failed(action, entry, error);
        // Most files are root's and have their mode from the beginning: looking is cheaper than setting.
        let made = fstat(file).map_err(failed("look at"))?;
        let has_owner = (made.st_uid, made.st_gid) == (entry.uid, entry.gid);
        if !has_owner {
            fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
                .map_err(failed("set the owner of"))?;
        }
        if !has_owner || made.st_mode & 0o7777 != entry.mode {
            fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(failed("set the mode of"))?;
        }
        self.xattrs(entry, dir, name)?;
        let mtime = mtime(entry);
        let times = Timestamps { last_access: mtime, last_modification: mtime };
        futimens(file, &times).map_err(failed("set the time of"))
    }

    /// Copies with reading and writing failures told apart: the stream's fault or the disk's.
    fn copy(
        &mut self,
        entry: &Entry,
        data: &mut impl Read,
        file: &mut File,
        length: u64,
    ) -> Result<(), ApplyError> {
        let mut left = length;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = &mut self.buffer[..want];
            if let Err(source) = data.read_exact(piece) {
                return Err(self.stream(source));
            }
            if let Err(source) = file.write_all(&self.buffer[..want]) {
                return Err(self.write(entry, source));
            }
            left -= want as u64;
        }
        Ok(())
    }

    /// Owner before mode, because changing the owner clears setuid; xattrs after both, for file capabilities.
    fn metadata(&self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<(), ApplyError> {
        let failed = |action| move |error| self.failed(action, entry, error);
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the owner of"))?;
        if !matches!(entry.kind, EntryKind::Symlink(_)) {
            chmodat(dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(failed("set the mode of"))?;
        }
        self.xattrs(entry, dir, name)?;
        let mtime = mtime(entry);
        let times = Timestamps { last_access: mtime, last_modification: mtime };
        utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set the time of"))
    }

    fn xattrs(&self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<(), ApplyError> {
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        let path = below(dir, name);
        for (key, value) in &entry.xattrs {
            if key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.") {
                tracing::debug!(layer = self.what, "an xattr of overlayfs in a layer is ignored");
                continue;
            }
            match lsetxattr(path.as_slice(), key.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => {
                    tracing::debug!(layer = self.what, "the file system takes no such xattr");
                }
                Err(error) => return Err(self.failed("set an xattr of", entry, error)),
            }
        }
        Ok(())
    }

    fn set_directory_times(&mut self) -> Result<(), ApplyError> {
        for (path, mtime) in std::mem::take(&mut self.directories).into_iter().rev() {
            let times = Timestamps { last_access: mtime, last_modification: mtime };
            let set = self
                .inside
                .directory(&path)
                .and_then(|dir| dir.map_or(Ok(()), |dir| utimensat(dir, ".", &times, AtFlags::empty())));
            set.map_err(|error| ApplyError::Write {
                layer: self.what.into(),
                action: "set the time of",
                entry: String::from_utf8_lossy(&path).into_owned(),
                source: error.into(),
            })?;
        }
        Ok(())
    }

    fn hostile(&self, entry: &Entry, reason: impl Into<Cow<'static, str>>) -> ApplyError {
        ApplyError::Hostile { layer: self.what.into(), entry: entry.shown(), reason: reason.into() }
    }

    fn failed(&self, action: &'static str, entry: &Entry, error: Errno) -> ApplyError {
        ApplyError::of(self.what, action, entry, error)
    }

    fn write(&self, entry: &Entry, source: io::Error) -> ApplyError {
        ApplyError::Write { layer: self.what.into(), action: "write", entry: entry.shown(), source }
    }

    fn stream(&self, source: io::Error) -> ApplyError {
        ApplyError::Stream { layer: self.what.into(), source }
    }
}

/// A path for calls that take no descriptor: the directory is one, and what the last part names is not followed,
/// so that it stays inside.
fn below(dir: &OwnedFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Whether a directory stands there, not a link to one.
fn is_plain(dir: &OwnedFd, name: &[u8]) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).is_ok()
}

fn mtime(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime_s, tv_nsec: entry.mtime_ns.into() }
}
