//! Carrying out COPY and ADD.

use crate::archive;
use crate::digests::Wanted;
use crate::error::BuildError;
use crate::files::{Dress, Found, Selected, Source, clean};
use crate::fresh;
use crate::graph::{CopyItem, CopyOp, FileData, Input, OneFile};
use crate::shared::Shared;
use crate::solve::{Results, Written};
use crate::users;
use hako_error::{Error, Kind, Result};
use hako_image::layer::{Entry, EntryKind, Limits, Permits, TarWriter, copy_into, make_directories};
use hako_names::{Digest, Hasher};
use hako_snapshot::{MountedTree, Snapshotter};
use rustix::fs::{OFlags, ResolveFlags};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of a stack of layers, kept while they are read.
pub(crate) struct View {
    /// What keeps them; `None` of those that the results of the build keep.
    held: Option<(Arc<dyn Snapshotter>, String)>,
    /// `None` where all that is asked for lies in one directory of the stack.
    _tree: Option<MountedTree>,
    /// Whether that directory is the topmost.
    pub is_topmost: bool,
    pub source: Source,
}

impl View {
    /// All of it.
    pub(crate) fn open(shared: &Shared, layers: &[hako_image::Layer]) -> Result<Self> {
        Self::open_for(shared, layers, "")
    }

    /// What a source argument can name of it.
    pub(crate) fn open_for(shared: &Shared, layers: &[hako_image::Layer], argument: &str) -> Result<Self> {
        let parent = shared.images.unpack_layers(layers)?;
        let snapshots = shared.images.snapshots().clone();
        let key = crate::step::fresh_key();
        let mounts = snapshots.view(&key, parent.as_deref())?;
        let place = fresh::only_place(&mounts.lower, argument);
        let is_topmost = place.is_some() && place == mounts.lower.first();
        let opened = match place {
            // Without overlayfs between: it makes opening a file twice as long.
            Some(place) => Source::stage(place.clone()).map(|source| (source, None)).map_err(Error::from),
            None => snapshots.mounted(&mounts).and_then(|tree| Ok((Source::stage(tree.path())?, Some(tree)))),
        };
        match opened {
            Ok((source, tree)) => Ok(Self { held: Some((snapshots, key)), _tree: tree, is_topmost, source }),
            Err(error) => {
                let _ = snapshots.remove(&key);
                Err(error)
            }
        }
    }
}

impl View {
    /// What a source argument can name of files that are no layer yet; `None` unless all of it lies among them.
    fn of_written(written: &Written, argument: &str) -> Result<Option<Self>> {
        let upper = written.upper.try_clone().map_err(BuildError::io("open", "the files of a step"))?;
        let source = Source::directory(upper);
        let stack: Vec<PathBuf> = iter::once(source.path().to_owned()).chain(written.lower.clone()).collect();
        let is_topmost = fresh::only_place(&stack, argument) == stack.first();
        Ok(is_topmost.then_some(Self { held: None, _tree: None, is_topmost, source }))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some((snapshots, key)) = &self.held {
            let _ = snapshots.remove(key);
        }
    }
}

/// A digest over all that a COPY copies; a source that names nothing is an error.
pub(crate) fn digest(shared: &Shared, op: &CopyOp, results: &Results) -> Result<Digest> {
    let mut hasher = Hasher::new();
    for item in &op.items {
        hasher.update(digest_of(shared, op, item, results)?.hex().as_bytes());
    }
    Ok(hasher.finish())
}

fn digest_of(shared: &Shared, op: &CopyOp, item: &CopyItem, results: &Results) -> Result<Digest> {
    if let Some(digest) = item.digest {
        return Ok(digest);
    }
    let layers = match &item.input {
        Input::File(file) => return Ok(file.digest),
        Input::Files(source) => {
            return source.digest_of(&item.pattern, &op.excludes, op.keeps_parents);
        }
        Input::Node(node) => results.layers(*node)?,
        Input::Scratch => Vec::new(),
    };
    shared.digests.of_copy(shared, &layers, wanted(op, item))
}

/// What is wanted of a node's files, of one that is not done too.
fn found(shared: &Shared, wanted: Wanted, input: &Input, results: &Results) -> Result<(View, Vec<Selected>)> {
    let layers = match input {
        Input::Node(node) => {
            let written = results.written(*node).filter(|_| results.known(*node).is_none());
            if let Some(view) = written.map_or(Ok(None), |it| View::of_written(it, wanted.pattern))? {
                let selected = wanted.select(&view)?;
                return Ok((view, selected));
            }
            results.layers(*node)?
        }
        _ => Vec::new(),
    };
    shared.selections.take(shared, &layers, wanted)
}

/// What a source asks of a stack of layers.
fn wanted<'a>(op: &'a CopyOp, item: &'a CopyItem) -> Wanted<'a> {
    let CopyOp { excludes, keeps_parents, from, .. } = op;
    Wanted { pattern: &item.pattern, excludes, keeps_parents: *keeps_parents, from }
}

/// What a COPY names, found: ready to be copied.
pub(crate) struct Job<'a> {
    op: &'a CopyOp,
    views: HashMap<usize, View>,
    parts: Vec<Part<'a>>,
}

