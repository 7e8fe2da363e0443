//! COPY and ADD.

use crate::dockerfile::Copy;
use crate::error::BuildError;
use crate::files::{Dress, Found, Source, clean};
use crate::shared::Shared;
use crate::state::State;
use crate::users;
use hako_error::{Error, Kind, Result};
use hako_image::layer::{Decoder, Limits, TarWriter, apply, make_directories, sniff};
use hako_names::{Digest, Hasher};
use hako_oci::media_type::Compression;
use hako_snapshot::{MountedTree, Mounts, Snapshotter};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;
use std::sync::Arc;

/// Files of another stage or image, kept mounted while they are copied.
pub(crate) struct View {
    snapshots: Arc<dyn Snapshotter>,
    key: String,
    _tree: MountedTree,
    pub source: Source,
}

impl View {
    pub(crate) fn open(shared: &Shared, layers: &[hako_image::Layer]) -> Result<Self> {
        let parent = shared.images.unpack_layers(layers)?;
        let snapshots = shared.images.snapshots().clone();
        let key = crate::stage::fresh_key();
        let mounts = snapshots.view(&key, parent.as_deref())?;
        let opened = snapshots.mounted(&mounts).and_then(|tree| Ok((Source::stage(tree.path())?, tree)));
        match opened {
            Ok((source, tree)) => Ok(Self { snapshots, key, _tree: tree, source }),
            Err(error) => {
                let _ = snapshots.remove(&key);
                Err(error)
            }
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.snapshots.remove(&self.key);
    }
}

/// A COPY with its variables expanded and its files found.
pub(crate) struct Job<'a> {
    pub copy: Copy,
    source: &'a Source,
    sources: Vec<(String, Vec<Found>)>,
    /// A digest over all that is copied.
    pub digest: Digest,
}

impl<'a> Job<'a> {
    /// Finds what is to be copied; a source that names nothing is an error.
    pub(crate) fn find(copy: Copy, source: &'a Source) -> Result<Self> {
        let mut sources = Vec::new();
        for argument in &copy.sources {
            let names = source.named(argument)?;
            if names.is_empty() {
                return Err(nothing(&copy, argument, false));
            }
            for name in names {
                if source.resolve(&name).is_err()
                    || source.is_ignored(&name) && source.walk(&name)?.is_empty()
                {
                    return Err(nothing(&copy, argument, source.is_ignored(&name)));
                }
                let files = source.walk(&name)?;
                sources.push((name, files));
            }
        }
        let mut hasher = Hasher::new();
        for (name, files) in &sources {
            hasher.update(name.as_bytes());
            hasher.update(source.digest(files)?.hex().as_bytes());
        }
        Ok(Self { copy, source, sources, digest: hasher.finish() })
    }

    /// Copies into the snapshot with those mounts.
    pub(crate) fn carry_out(&self, shared: &Shared, state: &State, mounts: &Mounts) -> Result<()> {
        let tree = shared.images.snapshots().mounted(mounts)?;
        let root = File::open(tree.path()).map_err(BuildError::io("open the root of", "a step"))?;
        let dress = self.dress(&root)?;
        let destination = state.absolute(&self.copy.destination);
        let text = self.copy.destination.as_str();
        let is_directory = text.ends_with('/')
            || matches!(text, "." | "..")
            || text.ends_with("/.")
            || self.sources.len() > 1
            || is_directory(&root, &destination);
        for (name, files) in &self.sources {
            self.one(&root, &destination, is_directory, name, files, &dress)?;
        }
        Ok(())
    }

    fn dress(&self, root: &File) -> Result<Dress> {
        let owner = match &self.copy.chown {
            Some(text) => {
                let identity =
                    users::resolve(root, text).map_err(|message| Error::new(Kind::Invalid, message))?;
                // Docker gives the group the user's number if only that is said.
                let gid =
                    if text.contains(':') || identity.home.is_some() { identity.gid } else { identity.uid };
                Some((identity.uid, gid))
            }
            None => None,
        };
        let mode = self.copy.chmod.as_deref().map(|mode| u32::from_str_radix(mode, 8)).transpose();
        let mode = mode.map_err(|_| Error::new(Kind::Invalid, "--chmod is not an octal mode such as 755"))?;
        Ok(Dress { owner, mode })
    }

