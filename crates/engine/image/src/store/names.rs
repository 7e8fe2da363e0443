//! Which name points to which manifest: one small file a name, replaced by rename.

use crate::ImageError;
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<ImageRef>,
    manifest: Digest,
    /// The index that the name stands for, where the manifest is one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<Digest>,
}

/// The table of names, in memory and as files.
#[derive(Debug)]
pub(super) struct Names {
    named_dir: PathBuf,
    unnamed_dir: PathBuf,
    named: BTreeMap<ImageRef, Digest>,
    /// By manifest, with the index that its last name stood for.
    unnamed: BTreeMap<Digest, Option<Digest>>,
    /// The indexes that names stand for.
    indexes: BTreeMap<ImageRef, Digest>,
    /// Records that what is changed now will ask for.
    begun: Vec<Begun>,
}

/// A record whose bytes are on their way to the disk; nobody sees it before it gets its place.
#[derive(Debug)]
pub(super) struct Begun {
    place: PathBuf,
    new: PathBuf,
    bytes: Vec<u8>,
    file: File,
}

impl Begun {
    fn new(place: &Path, bytes: Vec<u8>) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let new = place.with_extension(format!("{}.new", NEXT.fetch_add(1, Ordering::Relaxed)));
        let begun = Self { place: place.to_owned(), file: File::create(&new)?, new, bytes };
        (&begun.file).write_all(&begun.bytes)?;
        // What fails here fails again when it is waited for.
        let _ = hako_sys::begin_writeback(begun.file.as_fd());
        Ok(begun)
    }

    fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.new, &self.place)?;
        sync_parent(&self.place)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // It is not there any more where it got its place.
        let _ = fs::remove_file(&self.new);
    }
}