/// What one source named.
enum Part<'a> {
    Tree { item: &'a CopyItem, selected: Vec<Selected> },
    File { item: &'a CopyItem, file: &'a OneFile },
}

impl<'a> Job<'a> {
    /// Finds what is to be copied; a source that names nothing is an error.
    pub(crate) fn find(shared: &Shared, op: &'a CopyOp, results: &Results) -> Result<Self> {
        let mut job = Self { op, views: HashMap::new(), parts: Vec::new() };
        for (number, item) in op.items.iter().enumerate() {
            let selected = match &item.input {
                Input::File(file) => {
                    job.parts.push(Part::File { item, file });
                    continue;
                }
                Input::Files(source) => source.select(&item.pattern, &op.excludes, op.keeps_parents, "")?,
                Input::Node(_) | Input::Scratch => {
                    let (view, selected) = found(shared, wanted(op, item), &item.input, results)?;
                    job.views.insert(number, view);
                    selected
                }
            };
            job.parts.push(Part::Tree { item, selected });
        }
        Ok(job)
    }

    /// The contents of one directory, if that is all that is copied.
    pub(crate) fn contents(&self) -> Result<Option<(&Source, &[Found])>> {
        let [Part::Tree { item, selected }] = self.parts.as_slice() else { return Ok(None) };
        let [one] = selected.as_slice() else { return Ok(None) };
        let is_directory = |first: &Found| {
            first.metadata.is_dir() && first.below.as_os_str().is_empty() && !one.keeps_parents
        };
        if !one.files.first().is_some_and(is_directory) {
            return Ok(None);
        }
        Ok(Some((self.source(0, item)?, &one.files)))
    }

    pub(crate) fn op(&self) -> &CopyOp {
        self.op
    }

    fn source(&self, number: usize, item: &'a CopyItem) -> Result<&Source> {
        match (&item.input, self.views.get(&number)) {
            (Input::Files(source), _) => Ok(source),
            (_, Some(view)) => Ok(&view.source),
            _ => Err(Error::new(Kind::Internal, "a source of COPY was not opened")),
        }
    }

    /// Copies into `root`, one source after the other as BuildKit does: each finds what those before it made. Gives
    /// what may not have been meant.
    pub(crate) fn carry_out(&self, root: &File, epoch_unix_s: Option<i64>) -> Result<Option<String>> {
        let dress = self.dress(root)?;
        let destination = landing(root, &self.op.destination)?;
        let into = Into { root, destination: &destination, dress: &dress, files: Cell::new(0) };
        for (number, part) in self.parts.iter().enumerate() {
            match part {
                Part::File { item, file } => into.file(file, item.unpack, epoch_unix_s)?,
                Part::Tree { item, selected } => {
                    let source = self.source(number, item)?;
                    for one in selected {
                        into.tree(source, one, item.unpack)?;
                    }
                }
            }
        }
        Ok((into.files.get() > 1).then(|| {
            format!(
                "{} files were copied to the one file {:?}, of which the last stays; end it with \"/\" to keep all",
                into.files.get(),
                self.op.destination
            )
        }))
    }

    pub(crate) fn dress(&self, root: &File) -> Result<Dress> {
        let owner = match &self.op.chown {
            Some(text) => {
                Some(users::owner(root, text).map_err(|message| Error::new(Kind::Invalid, message))?)
            }
            None => None,
        };
        Ok(Dress { owner, mode: self.op.chmod.as_ref().map(|(_, mode)| mode.clone()) })
    }
}

/// Where files go.
struct Into<'a> {
    root: &'a File,
    destination: &'a str,
    dress: &'a Dress,
    /// How many became the destination itself.
    files: Cell<usize>,
}

