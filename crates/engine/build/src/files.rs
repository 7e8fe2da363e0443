//! The files that COPY and ADD read: of the context, or of another stage's root.

use crate::dockerfile::FileMode;
use crate::error::BuildError;
use crate::ignore::Ignore;
use crate::links::{Links, Seen};
use crate::pattern;
use hako_error::{Error, Kind, Result as HakoResult};
use hako_image::layer::{Entry, EntryKind, TarWriter, Xattrs, open_file, xattrs};
use hako_names::{Digest, Hasher};
use rustix::fs::{OFlags, ResolveFlags, major, minor};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

/// From so many files on, they are digested on all processors.
const PARALLEL_FROM: usize = 256;

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

impl Found {
    /// Its content; `None` of what has none.
    pub(crate) fn open(&self) -> Result<Option<File>, BuildError> {
        let kind = self.metadata.file_type();
        if kind.is_dir()
            || kind.is_symlink()
            || kind.is_fifo()
            || kind.is_char_device()
            || kind.is_block_device()
        {
            return Ok(None);
        }
        open_file(&self.path).map(Some).map_err(BuildError::io("open", &self.path))
    }
}

/// A directory that is being walked.
struct Level {
    path: PathBuf,
    below: PathBuf,
    /// Its path in the source.
    name: String,
    /// Where it is among what was found.
    place: usize,
    /// It is there only for what in it comes back.
    is_left_out: bool,
    /// What is left of it.
    children: std::vec::IntoIter<(OsString, Metadata)>,
}

/// What is set on everything copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dress {
    pub owner: Option<(u32, u32)>,
    pub mode: Option<FileMode>,
}

/// One path that a source argument named.
#[derive(Debug)]
pub(crate) struct Selected {
    /// Its path in the source.
    pub name: String,
    /// It and all below it.
    pub files: Vec<Found>,
    /// Whether `below` of the files says where they go, with the directories above them: `--parents`.
    pub keeps_parents: bool,
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