    fn one(
        &self,
        root: &File,
        destination: &str,
        is_directory: bool,
        name: &str,
        files: &[Found],
        dress: &Dress,
    ) -> Result<()> {
        let Some(first) = files.first() else { return Ok(()) };
        let directory = |path: &str| {
            make_directories(root, path.as_bytes(), dress.owner)
                .map(File::from)
                .map_err(BuildError::io("make the directory", path))
        };
        if first.metadata.is_dir() {
            return self.send(&directory(destination)?, files, dress, b"");
        }
        if self.copy.is_add && first.metadata.is_file() && is_tar(&first.path)? {
            return unpack(&directory(destination)?, &first.path);
        }
        let (parent, own) = destination.rsplit_once('/').unwrap_or(("", destination));
        let name = Path::new(name).file_name().unwrap_or_default();
        let (parent, own) =
            if is_directory { (destination, name.as_encoded_bytes()) } else { (parent, own.as_bytes()) };
        self.send(&directory(parent)?, files, dress, own)
    }

    /// Packs here and unpacks there: the unpacking side knows how to stay inside the root.
    fn send(&self, directory: &File, files: &[Found], dress: &Dress, name: &[u8]) -> Result<()> {
        let (reader, writer) = std::io::pipe().map_err(BuildError::io("open", "a pipe"))?;
        std::thread::scope(|scope| {
            let packing = scope.spawn(move || -> Result<(), BuildError> {
                let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 16, writer));
                self.source.pack(files, dress, name, &mut tar)?;
                tar.finish().map(drop).map_err(BuildError::io("copy", "the files"))
            });
            let limits = Limits { bytes: u64::MAX, entries: u64::MAX };
            let mut reader = reader;
            let applied = apply(directory, &mut reader, "the copied files", limits);
            let drained = std::io::copy(&mut reader, &mut std::io::sink());
            drop(reader);
            let packed = packing.join().unwrap_or(Err(BuildError::Cancelled));
            // If packing failed, unpacking saw only that its stream was cut short.
            packed?;
            applied?;
            drained.map_err(BuildError::io("copy", "the files"))?;
            Ok(())
        })
    }
}

fn nothing(copy: &Copy, argument: &str, is_ignored: bool) -> Error {
    let place = match &copy.from {
        Some(from) => format!("in {from}"),
        None if is_ignored => "in the build context: .dockerignore leaves it out".to_owned(),
        None => "in the build context".to_owned(),
    };
    Error::new(Kind::Invalid, format!("there is no {argument:?} {place}"))
}

fn is_directory(root: &File, path: &str) -> bool {
    let path = clean(path);
    let path = if path.is_empty() { "." } else { &path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
}

/// Whether ADD unpacks the file: a tar, plain, gzip or zstd.
fn is_tar(path: &Path) -> Result<bool> {
    let file = File::open(path).map_err(BuildError::io("open", path))?;
    let (compression, reader) = sniff(file)?;
    let mut head = [0; 512];
    let is_whole = Decoder::new(reader, compression)?.read_exact(&mut head).is_ok();
    let compressed_otherwise = compression == Compression::None
        && (head.starts_with(b"BZh") || head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]));
    if compressed_otherwise && path.to_string_lossy().contains(".tar.") {
        let message =
            format!("ADD cannot unpack {path:?}: bzip2 and xz are not implemented, use gzip or zstd");
        return Err(Error::new(Kind::Unimplemented, message));
    }
    Ok(is_whole && &head[257..262] == b"ustar")
}

fn unpack(directory: &File, path: &Path) -> Result<()> {
    let file = File::open(path).map_err(BuildError::io("open", path))?;
    let size = file.metadata().map_err(BuildError::io("read", path))?.len();
    let (compression, reader) = sniff(file)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    apply(directory, Decoder::new(reader, compression)?, &name, Limits::for_blob(size))?;
    Ok(())
}
