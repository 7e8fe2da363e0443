//! An overlay's upper directory as a layer.
//!
//! Deterministic: entries are sorted, and nothing enters the tar that the directory does not say.

use super::error::DiffError;
use super::quiet::{open_file, xattrs};
use super::reader::{Entry, EntryKind, Xattrs};
use super::writer::TarWriter;
use hako_error::Result;
use rustix::fs::{major, minor};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How a layer is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiffOptions {
    /// Times after this one are set to it, in seconds since 1970: reproducible builds.
    pub newest_unix_s: Option<i64>,
}

/// Writes what the overlay directory `upper` changes in the directories `lower` as a deterministic tar.
pub fn diff(upper: &Path, lower: &[PathBuf], options: &DiffOptions, tar: impl Write) -> Result<()> {
    let mut diff = Diff { upper, lower, options, tar: TarWriter::new(tar), links: HashMap::new() };
    // No recursion: who made the directory may have made it deeper than the stack.
    let mut open = vec![diff.level(PathBuf::new())?];
    while let Some(level) = open.last_mut() {
        let Some((name, metadata)) = level.children.next() else {
            open.pop();
            continue;
        };
        let relative = level.relative.join(name);
        if diff.entry(&relative, &metadata)? {
            open.push(diff.level(relative)?);
        }
    }
    diff.tar.finish().map_err(io_error("finish the tar of", upper))?;
    Ok(())
}

struct Diff<'a, W> {
    upper: &'a Path,
    lower: &'a [PathBuf],
    options: &'a DiffOptions,
    tar: TarWriter<W>,
    /// Device and inode of files with several names, and the name that was written first.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// A directory that is being written, and what is left of it.
struct Level {
    relative: PathBuf,
    children: std::vec::IntoIter<(OsString, Metadata)>,
}

impl<W: Write> Diff<'_, W> {
    fn level(&self, relative: PathBuf) -> Result<Level, DiffError> {
        let path = self.upper.join(&relative);
        let mut children = Vec::new();
        for entry in fs::read_dir(&path).map_err(io_error("list", &path))? {
            let entry = entry.map_err(io_error("list", &path))?;
            // By the open directory, not by its long path.
            children.push((entry.file_name(), entry.metadata().map_err(io_error("stat", &entry.path()))?));
        }
        children.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Level { relative, children: children.into_iter() })
    }

    /// Writes one file; `true` for a directory, whose children are next.
    fn entry(&mut self, relative: &Path, metadata: &Metadata) -> Result<bool, DiffError> {
        let path = self.upper.join(relative);
        let kind = metadata.file_type();
        if kind.is_socket() {
            // A socket means nothing without its process; tar has no type for it.
            return Ok(false);
        }
        if kind.is_char_device() && metadata.rdev() == 0 {
            return self.marker(&whiteout_of(relative)).map(|()| false);
        }
        let mut is_opaque = false;
        let mut entry = self.describe(relative, &path, metadata)?;
        if metadata.nlink() > 1 && !kind.is_dir() && self.is_link(&mut entry, metadata) {
            return self.append(&entry, &path, io::empty()).map(|()| false);
        }
        if entry.kind == EntryKind::File {
            let file = open_file(&path).map_err(io_error("open", &path))?;
            entry.xattrs = own_xattrs(&path, Some(&file), &mut is_opaque)?;
            return self.append(&entry, &path, file).map(|()| false);
        }
        entry.xattrs = own_xattrs(&path, None, &mut is_opaque)?;
        self.append(&entry, &path, io::empty())?;
        if kind.is_dir() {
            // A new directory is opaque as well; there is nothing to hide.
            if is_opaque && self.lower.iter().any(|lower| lower.join(relative).symlink_metadata().is_ok()) {
                self.marker(&relative.join(".wh..wh..opq"))?;
            }
        }
        Ok(kind.is_dir())
    }

    /// Turns an entry into a hard link if its file was written under another name.
    fn is_link(&mut self, entry: &mut Entry, metadata: &Metadata) -> bool {
        let inode = (metadata.dev(), metadata.ino());
        match self.links.get(&inode) {
            Some(first) => {
                entry.kind = EntryKind::HardLink(first.clone());
                entry.size = 0;
                true
            }
            None => {
                self.links.insert(inode, entry.path.clone());
                false
            }
        }
    }

    fn describe(&self, relative: &Path, path: &Path, metadata: &Metadata) -> Result<Entry, DiffError> {
        let file_type = metadata.file_type();
        let device = (major(metadata.rdev()), minor(metadata.rdev()));
        let kind = if file_type.is_dir() {
            EntryKind::Directory
        } else if file_type.is_symlink() {
            let target = fs::read_link(path).map_err(io_error("read the link", path))?;
            EntryKind::Symlink(target.into_os_string().into_vec())
        } else if file_type.is_fifo() {
            EntryKind::Fifo
        } else if file_type.is_char_device() {
            EntryKind::Character { major: device.0, minor: device.1 }
        } else if file_type.is_block_device() {
            EntryKind::Block { major: device.0, minor: device.1 }
        } else {
            EntryKind::File
        };
        let mut name = relative.as_os_str().as_bytes().to_vec();
        if kind == EntryKind::Directory {
            name.push(b'/');
        }
        let (mtime_s, mtime_ns) = self.time(metadata);
        Ok(Entry {
            path: name,
            size: if kind == EntryKind::File { metadata.len() } else { 0 },
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime_s,
            mtime_ns,
            xattrs: Vec::new(),
            sparse: None,
        })
    }

    fn time(&self, metadata: &Metadata) -> (i64, u32) {
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        match self.options.newest_unix_s {
            Some(newest) if metadata.mtime() >= newest => (newest, 0),
            _ => (metadata.mtime(), nanos),
        }
    }

    /// An empty file that only its name says something by.
    fn marker(&mut self, relative: &Path) -> Result<(), DiffError> {
        let entry = Entry::bare(relative.as_os_str().as_bytes().to_vec(), EntryKind::File);
        self.append(&entry, relative, io::empty())
    }

    fn append(&mut self, entry: &Entry, path: &Path, data: impl io::Read) -> Result<(), DiffError> {
        self.tar.append(entry, data).map_err(io_error("add to the layer", path))
    }
}

/// A file's xattrs, sorted, without those of overlayfs.
fn own_xattrs(path: &Path, data: Option<&File>, is_opaque: &mut bool) -> Result<Xattrs, DiffError> {
    let mut own = Vec::new();
    for (name, value) in xattrs(path, data).map_err(io_error("list the xattrs of", path))? {
        match name.strip_prefix(b"trusted.overlay.") {
            None => own.push((name, value)),
            Some(b"opaque") => *is_opaque = value == b"y",
            Some(b"redirect") => return Err(feature(path, "redirect_dir")),
            Some(b"metacopy") => return Err(feature(path, "metacopy")),
            Some(_) => {}
        }
    }
    own.sort();
    Ok(own)
}

fn whiteout_of(relative: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".wh.");
    name.push(relative.file_name().unwrap_or_default());
    relative.with_file_name(name)
}

fn feature(path: &Path, feature: &'static str) -> DiffError {
    DiffError::Feature { path: path.into(), feature }
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiffError + 'a {
    move |source| DiffError::Io { action, path: path.into(), source }
}
