//! A blob that is being written.

use crate::error::{ContentError, is_full};
use crate::lease::Lease;
use crate::store::{Blob, ContentStore};
use hako_error::Result;
use hako_names::{Digest, Hasher};
use rustix::fs::fsync;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a blob was promised to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// Its digest, if known.
    pub digest: Option<Digest>,
    /// Its size, if known.
    pub size: Option<u64>,
}

impl From<Digest> for Expected {
    fn from(digest: Digest) -> Self {
        Self { digest: Some(digest), size: None }
    }
}

/// Hashes and stores a stream. Nothing of it is visible before [`Writer::commit`]; dropping it forgets it.
#[derive(Debug)]
pub struct Writer {
    store: ContentStore,
    lease: Option<String>,
    what: String,
    path: PathBuf,
    file: Option<File>,
    hasher: Hasher,
    size: u64,
}

impl Writer {
    pub(crate) fn create(store: ContentStore, ingest: &Path, what: String) -> Result<Self> {
        let path = ingest.join(random_name());
        let file = File::create_new(&path).map_err(ContentError::io("create", &path, &what))?;
        Ok(Self { store, lease: None, what, path, file: Some(file), hasher: Hasher::new(), size: 0 })
    }

    /// Puts the blob under a lease the moment it is committed.
    #[must_use]
    pub fn under(mut self, lease: &Lease) -> Self {
        self.lease = Some(lease.id().to_owned());
        self
    }

    /// How many bytes came so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends `bytes`, like [`Write::write_all`] with an error that names the blob.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { file: Some(file), path, what, .. } = self else {
            return Ok(());
        };
        file.write_all(bytes).map_err(ContentError::io("write", path, what))?;
        self.account(bytes);
        Ok(())
    }

    /// Makes the blob visible and durable. What is not as expected is dropped, and the error names both sides.
    pub fn commit(mut self, expected: impl Into<Expected>) -> Result<Blob> {
        let expected = expected.into();
        let actual = std::mem::take(&mut self.hasher).finish();
        self.check(expected, actual)?;
        let blob = Blob { digest: actual, size: self.size };
        let path = self.store.path(actual);
        if let Some(file) = &self.file {
            fsync(file).map_err(io::Error::from).map_err(ContentError::io("sync", &self.path, &self.what))?;
        }
        // The lock orders this with collection: the lease is on disk before the blob can be seen.
        let mut leases = self.store.inner.leases.lock();
        if let Some(id) = &self.lease {
            leases.protect(id, actual)?;
        }
        if path.exists() {
            return Ok(blob);
        }
        fs::rename(&self.path, &path).map_err(ContentError::io("rename", &path, &self.what))?;
        self.file = None;
        drop(leases);
        sync_parent(&path).map_err(ContentError::io("sync the directory of", &path, &self.what))?;
        Ok(blob)
    }

    fn check(&self, expected: Expected, actual: Digest) -> Result<(), ContentError> {
        let what = || self.what.clone();
        if let Some(expected) = expected.size.filter(|size| *size != self.size) {
            return Err(ContentError::SizeMismatch { what: what(), expected, actual: self.size });
        }
        match expected.digest {
            Some(expected) if expected != actual => {
                Err(ContentError::DigestMismatch { what: what(), expected, actual })
            }
            _ => Ok(()),
        }
    }

    fn account(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match file.write(bytes) {
            Ok(count) => {
                self.account(&bytes[..count]);
                Ok(count)
            }
            Err(error) if is_full(&error) => {
                let full = ContentError::Full { what: self.what.clone(), path: self.path.clone() };
                Err(io::Error::new(io::ErrorKind::StorageFull, full))
            }
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a rename in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A file name that no other ingest has.
fn random_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
