//! A blob that is being written.

use crate::error::{ContentError, is_full};
use crate::lease::{Lease, Leases};
use crate::store::{Blob, ContentStore};
use hako_error::Result;
use hako_names::{Digest, Hasher};
use rustix::fs::fsync;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Ends the names of ingests that a later attempt continues.
pub(crate) const PARTIAL: &str = ".partial";

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

/// Hashes and stores a stream. Nothing of it is visible before [`Writer::commit`]; dropping it forgets it, except
/// for one that [can be continued](ContentStore::resume) and that nothing was found wrong with.
#[derive(Debug)]
pub struct Writer {
    store: ContentStore,
    lease: Option<String>,
    what: String,
    path: PathBuf,
    file: Option<File>,
    hasher: Hasher,
    size: u64,
    /// Whether the file stays for a later attempt when this is dropped.
    is_kept: bool,
}

impl Writer {
    /// Opens the ingest of a known digest, with what an earlier attempt left in it. `None` while another writer
    /// has it.
    pub(crate) fn resume(
        store: ContentStore,
        ingest: &Path,
        digest: Digest,
        what: String,
    ) -> Result<Option<Self>> {
        let path = partial(ingest, digest);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(ContentError::io("open", &path, &what))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => {
                return Err(ContentError::io("lock", &path, &what)(error).into());
            }
        }
        // Its last holder may have renamed or removed it between our opening and our locking.
        let is_same = match (file.metadata(), fs::metadata(&path)) {
            (Ok(ours), Ok(there)) => ours.ino() == there.ino(),
            _ => false,
        };
        let (hasher, size) = (Hasher::new(), 0);
        Ok(is_same.then_some(Self {
            store,
            lease: None,
            what,
            path,
            file: Some(file),
            hasher,
            size,
            is_kept: true,
        }))
    }

    /// Reads what an earlier attempt left, hashes it and shows it to `each`; returns how many bytes that were.
    /// At most `limit` bytes are kept. To be called before anything is appended.
    pub fn replay(&mut self, limit: u64, mut each: impl FnMut(Vec<u8>) -> Result<()>) -> Result<u64> {
        let Some(mut file) = self.file.take() else {
            return Ok(0);
        };
        let mut left = limit;
        let replayed = loop {
            let mut piece = Vec::with_capacity(1 << 17);
            match (&mut file).take(left.min(1 << 17)).read_to_end(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    left -= count as u64;
                    self.account(&piece);
                    if let Err(error) = each(piece) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(ContentError::io("read", &self.path, &self.what)(error).into()),
            }
        };
        let cut = file.set_len(self.size).map_err(ContentError::io("cut", &self.path, &self.what));
        self.file = Some(file);
        replayed?;
        cut?;
        Ok(self.size)
    }

    /// Forgets all bytes when dropped, also of a writer that could be continued: they are wrong.
    pub fn discard(&mut self) {
        self.is_kept = false;
    }

    pub(crate) fn create(store: ContentStore, ingest: &Path, what: String) -> Result<Self> {
        let path = ingest.join(random_name());
        let file = File::create_new(&path).map_err(ContentError::io("create", &path, &what))?;
        let (hasher, size) = (Hasher::new(), 0);
        Ok(Self { store, lease: None, what, path, file: Some(file), hasher, size, is_kept: false })
    }

    /// Puts the blob under a lease the moment it is committed.
    #[must_use]
    pub fn under(mut self, lease: &Lease) -> Self {
        self.lease = Some(lease.id().to_owned());
        self
    }

    /// What was written so far, for who reads it while more comes.
    pub fn reader(&self) -> Result<File> {
        Ok(File::open(&self.path).map_err(ContentError::io("open", &self.path, &self.what))?)
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
        let written = file.write_all(bytes).map_err(ContentError::io("write", path, what));
        // A full disk is not helped by keeping what filled it.
        self.is_kept &= written.is_ok();
        written?;
        self.account(bytes);
        Ok(())
    }

    /// Makes the blob visible and durable. What is not as expected is dropped, and the error names both sides.
    pub fn commit(self, expected: impl Into<Expected>) -> Result<Blob> {
        self.finish(expected)?.commit()
    }

    /// The first half of [`Writer::commit`]: no more comes, and what it is is known. The disk has yet to be waited for.
    pub fn finish(mut self, expected: impl Into<Expected>) -> Result<Finished> {
        let expected = expected.into();
        let actual = std::mem::take(&mut self.hasher).finish();
        let is_kept = std::mem::replace(&mut self.is_kept, false);
        self.compare(expected, actual)?;
        self.is_kept = is_kept;
        let blob = Blob { digest: actual, size: self.size };
        Ok(Finished { writer: self, blob })
    }

    /// Makes the synced blob visible, unless it is there already; the caller holds the lock, which orders this with
    /// collection: the lease is on disk before the blob can be seen.
    fn appear(&mut self, blob: Blob, leases: &mut Leases) -> Result<()> {
        if let Some(id) = &self.lease {
            leases.protect(id, blob.digest)?;
        }
        let path = self.store.path(blob.digest);
        if !path.exists() {
            fs::rename(&self.path, &path).map_err(ContentError::io("rename", &path, &self.what))?;
            self.file = None;
        }
        Ok(())
    }

    /// Compares what came so far with what was promised; the error names both sides.
    pub fn check(&self, expected: impl Into<Expected>) -> Result<()> {
        Ok(self.compare(expected.into(), self.hasher.clone().finish())?)
    }

    /// Puts the bytes on disk now, so that [`Writer::commit`] need not wait for them.
    pub fn sync(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let synced = fsync(file).map_err(io::Error::from);
        self.is_kept &= synced.is_ok();
        Ok(synced.map_err(ContentError::io("sync", &self.path, &self.what))?)
    }

    fn compare(&self, expected: Expected, actual: Digest) -> Result<(), ContentError> {
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

/// A blob that is written and that nobody sees yet; dropping it forgets it as dropping its writer does.
#[derive(Debug)]
#[must_use = "the blob is not there before it is committed"]
pub struct Finished {
    writer: Writer,
    blob: Blob,
}

impl Finished {
    /// What it will be.
    #[must_use]
    pub fn blob(&self) -> Blob {
        self.blob
    }

    /// Has the disk begin with the bytes. Nobody waits for them, and nothing else that is written has to wait meanwhile,
    /// as it may for a sync.
    pub fn begin(&self) {
        if let Some(file) = &self.writer.file {
            // What fails here fails again when it is waited for.
            let _ = hako_sys::begin_writeback(file.as_fd());
        }
    }

    /// Makes the blob visible and durable.
    pub fn commit(self) -> Result<Blob> {
        let (store, blob) = (self.writer.store.clone(), self.blob);
        commit_all(&store, vec![self])?;
        Ok(blob)
    }
}

/// Makes blobs visible and durable: one wait for the bytes of all, as the first sync finds all of them begun with, and one
/// for their names. Where it fails, those that nobody sees yet are forgotten.
pub(crate) fn commit_all(store: &ContentStore, mut all: Vec<Finished>) -> Result<()> {
    all.iter().for_each(Finished::begin);
    for Finished { writer, .. } in &mut all {
        // All of it is here: what stops it now is the disk, which is not helped by keeping it.
        writer.is_kept = false;
        writer.sync()?;
    }
    {
        let mut leases = store.inner.leases.lock();
        all.iter_mut().try_for_each(|one| one.writer.appear(one.blob, &mut leases))?;
    }
    let Some(Finished { writer, blob }) = all.iter().find(|one| one.writer.file.is_none()) else {
        return Ok(());
    };
    let path = store.path(blob.digest);
    Ok(sync_parent(&path).map_err(ContentError::io("sync the directory of", &path, &writer.what))?)
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
        if self.file.is_some() && !(self.is_kept && self.size > 0) {
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

/// Where the start of a blob of known digest waits to be continued.
pub(crate) fn partial(ingest: &Path, digest: Digest) -> PathBuf {
    ingest.join(format!("{}{PARTIAL}", digest.hex()))
}

/// A file name that no other ingest has.
fn random_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