impl Names {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let (named_dir, unnamed_dir) = (dir.join("names"), dir.join("unnamed"));
        let mut names = Self {
            named_dir: named_dir.clone(),
            unnamed_dir: unnamed_dir.clone(),
            named: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            indexes: BTreeMap::new(),
            begun: Vec::new(),
        };
        for dir in [&named_dir, &unnamed_dir] {
            fs::create_dir_all(dir).map_err(ImageError::io("create", dir))?;
            for entry in fs::read_dir(dir).map_err(ImageError::io("list", dir))? {
                let path = entry.map_err(ImageError::io("list", dir))?.path();
                names.read_record(&path)?;
            }
        }
        Ok(names)
    }

    fn read_record(&mut self, path: &Path) -> Result<()> {
        if path.extension().is_none_or(|extension| extension != "json") {
            return Ok(fs::remove_file(path).map_err(ImageError::io("remove", path))?);
        }
        let bytes = fs::read(path).map_err(ImageError::io("read", path))?;
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|source| ImageError::Document { what: path.display().to_string(), source })?;
        let Some(name) = record.name else {
            self.unnamed.insert(record.manifest, record.index);
            return Ok(());
        };
        self.indexes.extend(record.index.map(|index| (name.clone(), index)));
        self.named.insert(name, record.manifest);
        Ok(())
    }

    pub(super) fn get(&self, name: &ImageRef) -> Option<Digest> {
        self.named.get(name).copied()
    }

    /// The manifests that a registry's digests were resolved to, by `repository@digest`.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.named.keys().filter_map(ImageRef::digest)
    }

    /// Every manifest once.
    pub(super) fn manifests(&self) -> BTreeSet<Digest> {
        self.named.values().chain(self.unnamed.keys()).copied().collect()
    }

    /// The index that a name stands for.
    pub(super) fn index_of(&self, name: &ImageRef) -> Option<Digest> {
        self.indexes.get(name).copied()
    }

    /// An index that a name of a manifest stands for, or that its last name stood for.
    pub(super) fn index_with(&self, manifest: Digest) -> Option<Digest> {
        let unnamed = self.unnamed.get(&manifest).copied().flatten();
        unnamed.or_else(|| self.pointing_to(manifest).find_map(|name| self.index_of(name)))
    }

    /// The manifest that names of an index point to.
    pub(super) fn manifest_of(&self, index: Digest) -> Option<Digest> {
        let name = self.indexes.iter().find(|(_, known)| **known == index).map(|(name, _)| name);
        let unnamed = || self.unnamed.iter().find(|(_, known)| **known == Some(index)).map(|(it, _)| *it);
        name.and_then(|name| self.get(name)).or_else(unnamed)
    }

    /// Every index once.
    pub(super) fn indexes(&self) -> BTreeSet<Digest> {
        self.indexes.values().copied().chain(self.unnamed.values().copied().flatten()).collect()
    }

    /// The tags that point to a manifest, sorted.
    pub(super) fn names_of(&self, manifest: Digest) -> Vec<ImageRef> {
        self.pointing_to(manifest).filter(|name| name.digest().is_none()).cloned().collect()
    }

    /// The `repository@digest` that a manifest was pulled or pushed as, sorted.
    pub(super) fn digests_of(&self, manifest: Digest) -> Vec<ImageRef> {
        self.pointing_to(manifest).filter(|name| name.digest().is_some()).cloned().collect()
    }

    fn pointing_to(&self, manifest: Digest) -> impl Iterator<Item = &ImageRef> {
        self.named.iter().filter(move |(_, digest)| **digest == manifest).map(|(name, _)| name)
    }

    /// Whether a registry's digest in the repository of `name` is known.
    pub(super) fn knows_repository(&self, name: &ImageRef) -> bool {
        let is_there =
            |known: &ImageRef| (known.registry(), known.repository()) == (name.registry(), name.repository());
        self.named.keys().any(|known| known.digest().is_some() && is_there(known))
    }

    /// Remembers what a registry calls a manifest, whose document the caller has compared with the digest.
    pub(super) fn set_digest(&mut self, name: &ImageRef, manifest: Digest) -> Result<()> {
        if self.get(name) == Some(manifest) {
            return Ok(());
        }
        self.write(&self.path(name), &Record { name: Some(name.clone()), manifest, index: None })?;
        self.named.insert(name.clone(), manifest);
        Ok(())
    }

    /// Points `name` to `manifest`, one of `index` if that is given. What it pointed to before is kept as unnamed, if
    /// this was its last name.
    pub(super) fn set(&mut self, name: &ImageRef, manifest: Digest, index: Option<Digest>) -> Result<()> {
        if name.digest().is_some() {
            // A digest is what the bytes say, and nobody's to give.
            let reason = "a name for an image has no digest; the image is found by its own";
            return Err(ImageError::Tag { text: name.to_string(), reason }.into());
        }
        if name.familiar_name() == "sha256" {
            let reason = "refusing to create an ambiguous tag using digest algorithm as name";
            return Err(ImageError::Tag { text: name.to_string(), reason }.into());
        }
        if self.get(name) == Some(manifest) && self.index_of(name) == index {
            return self.forget(manifest);
        }
        let previous = self.get(name).filter(|previous| *previous != manifest);
        if let Some(previous) = previous.filter(|previous| self.names_of(*previous).len() == 1) {
            self.keep(previous, self.index_of(name))?;
        }
        self.write(&self.path(name), &Record { name: Some(name.clone()), manifest, index })?;
        self.named.insert(name.clone(), manifest);
        self.indexes.remove(name);
        self.indexes.extend(index.map(|index| (name.clone(), index)));
        self.forget(manifest)
    }

    /// Begins to write what [`Names::set`] will for a manifest of no index, so that it need not wait for all of that then.
    pub(super) fn begin(&self, names: &[ImageRef], manifest: Digest) -> Vec<Begun> {
        let mut begun = Vec::new();
        for name in names.iter().filter(|name| self.get(name) != Some(manifest)) {
            let lost = self.get(name).filter(|previous| self.names_of(*previous).len() == 1);
            let lost = lost.map(|previous| {
                let record = Record { name: None, manifest: previous, index: self.index_of(name) };
                (self.unnamed_path(previous), record)
            });
            let own = (self.path(name), Record { name: Some(name.clone()), manifest, index: None });
            for (place, record) in lost.into_iter().chain([own]) {
                let bytes = serde_json::to_vec(&record).map_err(io::Error::from);
                // What fails here fails again when it is asked for.
                begun.extend(bytes.and_then(|bytes| Begun::new(&place, bytes)));
            }
        }
        begun
    }

    /// Makes a change that will ask for these records, or for others if the table is not as it was.
    pub(super) fn with_begun<T>(
        &mut self,
        begun: Vec<Begun>,
        change: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.begun = begun;
        let changed = change(self);
        self.begun.clear();
        changed
    }

    fn write(&mut self, place: &Path, record: &Record) -> Result<()> {
        let mut write = || -> io::Result<()> {
            let bytes = serde_json::to_vec(record)?;
            let known = self.begun.iter().position(|begun| begun.place == place && begun.bytes == bytes);
            match known {
                Some(at) => self.begun.swap_remove(at).finish(),
                None => Begun::new(place, bytes)?.finish(),
            }
        };
        Ok(write().map_err(ImageError::io("write", place))?)
    }

    pub(super) fn unset(&mut self, name: &ImageRef) -> Result<()> {
        remove(&self.path(name))?;
        self.named.remove(name);
        self.indexes.remove(name);
        Ok(())
    }

    /// Keeps an image that has no name, and the index that it is one of.
    pub(super) fn keep(&mut self, manifest: Digest, index: Option<Digest>) -> Result<()> {
        self.write(&self.unnamed_path(manifest), &Record { name: None, manifest, index })?;
        self.unnamed.insert(manifest, index);
        Ok(())
    }

    /// Forgets an image that lost its last tag, with all that registries call it.
    pub(super) fn drop_image(&mut self, manifest: Digest) -> Result<()> {
        for name in self.digests_of(manifest) {
            self.unset(&name)?;
        }
        self.forget(manifest)
    }

    /// No longer keeps an image without a name.
    pub(super) fn forget(&mut self, manifest: Digest) -> Result<()> {
        if self.unnamed.contains_key(&manifest) {
            remove(&self.unnamed_path(manifest))?;
            self.unnamed.remove(&manifest);
        }
        Ok(())
    }

    fn path(&self, name: &ImageRef) -> PathBuf {
        self.named_dir.join(format!("{}.json", Digest::of(name.canonical().as_bytes()).hex()))
    }

    fn unnamed_path(&self, manifest: Digest) -> PathBuf {
        self.unnamed_dir.join(format!("{}.json", manifest.hex()))
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path).and_then(|()| sync_parent(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ImageError::io("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
