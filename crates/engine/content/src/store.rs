//! The directory of blobs.

use crate::error::ContentError;
use crate::lease::{Lease, Leases};
use crate::writer::{Finished, PARTIAL, Writer, commit_all, partial};
use hako_error::Result;
use hako_names::{Digest, Hasher};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The largest blob that [`ContentStore::read`] takes into memory: manifests and configurations, not layers.
const READ_LIMIT: u64 = 16 << 20;

/// How many blobs a collection looks at before it lets others in.
const SWEEP_STEP: usize = 32;
/// How long the start of a blob waits to be continued.
const PARTIAL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A blob's name and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What its bytes hash to.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

/// All blobs of one data directory. Cheap to clone; one process owns a directory at a time.
#[derive(Clone, Debug)]
pub struct ContentStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    dir: PathBuf,
    blobs: PathBuf,
    ingest: PathBuf,
    /// INVARIANT: held while a blob appears, is protected or is deleted, so that none of these can interleave.
    pub(crate) leases: Mutex<Leases>,
    collecting: Mutex<()>,
}

impl ContentStore {
    /// Opens or creates the store in `dir` and removes what an earlier process left half done.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        let (blobs, ingest) = (dir.join("blobs/sha256"), dir.join("ingest"));
        for path in [&blobs, &ingest] {
            fs::create_dir_all(path).map_err(ContentError::io(
                "create directory",
                path,
                "the content store",
            ))?;
        }
        remove_stale_ingests(&ingest)?;
        let leases = Mutex::new(Leases::open(dir.join("leases"))?);
        let collecting = Mutex::new(());
        Ok(Self { inner: Arc::new(Inner { dir, blobs, ingest, leases, collecting }) })
    }

    /// The directory the store was opened in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Where the blob's file is, whether it exists or not.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.inner.blobs.join(digest.hex())
    }

    /// Starts a new blob; `what` names it in errors, such as `layer of busybox`.
    pub fn writer(&self, what: impl Into<String>) -> Result<Writer> {
        Writer::create(self.clone(), &self.inner.ingest, what.into())
    }

    /// Starts or continues a blob of known digest: [`Writer::replay`] first shows what an earlier attempt got,
    /// also one of a process that was killed. While another writer is at the same blob, this is a new one.
    pub fn resume(&self, digest: Digest, what: impl Into<String>) -> Result<Writer> {
        let what = what.into();
        match Writer::resume(self.clone(), &self.inner.ingest, digest, what.clone())? {
            Some(writer) => Ok(writer),
            None => self.writer(what),
        }
    }

    /// Stores bytes that are in memory already.
    pub fn put(&self, what: &str, bytes: &[u8], lease: Option<&Lease>) -> Result<Blob> {
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
        if lease.map_or_else(|| self.exists(blob.digest), |lease| lease.protect(blob.digest).is_ok()) {
            return Ok(blob);
        }
        let mut writer = self.writer(what)?;
        if let Some(lease) = lease {
            writer = writer.under(lease);
        }
        writer.append(bytes)?;
        writer.commit(crate::Expected::default())
    }

    /// The same without its end: nobody sees the blob, or has waited for the disk, before [`ContentStore::commit_all`].
    /// `None` if it is there.
    pub fn stage(&self, what: &str, bytes: &[u8], lease: &Lease) -> Result<Option<Finished>> {
        if lease.protect(Digest::of(bytes)).is_ok() {
            return Ok(None);
        }
        let mut writer = self.writer(what)?.under(lease);
        writer.append(bytes)?;
        writer.finish(crate::Expected::default()).map(Some)
    }

    /// Makes blobs visible and durable, with one wait for the bytes of all and one for their names.
    pub fn commit_all(&self, finished: Vec<Finished>) -> Result<()> {
        commit_all(self, finished)
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: Digest) -> Result<File> {
        let path = self.path(digest);
        Ok(File::open(&path).map_err(|source| missing_or(digest, "open", &path, source))?)
    }

    /// The whole of a small blob, verified against its digest; refuses blobs beyond 16 MiB.
    pub fn read(&self, digest: Digest) -> Result<Vec<u8>> {
        let size = self.size(digest)?;
        if size > READ_LIMIT {
            return Err(ContentError::TooLarge { digest, size, limit: READ_LIMIT }.into());
        }
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|source| missing_or(digest, "read", &path, source))?;
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(ContentError::Damaged { digest, actual }.into());
        }
        Ok(bytes)
    }

    /// Hashes the stored bytes again and compares them with the blob's name.
    pub fn verify(&self, digest: Digest) -> Result<()> {
        let mut file = self.open_blob(digest)?;
        let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 17]);
        loop {
            let count =
                file.read(&mut buffer).map_err(ContentError::io("read", &self.path(digest), "a blob"))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
        let actual = hasher.finish();
        if actual == digest { Ok(()) } else { Err(ContentError::Damaged { digest, actual }.into()) }
    }

    /// Whether the blob is there.
    #[must_use]
    pub fn exists(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    /// The blob's size in bytes.
    pub fn size(&self, digest: Digest) -> Result<u64> {
        let path = self.path(digest);
        let metadata = fs::metadata(&path).map_err(|source| missing_or(digest, "stat", &path, source))?;
        Ok(metadata.len())
    }

    /// Every blob, in no particular order.
    pub fn list(&self) -> Result<Vec<Blob>> {
        let dir = &self.inner.blobs;
        let failed = |source| ContentError::Io { action: "list", path: dir.clone(), source };
        let mut blobs = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            match (digest, entry.metadata()) {
                (Some(digest), Ok(metadata)) => blobs.push(Blob { digest, size: metadata.len() }),
                (Some(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                (Some(_), Err(error)) => return Err(failed(error).into()),
                (None, _) => tracing::warn!(file = ?entry.path(), "a file among the blobs is no blob"),
            }
        }
        Ok(blobs)
    }

    /// Deletes one blob; refuses while a lease protects it.
    pub fn delete(&self, digest: Digest) -> Result<()> {
        let mut leases = self.inner.leases.lock();
        if leases.protects(digest) {
            return Err(ContentError::InUse { digest }.into());
        }
        let path = self.path(digest);
        Ok(fs::remove_file(&path).map_err(|source| missing_or(digest, "delete", &path, source))?)
    }

    /// Deletes every blob that is neither in `keep` nor under a lease; returns what went. `keep` is told how many
    /// blobs there are.
    ///
    /// In small steps, between which blobs are written, protected and released as ever: a blob that is touched so
    /// after the collection began is spared by it. One collection runs at a time.
    pub fn collect(&self, keep: impl FnOnce(usize) -> Result<HashSet<Digest>>) -> Result<Vec<Blob>> {
        // All are looked at, and with them what leases have let go of.
        self.collecting(|_| {
            let all = self.list()?;
            let keep = keep(all.len())?;
            self.sweep(all, &keep)
        })
    }

    /// The same, looking only at `candidates` and at what leases let go of since the last collection.
    pub fn collect_among(
        &self,
        candidates: impl IntoIterator<Item = Digest>,
        keep: impl FnOnce(usize) -> Result<HashSet<Digest>>,
    ) -> Result<Vec<Blob>> {
        self.inner.leases.lock().loosen(candidates);
        self.collecting(|loose| {
            let keep = keep(loose.len())?;
            let blob = |digest: &Digest| Some(Blob { digest: *digest, size: self.size(*digest).ok()? });
            self.sweep(loose.iter().filter_map(blob).collect(), &keep)
        })
    }

    /// One at a time; `collect` is given what leases have let go of. One that fails has looked at nothing.
    fn collecting<T>(&self, collect: impl FnOnce(&HashSet<Digest>) -> Result<T>) -> Result<T> {
        let _alone = self.inner.collecting.lock();
        let loose = self.inner.leases.lock().begin();
        let collected = collect(&loose);
        let mut leases = self.inner.leases.lock();
        leases.end();
        if collected.is_err() {
            leases.loosen(loose);
        }
        collected
    }

    fn sweep(&self, blobs: Vec<Blob>, keep: &HashSet<Digest>) -> Result<Vec<Blob>> {
        let loose: Vec<Blob> = blobs.into_iter().filter(|blob| !keep.contains(&blob.digest)).collect();
        let mut deleted = Vec::new();
        for step in loose.chunks(SWEEP_STEP) {
            let mut leases = self.inner.leases.lock();
            for blob in step {
                if leases.spares(blob.digest) {
                    continue;
                }
                let path = self.path(blob.digest);
                match fs::remove_file(&path) {
                    Ok(()) => deleted.push(*blob),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // Immutable, or mounted over: it takes space, and keeps nothing else from going.
                    Err(error) if is_own(&error) => {
                        tracing::warn!(%error, ?path, "a blob cannot be removed; the next collection tries again");
                        leases.loosen([blob.digest]);
                    }
                    Err(error) => return Err(ContentError::io("delete", &path, "a blob")(error).into()),
                }
            }
        }
        Ok(deleted)
    }

    /// Takes a lease: blobs protected under it survive collection until it is dropped, or, when the process
    /// dies, until `expires_in` has passed. Taking a lease that exists renews it.
    pub fn lease(&self, id: &str, expires_in: Duration) -> Result<Lease> {
        self.inner.leases.lock().grant(id, expires_in)?;
        Ok(Lease::new(self.clone(), id.to_owned()))
    }

    /// Ends leases, by their ids and what they protect: those of holders that are known to be dead.
    pub fn end_leases(&self, is_over: impl Fn(&str, &BTreeSet<Digest>) -> bool) {
        self.inner.leases.lock().release_all(is_over);
    }

    /// How many bytes of blobs wait to be continued.
    pub fn partial_bytes(&self) -> Result<u64> {
        let partials = partials(&self.inner.ingest)?;
        Ok(partials.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum())
    }

    /// Forgets what waits to be continued and was not written for so long; what somebody is at stays. Returns how many
    /// bytes that were.
    pub fn drop_partials(&self, unused_for: Duration) -> Result<u64> {
        let partials = partials(&self.inner.ingest)?;
        Ok(partials.iter().filter_map(|path| drop_partial(path, unused_for)).sum())
    }

    /// Forgets what waits to be continued of blobs that are here by now; what somebody is at stays.
    pub fn drop_partials_of(&self, blobs: impl IntoIterator<Item = Digest>) {
        for blob in blobs.into_iter().filter(|blob| self.exists(*blob)) {
            drop_partial(&partial(&self.inner.ingest, blob), Duration::ZERO);
        }
    }
}

/// Removes the start of a blob that was not written for so long, and that nobody is at; returns its size.
fn drop_partial(path: &Path, unused_for: Duration) -> Option<u64> {
    // Who writes holds the lock; one that ended meanwhile needs nobody.
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let is_old = metadata.modified().ok()?.elapsed().ok()? >= unused_for;
    (is_old && file.try_lock().is_ok() && fs::remove_file(path).is_ok()).then_some(metadata.len())
}

/// Whether an error is about that one file, and not about the disk that all are on.
fn is_own(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy)
}

fn missing_or(digest: Digest, action: &'static str, path: &Path, source: io::Error) -> ContentError {
    if source.kind() == io::ErrorKind::NotFound {
        ContentError::NotFound { digest }
    } else {
        ContentError::Io { action, path: path.into(), source }
    }
}

/// The ingests that a later attempt continues.
fn partials(ingest: &Path) -> Result<Vec<PathBuf>, ContentError> {
    let failed = |source| ContentError::Io { action: "list", path: ingest.into(), source };
    let mut partials = Vec::new();
    for entry in fs::read_dir(ingest).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        partials.extend(path.to_string_lossy().ends_with(PARTIAL).then_some(path));
    }
    Ok(partials)
}

/// What can be continued stays for a day.
fn remove_stale_ingests(ingest: &Path) -> Result<(), ContentError> {
    let failed = |source| ContentError::Io { action: "clean", path: ingest.into(), source };
    for entry in fs::read_dir(ingest).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let is_partial = path.to_string_lossy().ends_with(PARTIAL);
        let age =
            entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_partial && age.is_none_or(|age| age < PARTIAL_LIFE) {
            continue;
        }
        fs::remove_file(&path).map_err(failed)?;
        tracing::debug!(?path, "removed a stale ingest");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
