//! The files that COPY and ADD read: of the context, or of another stage's root.

use crate::error::BuildError;
use crate::ignore::Ignore;
use crate::pattern;
use hako_image::layer::{Entry, EntryKind, TarWriter, Xattrs};
use hako_names::{Digest, Hasher};
use rustix::fs::{Mode, OFlags, ResolveFlags, lgetxattr, llistxattr, major, minor, openat2};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A directory that files are copied from. Nothing outside of it can be reached.
#[derive(Debug)]
pub(crate) struct Source {
    root: File,
    path: PathBuf,
    ignore: Ignore,
    /// Files of the context belong to root; those of a stage keep owner and xattrs.
    is_context: bool,
}

/// One file to copy.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below what was named, empty for that itself.
    pub below: PathBuf,
    pub metadata: Metadata,
}

/// What is set on everything copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dress {
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
}

impl Source {
    /// The build context, without what .dockerignore leaves out.
    pub(crate) fn context(path: &Path, ignore: Ignore) -> Result<Self, BuildError> {
        let hint = "the context is the directory with the files to copy";
        let failed =
            |source| BuildError::Input { action: "open the build context", path: path.into(), hint, source };
        let path = path.canonicalize().map_err(failed)?;
        let root = File::open(&path).map_err(failed)?;
        if !root.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root, path, ignore, is_context: true })
    }

    /// A mounted root file system; `path` reaches it as long as the mount lives.
    pub(crate) fn stage(path: PathBuf) -> Result<Self, BuildError> {
        let root = File::open(&path).map_err(BuildError::io("open", &path))?;
        Ok(Self { root, path, ignore: Ignore::default(), is_context: false })
    }

    /// The paths that a source argument names, patterns expanded, sorted.
    pub(crate) fn named(&self, argument: &str) -> Result<Vec<String>, BuildError> {
        let argument = clean(argument);
        if !pattern::is_pattern(&argument) {
            return Ok(vec![argument]);
        }
        let mut found = vec![String::new()];
        for part in argument.split('/') {
            let mut next = Vec::new();
            for dir in found {
                self.expand_part(&dir, part, &mut next)?;
            }
            found = next;
        }
        found.retain(|path| !self.excludes(path));
        found.sort();
        Ok(found)
    }

    fn expand_part(&self, dir: &str, part: &str, next: &mut Vec<String>) -> Result<(), BuildError> {
        let join = |name: &str| {
            if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
        };
        if !pattern::is_pattern(part) {
            let path = join(part);
            if self.resolve(&path).is_ok() {
                next.push(path);
            }
            return Ok(());
        }
        let Ok(real) = self.resolve(dir) else {
            return Ok(());
        };
        if !real.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&real).map_err(BuildError::io("list", &real))? {
            let name = entry.map_err(BuildError::io("list", &real))?.file_name();
            if let Some(name) = name.to_str().filter(|name| pattern::matches(part, name)) {
                next.push(join(name));
            }
        }
        Ok(())
    }

    /// Where a path really is, with symlinks taken as if this directory were the root.
    pub(crate) fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { "." } else { path };
        let fd = openat2(&self.root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        let link = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}"));
        let (root, real) = (link(self.root.as_raw_fd())?, link(fd.as_raw_fd())?);
        let below = real.strip_prefix(&root).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(self.path.join(below))
    }

    fn excludes(&self, path: &str) -> bool {
        !path.is_empty() && self.ignore.excludes(path)
    }

    /// Whether .dockerignore is why a path is not there.
    pub(crate) fn is_ignored(&self, path: &str) -> bool {
        self.excludes(path)
    }

    /// A path and all below it, sorted, parents first.
    pub(crate) fn walk(&self, path: &str) -> Result<Vec<Found>, BuildError> {
        let real = self.resolve(path).map_err(BuildError::io("find", path))?;
        // .dockerignore speaks of where a file lies, not of the link that was named.
        let name = real.strip_prefix(&self.path).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let mut found = Vec::new();
        self.collect(real, PathBuf::new(), &name, &mut found)?;
        Ok(found)
    }

    fn collect(
        &self,
        path: PathBuf,
        below: PathBuf,
        name: &str,
        found: &mut Vec<Found>,
    ) -> Result<(), BuildError> {
        let is_left_out = self.excludes(name);
        let metadata = fs::symlink_metadata(&path).map_err(BuildError::io("read", &path))?;
        let is_dir = metadata.is_dir();
        if is_left_out && !(is_dir && self.ignore.may_reenter()) {
            return Ok(());
        }
        let place = found.len();
        if !metadata.file_type().is_socket() {
            found.push(Found { path: path.clone(), below: below.clone(), metadata });
        }
        if is_dir {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).map_err(BuildError::io("list", &path))? {
                names.push(entry.map_err(BuildError::io("list", &path))?.file_name());
            }
            names.sort();
            for child in names {
                let text = child.to_string_lossy();
                let child_name = if name.is_empty() { text.into_owned() } else { format!("{name}/{text}") };
                self.collect(path.join(&child), below.join(&child), &child_name, found)?;
            }
            if is_left_out && found.len() == place + 1 {
                found.pop();
            }
        }
        Ok(())
    }

    /// A digest over all that a copy of these files would carry, their times excepted.
    pub(crate) fn digest(&self, files: &[Found]) -> Result<Digest, BuildError> {
        let mut hasher = Hasher::new();
        for file in files {
            let mut entry = self.entry(file, &Dress::default(), b"")?;
            (entry.mtime_s, entry.mtime_ns) = (0, 0);
            hasher.update(format!("{entry:?}\n").as_bytes());
            hasher.update(file.below.as_os_str().as_bytes());
            if entry.kind == EntryKind::File {
                let mut content = Hasher::new();
                let mut file = File::open(&file.path).map_err(BuildError::io("open", &file.path))?;
                let mut buffer = vec![0; 1 << 16];
                loop {
                    let count =
                        file.read(&mut buffer).map_err(BuildError::io("read", "a file of the context"))?;
                    if count == 0 {
                        break;
                    }
                    content.update(&buffer[..count]);
                }
                hasher.update(content.finish().hex().as_bytes());
            }
        }
        Ok(hasher.finish())
    }

    /// Writes the files as a tar whose names start with `name`; without one the topmost is left out.
    pub(crate) fn pack(
        &self,
        files: &[Found],
        dress: &Dress,
        name: &[u8],
        tar: &mut TarWriter<impl Write>,
    ) -> Result<(), BuildError> {
        for file in files {
            if name.is_empty() && file.below.as_os_str().is_empty() {
                continue;
            }
            let entry = self.entry(file, dress, name)?;
            let packed = if entry.kind == EntryKind::File {
                File::open(&file.path).and_then(|data| tar.append(&entry, data))
            } else {
                tar.append(&entry, io::empty())
            };
            packed.map_err(BuildError::io("copy", &file.path))?;
        }
        Ok(())
    }

    fn entry(&self, file: &Found, dress: &Dress, name: &[u8]) -> Result<Entry, BuildError> {
        let metadata = &file.metadata;
        let mut path = name.to_vec();
        if !path.is_empty() && !file.below.as_os_str().is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(file.below.as_os_str().as_bytes());
        let kind = kind(&file.path, metadata)?;
        let own = if self.is_context { (0, 0) } else { (metadata.uid(), metadata.gid()) };
        let (uid, gid) = dress.owner.unwrap_or(own);
        let mode = dress.mode.filter(|_| !metadata.is_symlink()).unwrap_or(metadata.mode() & 0o7777);
        Ok(Entry {
            path,
            size: if kind == EntryKind::File { metadata.len() } else { 0 },
            kind,
            mode,
            uid,
            gid,
            mtime_s: metadata.mtime(),
            mtime_ns: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            xattrs: if self.is_context { Vec::new() } else { xattrs(&file.path)? },
            sparse: None,
        })
    }
}

fn kind(path: &Path, metadata: &Metadata) -> Result<EntryKind, BuildError> {
    let file_type = metadata.file_type();
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    Ok(if file_type.is_dir() {
        EntryKind::Directory
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).map_err(BuildError::io("read the link", path))?;
        EntryKind::Symlink(target.into_os_string().into_vec())
    } else if file_type.is_fifo() {
        EntryKind::Fifo
    } else if file_type.is_char_device() {
        EntryKind::Character { major, minor }
    } else if file_type.is_block_device() {
        EntryKind::Block { major, minor }
    } else {
        EntryKind::File
    })
}

fn xattrs(path: &Path) -> Result<Xattrs, BuildError> {
    let failed = |error: rustix::io::Errno| BuildError::io("read the xattrs of", path)(error.into());
    let mut names = Vec::with_capacity(1 << 16);
    match llistxattr(path, rustix::buffer::spare_capacity(&mut names)) {
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(1 << 16);
        lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).map_err(failed)?;
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Brings a source argument to the form `a/b`; `..` cannot leave the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