    /// An open directory, wherever it is by now.
    pub(crate) fn directory(root: File) -> Self {
        let path = format!("/proc/self/fd/{}", root.as_raw_fd()).into();
        Self { root, path, ignore: Ignore::default(), is_context: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a source argument names, without what `excludes` matches. `from` is what messages call the source.
    pub(crate) fn select(
        &self,
        argument: &str,
        excludes: &[String],
        keeps_parents: bool,
        from: &str,
    ) -> HakoResult<Vec<Selected>> {
        let (pivot, rest) = match argument.split_once("/./") {
            Some((pivot, rest)) if keeps_parents => (clean(pivot), rest),
            _ => (String::new(), argument),
        };
        let pattern = if pivot.is_empty() { rest.to_owned() } else { format!("{pivot}/{rest}") };
        // A pattern that matches nothing copies nothing, as in BuildKit; a file that is named has to be there.
        let mut selected = Vec::new();
        for name in self.named(&pattern)? {
            let is_ignored = self.is_ignored(&name);
            if self.resolve(&name).is_err() || is_ignored && self.walk(&name)?.is_empty() {
                return Err(nothing(argument, from, is_ignored));
            }
            let mut files = self.walk(&name)?;
            if !excludes.is_empty() {
                let patterns = Ignore::parse(&excludes.join("\n"));
                files.retain(|file| !is_excluded(&name, file, &patterns));
            }
            if keeps_parents {
                files = self.with_parents(&pivot, &name, files)?;
            }
            selected.push(Selected { name, files, keeps_parents });
        }
        Ok(selected)
    }

    /// Puts the directories between the pivot and the named path in front, and all paths below the pivot.
    fn with_parents(&self, pivot: &str, name: &str, files: Vec<Found>) -> Result<Vec<Found>, BuildError> {
        let below = name.strip_prefix(pivot).unwrap_or(name).trim_start_matches('/');
        let mut all = Vec::new();
        for (at, _) in below.match_indices('/') {
            let parent = &below[..at];
            let real = if pivot.is_empty() { parent.to_owned() } else { format!("{pivot}/{parent}") };
            let path = self.resolve(&real).map_err(BuildError::io("find", &real))?;
            let metadata = fs::symlink_metadata(&path).map_err(BuildError::io("read", &path))?;
            all.push(Found { path, below: parent.into(), metadata });
        }
        let under = |file: Found| {
            let below = if file.below.as_os_str().is_empty() {
                below.into()
            } else {
                Path::new(below).join(&file.below)
            };
            Found { below, ..file }
        };
        all.extend(files.into_iter().map(under));
        Ok(all)
    }

    /// A digest over what a source argument names; their times do not count.
    pub(crate) fn digest_of(
        &self,
        argument: &str,
        excludes: &[String],
        keeps_parents: bool,
    ) -> HakoResult<Digest> {
        self.digest_all(&self.select(argument, excludes, keeps_parents, "")?)
    }

    pub(crate) fn digest_all(&self, selected: &[Selected]) -> HakoResult<Digest> {
        let mut hasher = Hasher::new();
        for one in selected {
            hasher.update(one.name.as_bytes());
            hasher.update(self.digest(&one.files)?.hex().as_bytes());
        }
        Ok(hasher.finish())
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
        if part == "**" {
            return self.directories(dir, next);
        }
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

    /// A directory and all below it, links not followed.
    fn directories(&self, dir: &str, next: &mut Vec<String>) -> Result<(), BuildError> {
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            let real = self.resolve(&dir).map_err(BuildError::io("find", &dir))?;
            for entry in fs::read_dir(&real).map_err(BuildError::io("list", &real))? {
                let entry = entry.map_err(BuildError::io("list", &real))?;
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if let Some(name) = entry.file_name().to_str().filter(|_| is_dir) {
                    open.push(if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") });
                }
            }
            next.push(dir);
        }
        Ok(())
    }

    /// Where a path really is, with symlinks taken as if this directory were the root.
    pub(crate) fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { "." } else { path };
        let fd = hako_sys::open_resolved(&self.root, path, OFlags::PATH, resolve)?;
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
        let metadata = fs::symlink_metadata(&real).map_err(BuildError::io("read", &real))?;
        // No recursion: who made the tree may have made it deeper than the stack.
        let mut open = Vec::from_iter(self.begin(real, PathBuf::new(), name, metadata, &mut found)?);
        while let Some(level) = open.last_mut() {
            let Some((child, metadata)) = level.children.next() else {
                if level.is_left_out && found.len() == level.place + 1 {
                    found.pop();
                }
                open.pop();
                continue;
            };
            let text = child.to_string_lossy();
            let name =
                if level.name.is_empty() { text.into_owned() } else { format!("{}/{text}", level.name) };
            let (path, below) = (level.path.join(&child), level.below.join(&child));
            open.extend(self.begin(path, below, name, metadata, &mut found)?);
        }
        Ok(found)
    }

    /// Takes a file along, unless .dockerignore leaves it out; of a directory, its children are next.
    fn begin(
        &self,
        path: PathBuf,
        below: PathBuf,
        name: String,
        metadata: Metadata,
        found: &mut Vec<Found>,
    ) -> Result<Option<Level>, BuildError> {
        let is_left_out = self.excludes(&name);
        let is_dir = metadata.is_dir();
        if is_left_out && !(is_dir && self.ignore.may_reenter()) {
            return Ok(None);
        }
        let place = found.len();
        if !metadata.file_type().is_socket() {
            found.push(Found { path: path.clone(), below: below.clone(), metadata });
        }
        if !is_dir {
            return Ok(None);
        }
        let children = children(&path)?.into_iter();
        Ok(Some(Level { path, below, name, place, is_left_out, children }))
    }

    /// A digest over all that a copy of these files would carry, their times excepted.
    fn digest(&self, files: &[Found]) -> Result<Digest, BuildError> {
        let mut seen = Seen::default();
        let before: Vec<Option<usize>> = files.iter().map(|file| seen.before(&file.metadata)).collect();
        let threads =
            if files.len() < PARALLEL_FROM { 1 } else { available_parallelism().map_or(1, Into::into) };
        let share = files.len().div_ceil(threads).max(1);
        let parts = std::thread::scope(|scope| {
            let shares = files.chunks(share).zip(before.chunks(share));
            let digesting: Vec<_> =
                shares.map(|(files, before)| scope.spawn(|| self.digest_each(files, before))).collect();
            digesting
                .into_iter()
                .map(|part| part.join().unwrap_or(Err(BuildError::Cancelled)))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let mut hasher = Hasher::new();
        parts.iter().flatten().for_each(|digest| hasher.update(digest.hex().as_bytes()));
        Ok(hasher.finish())
    }

    /// `before` says which file each is another name of.
    fn digest_each(&self, files: &[Found], before: &[Option<usize>]) -> Result<Vec<Digest>, BuildError> {
        let mut buffer = vec![0; 1 << 16];
        let digest = |(file, before): (&Found, &Option<usize>)| {
            let mut hasher = Hasher::new();
            hasher.update(file.below.as_os_str().as_bytes());
            match before {
                Some(number) => hasher.update(format!("\nanother name of {number}").as_bytes()),
                None => self.digest_one(file, &mut hasher, &mut buffer)?,
            }
            Ok(hasher.finish())
        };
        files.iter().zip(before).map(digest).collect()
    }

    fn digest_one(&self, file: &Found, hasher: &mut Hasher, buffer: &mut [u8]) -> Result<(), BuildError> {
        let data = file.open()?;
        let entry = self.entry(file, data.as_ref(), &Dress::default(), b"")?;
        let Some(mut data) = data.filter(|_| entry.size > 0) else {
            describe(entry, None, hasher);
            return Ok(());
        };
        let mut content = Hasher::new();
        loop {
            let count = data.read(buffer).map_err(BuildError::io("read", "a file of the context"))?;
            if count == 0 {
                describe(entry, Some(content.finish()), hasher);
                return Ok(());
            }
            content.update(&buffer[..count]);
        }
    }

    /// Writes the files as a tar whose names start with `name`; without one the topmost is left out.
    pub(crate) fn pack(
        &self,
        files: &[Found],
        dress: &Dress,
        name: &[u8],
        tar: &mut TarWriter<impl Write>,
    ) -> Result<(), BuildError> {
        let mut links = Links::default();
        for file in files {
            if name.is_empty() && file.below.as_os_str().is_empty() {
                continue;
            }
            let data = file.open()?;
            let mut entry = self.entry(file, data.as_ref(), dress, name)?;
            links.settle(&mut entry, &file.metadata);
            let packed = match data {
                Some(data) => tar.append(&entry, data),
                None => tar.append(&entry, io::empty()),
            };
            packed.map_err(BuildError::io("copy", &file.path))?;
        }
        Ok(())
    }

    /// A file as an archive has it, below `name`; `data` is what [`Found::open`] gave.
    pub(crate) fn entry(
        &self,
        file: &Found,
        data: Option<&File>,
        dress: &Dress,
        name: &[u8],
    ) -> Result<Entry, BuildError> {
        let metadata = &file.metadata;
        let mut path = name.to_vec();
        if !path.is_empty() && !file.below.as_os_str().is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(file.below.as_os_str().as_bytes());
        let kind = kind(&file.path, metadata)?;
        let own = if self.is_context { (0, 0) } else { (metadata.uid(), metadata.gid()) };
        let (uid, gid) = dress.owner.unwrap_or(own);
        let own = metadata.mode() & 0o7777;
        let mode = match &dress.mode {
            Some(mode) if !metadata.is_symlink() => mode.apply(own, metadata.is_dir()),
            _ => own,
        };
        Ok(Entry {
            path,
            size: if kind == EntryKind::File { metadata.len() } else { 0 },
            kind,
            mode,
            uid,
            gid,
            mtime_s: metadata.mtime(),
            mtime_ns: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            xattrs: if self.is_context { Vec::new() } else { own_xattrs(&file.path, data)? },
            sparse: None,
        })
    }
}

/// What of a file counts: all but its times.
pub(crate) fn describe(mut entry: Entry, content: Option<Digest>, hasher: &mut Hasher) {
    (entry.mtime_s, entry.mtime_ns) = (0, 0);
    hasher.update(format!("\n{entry:?}\n").as_bytes());
    if let Some(content) = content {
        hasher.update(content.hex().as_bytes());
    }
}

/// What a directory holds, sorted by name. Metadata is asked for by the open directory: paths may be long.
fn children(path: &Path) -> Result<Vec<(OsString, Metadata)>, BuildError> {
    let mut children = Vec::new();
    for entry in fs::read_dir(path).map_err(BuildError::io("list", path))? {
        let entry = entry.map_err(BuildError::io("list", path))?;
        let metadata = entry.metadata().map_err(BuildError::io("read", &entry.path()))?;
        children.push((entry.file_name(), metadata));
    }
    children.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(children)
}

/// Patterns match paths below the directory that was named, or the file that was named itself.
fn is_excluded(name: &str, file: &Found, excludes: &Ignore) -> bool {
    let below = file.below.to_string_lossy();
    if below.is_empty() {
        let base = name.rsplit('/').next().unwrap_or(name);
        return !file.metadata.is_dir() && (excludes.excludes(name) || excludes.excludes(base));
    }
    excludes.excludes(&below)
}

fn nothing(argument: &str, from: &str, is_ignored: bool) -> Error {
    let place = match from {
        "" if is_ignored => "in the build context: .dockerignore leaves it out".to_owned(),
        "" => "in the build context".to_owned(),
        from => format!("in {from}"),
    };
    Error::new(Kind::Invalid, format!("there is no {argument:?} {place}"))
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

/// A file's xattrs, sorted. A layer's own directory shows the marks of overlayfs, a mounted tree does not.
fn own_xattrs(path: &Path, data: Option<&File>) -> Result<Xattrs, BuildError> {
    let mut own = xattrs(path, data).map_err(BuildError::io("read the xattrs of", path))?;
    own.retain(|(name, _)| !name.starts_with(b"trusted.overlay."));
    own.sort();
    Ok(own)
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

/// `path` as WORKDIR and COPY see it in the directory `now`: one that is relative starts there.
#[must_use]
pub fn absolute(now: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{now}/{path}") };
    format!("/{}", clean(&joined))
}