impl Into<'_> {
    fn directory(&self, path: &str) -> Result<File, BuildError> {
        make_directories(self.root, path.as_bytes(), self.dress.owner)
            .map(File::from)
            .map_err(BuildError::io("make the directory", path))
    }

    fn tree(&self, source: &Source, one: &Selected, unpack: bool) -> Result<()> {
        let Some(first) = one.files.first() else { return Ok(()) };
        let is_file = first.metadata.is_file() && first.below.as_os_str().is_empty();
        if unpack && is_file && archive::is_archive(&first.path)? {
            let name = first.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let limits = archive_limits(first.metadata.len());
            return archive::unpack(&self.directory(self.destination)?, &first.path, &name, limits);
        }
        if one.keeps_parents || first.metadata.is_dir() && first.below.as_os_str().is_empty() {
            let directory = self.directory(self.destination)?;
            return send(&directory, |tar| source.pack(&one.files, self.dress, b"", tar));
        }
        let name = Path::new(&one.name).file_name().unwrap_or_default();
        let (parent, own) = self.place(name.as_encoded_bytes());
        let directory = self.directory(parent)?;
        let files: &[Found] = &one.files;
        send(&directory, |tar| source.pack(files, self.dress, &own, tar))
    }

    fn file(&self, file: &OneFile, unpack: bool, epoch_unix_s: Option<i64>) -> Result<()> {
        if let FileData::Disk(dir) = &file.data {
            let path = crate::http::file_of(dir);
            if unpack && archive::is_archive(&path)? {
                let size = path.metadata().map_err(BuildError::io("read", &path))?.len();
                let directory = self.directory(self.destination)?;
                return archive::unpack(&directory, &path, &file.name, archive_limits(size));
            }
        }
        let (parent, own) = self.place(file.name.as_bytes());
        let directory = self.directory(parent)?;
        let (uid, gid) = self.dress.owner.unwrap_or((0, 0));
        let mtime_s = epoch_unix_s.map_or(file.mtime_unix_s, |epoch| epoch.min(file.mtime_unix_s));
        send(&directory, |tar| {
            let (size, data): (u64, Box<dyn Read>) = match &file.data {
                FileData::Bytes(bytes) => (bytes.len() as u64, Box::new(bytes.as_slice())),
                FileData::Disk(dir) => {
                    let path = crate::http::file_of(dir);
                    let data = File::open(&path).map_err(BuildError::io("open", &path))?;
                    (data.metadata().map_err(BuildError::io("read", &path))?.len(), Box::new(data))
                }
            };
            let entry = Entry {
                path: own.clone(),
                kind: EntryKind::File,
                mode: self.dress.mode.as_ref().map_or(file.mode, |mode| mode.apply(file.mode, false)),
                uid,
                gid,
                mtime_s,
                mtime_ns: 0,
                size,
                xattrs: Vec::new(),
                sparse: None,
            };
            tar.append(&entry, data).map_err(BuildError::io("copy", &file.name))
        })
    }

    /// The directory that a file called `name` goes into, and what it is called there.
    fn place(&self, name: &[u8]) -> (&str, Vec<u8>) {
        if self.destination.ends_with('/') || is_directory(self.root, self.destination) {
            return (self.destination, name.to_vec());
        }
        self.files.set(self.files.get() + 1);
        let (parent, own) = self.destination.rsplit_once('/').unwrap_or(("", self.destination));
        (parent, own.as_bytes().to_vec())
    }
}

/// What an archive of `size` bytes may hold. Its names are taken as names below the destination; what is no part of a
/// layer is refused once the layer is written.
fn archive_limits(size: u64) -> Limits {
    Limits::for_blob(size).permitting(Permits::ALL)
}

/// Packs here and unpacks there: the unpacking side knows how to stay inside the root.
pub(crate) fn send(
    directory: &File,
    pack: impl FnOnce(&mut TarWriter<BufWriter<io::PipeWriter>>) -> Result<(), BuildError>,
) -> Result<()> {
    let (reader, writer) = std::io::pipe().map_err(BuildError::io("open", "a pipe"))?;
    // Headers are half a kilobyte each.
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let (packed, applied, drained) = std::thread::scope(|scope| {
        let applying = scope.spawn(move || {
            let applied = copy_into(directory, &mut reader, "the copied files");
            (applied, std::io::copy(&mut reader, &mut std::io::sink()))
        });
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 16, writer));
        let packed = match pack(&mut tar) {
            Ok(()) => tar.finish().map(drop).map_err(BuildError::io("copy", "the files")),
            Err(error) => {
                // The end of the stream.
                drop(tar);
                Err(error)
            }
        };
        let (applied, drained) =
            applying.join().unwrap_or_else(|_| (Err(BuildError::Cancelled.into()), Ok(0)));
        (packed, applied, drained)
    });
    match (packed, applied) {
        // A full disk is why nobody reads the stream any more.
        (Err(_), Err(full)) if full.kind() == Kind::Exhausted => return Err(full),
        // If packing failed, unpacking saw only that its stream was cut short.
        (packed, applied) => {
            packed?;
            applied?;
        }
    }
    drained.map_err(BuildError::io("copy", "the files"))?;
    Ok(())
}

/// Links to follow before they are taken for a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// Where a destination leads: a symlink in its place is written through, also one to what is not there yet.
fn landing(root: &File, destination: &str) -> Result<String, BuildError> {
    let (mut path, end) = match destination.strip_suffix('/') {
        Some(path) => (path.to_owned(), "/"),
        None => (destination.to_owned(), ""),
    };
    for _ in 0..MAX_LINKS {
        let Some(target) = link_at(root, &path) else { return Ok(path + end) };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        path = if target.starts_with('/') { target } else { format!("{parent}/{target}") };
    }
    Err(BuildError::io("follow the links of", destination)(rustix::io::Errno::LOOP.into()))
}

/// Where the symlink at `path` points to; `None` if there is none.
fn link_at(root: &File, path: &str) -> Option<String> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let path = path.trim_matches('/');
    let link = hako_sys::open_resolved(root, path, flags, ResolveFlags::IN_ROOT).ok()?;
    let target = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?;
    Some(target.to_str().ok()?.trim_end_matches('/').to_owned())
}

fn is_directory(root: &File, path: &str) -> bool {
    let path = clean(path);
    let path = if path.is_empty() { "." } else { &path };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    hako_sys::open_resolved(root, path, flags, ResolveFlags::IN_ROOT).is_ok()
}
