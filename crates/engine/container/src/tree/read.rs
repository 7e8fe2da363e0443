//! A path of a container as an archive.

use super::Tree;
use super::owners::Owners;
use super::path::{PathStat, is_content, last_part, stat_of};
use crate::error::io;
use hako_error::Result;
use hako_image::layer::{Entry, EntryKind, TarWriter, Xattrs};
use rustix::fs::{Dir, FileType, FsWord, Mode, OFlags, Stat};
use rustix::fs::{fstatfs, getxattr, listxattr, major, minor, openat, readlinkat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// Directories below each other: each holds a descriptor.
const MAX_DEPTH: usize = 512;
/// Bytes of a list of names of xattrs, and of a value: Linux' own bounds.
const MAX_XATTR: usize = 64 << 10;
/// The longest file whose size is not known before it was read.
const MAX_UNSIZED: u64 = 16 << 20;
/// What statfs calls proc, sysfs, and the control groups of both versions: the size of a file there says nothing.
const KERNELS: [FsWord; 4] = [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270];

impl Tree {
    /// Writes what the path names as a tar whose names begin with the path's last part. Files may change meanwhile: one
    /// that goes away is left out, one that shrinks ends in zeroes. Of proc and its like that are mounted below the path
    /// only the directory is written, as Docker does it; a file of theirs that the path names has what is read from it.
    /// `tell` gets what the path is before anything is written; it is looked up once, whatever is put in its place meanwhile.
    ///
    /// # Errors
    /// `NotFound` in Docker's words, or why a file could not be read.
    pub fn archive(&self, path: &str, out: impl Write, tell: impl FnOnce(PathStat)) -> Result<()> {
        let found = self.find(path)?;
        tell(self.stat_found(path, &found)?);
        let name = match last_part(path).as_str() {
            _ if is_content(path) => ".".to_owned(),
            "/" => String::new(),
            name => name.to_owned(),
        };
        let mut walk = Walk {
            tar: TarWriter::new(out),
            links: HashMap::new(),
            owners: &self.owners,
            top: found.stat.st_dev,
        };
        walk.node(&found.node, &found.stat, name.as_bytes(), 0).map_err(io("read", path))?;
        walk.tar.finish().map_err(io("send", path))?;
        Ok(())
    }
}

struct Walk<'a, W> {
    tar: TarWriter<W>,
    owners: &'a Owners,
    /// Device and inode of files with several names, and the name that was written first.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The file system that the path is on.
    top: u64,
}

impl<W: Write> Walk<'_, W> {
    fn node(&mut self, node: &OwnedFd, stat: &Stat, name: &[u8], depth: usize) -> std::io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let Some(mut entry) = describe(node, stat, kind, name)? else { return Ok(()) };
        (entry.uid, entry.gid) = self.owners.to_inside(stat.st_dev, (entry.uid, entry.gid));
        if stat.st_nlink > 1 && kind != FileType::Directory {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = EntryKind::HardLink(first.clone());
                entry.size = 0;
                entry.xattrs.clear();
                return self.tar.append(&entry, std::io::empty());
            }
            self.links.insert((stat.st_dev, stat.st_ino), name.to_vec());
        }
        match kind {
            FileType::RegularFile if entry.size == 0 || is_kernels(node) => self.unsized_file(node, entry),
            FileType::RegularFile => self.file(node, &entry),
            FileType::Directory if stat.st_dev != self.top && is_kernels(node) => {
                self.tar.append(&entry, std::io::empty())
            }
            FileType::Directory => {
                self.tar.append(&entry, std::io::empty())?;
                self.directory(node, name, depth)
            }
            _ => self.tar.append(&entry, std::io::empty()),
        }
    }

    /// The node was looked at: it is a regular file, and no other is opened.
    fn file(&mut self, node: &OwnedFd, entry: &Entry) -> std::io::Result<()> {
        let file = File::from(reopen(node, OFlags::RDONLY)?);
        let padded = std::io::Read::chain(file, std::io::repeat(0));
        self.tar.append(entry, padded)
    }

    /// What the kernel makes when it is read has no size before.
    fn unsized_file(&mut self, node: &OwnedFd, mut entry: Entry) -> std::io::Result<()> {
        let named = |error: std::io::Error| {
            let text = format!("{}: {error}", String::from_utf8_lossy(&entry.path));
            std::io::Error::new(error.kind(), text)
        };
        let file = File::from(reopen(node, OFlags::RDONLY)?);
        let mut content = Vec::new();
        file.take(MAX_UNSIZED + 1).read_to_end(&mut content).map_err(named)?;
        if content.len() as u64 > MAX_UNSIZED {
            let text = format!("it has no size and more than {MAX_UNSIZED} bytes");
            return Err(named(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text)));
        }
        entry.size = content.len() as u64;
        self.tar.append(&entry, content.as_slice())
    }

    fn directory(&mut self, node: &OwnedFd, name: &[u8], depth: usize) -> std::io::Result<()> {
        if depth >= MAX_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let dir = reopen(node, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names: Vec<Vec<u8>> = Dir::read_from(&dir)?
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_bytes().to_vec()))
            .filter(|name| !matches!(name.as_slice(), b"." | b".."))
            .collect();
        names.sort();
        for child in names {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let child_node = match openat(&dir, child.as_slice(), flags, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                opened => opened?,
            };
            let stat = stat_of(&child_node)?;
            self.node(&child_node, &stat, &[name, b"/", &child].concat(), depth + 1)?;
        }
        Ok(())
    }
}

fn is_kernels(node: &OwnedFd) -> bool {
    fstatfs(node).is_ok_and(|found| KERNELS.contains(&found.f_type))
}

/// Opens what a descriptor names: the magic link leads to that very node, whatever its name is by now.
fn reopen(node: &OwnedFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// `None` for a socket, which means nothing without its process.
fn describe(node: &OwnedFd, stat: &Stat, kind: FileType, name: &[u8]) -> std::io::Result<Option<Entry>> {
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    let kind = match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink(readlinkat(node, "", Vec::new())?.into_bytes()),
        FileType::Fifo => EntryKind::Fifo,
        FileType::CharacterDevice => EntryKind::Character { major: device.0, minor: device.1 },
        FileType::BlockDevice => EntryKind::Block { major: device.0, minor: device.1 },
        _ => return Ok(None),
    };
    let mut path = name.to_vec();
    if kind == EntryKind::Directory {
        path.push(b'/');
    }
    Ok(Some(Entry {
        path,
        size: if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        xattrs: if matches!(kind, EntryKind::Symlink(_)) { Vec::new() } else { xattrs(node) },
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_s: stat.st_mtime,
        mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        sparse: None,
    }))
}

/// File capabilities and what users set; a file system without xattrs has none.
fn xattrs(node: &OwnedFd) -> Xattrs {
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    let mut names = vec![0; MAX_XATTR];
    let length = listxattr(&path, names.as_mut_slice()).unwrap_or(0);
    let wanted = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| *name == b"security.capability" || name.starts_with(b"user."));
    let value = |name: &[u8]| {
        let mut value = vec![0; MAX_XATTR];
        let length = getxattr(&path, name, value.as_mut_slice()).ok()?;
        value.truncate(length);
        Some((name.to_vec(), value))
    };
    wanted.filter_map(value).collect()
}
