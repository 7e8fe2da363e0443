//! Uploads in parts to a bucket, which are known also to whoever comes after a crash.
//!
//! ```text
//! begin      the service gives an id           ──> DIR/NAME: path and id
//! parts      sent as they come
//! complete   the object is there               ──> DIR/NAME goes
//! abort      the service forgets the parts     ──> DIR/NAME goes
//! ```
//! What is in `DIR` and not at work in this process is of one that was killed, or could not be ended when it should have been:
//! the collector ends it. A service has no other way to tell such uploads from those that go on. Killed between the first
//! two steps, the upload has no parts that take space.

use async_trait::async_trait;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutPayload, PutResult, UploadPart};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// The uploads that are not ended.
#[derive(Clone, Debug)]
pub(super) struct Unended(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where they are written down; `None` for who begins none.
    dir: Option<PathBuf>,
    /// The names of those of this process.
    own: Mutex<HashSet<String>>,
}

/// What is written down of one.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    path: String,
    id: MultipartId,
}

impl Unended {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { dir, own: Mutex::default() }))
    }

    /// Whether this process is at work under that name.
    pub(super) fn is_own(&self, name: &str) -> bool {
        self.0.own.lock().contains(name)
    }

    /// Takes a name that nobody else has for an upload of this process.
    pub(super) fn name(&self) -> Name {
        let name = uuid::Uuid::new_v4().to_string();
        self.0.own.lock().insert(name.clone());
        Name { unended: self.clone(), name }
    }

    /// Begins an upload to `path` under a name of this process.
    pub(super) async fn begin(
        &self,
        store: &Arc<AmazonS3>,
        path: &Path,
        name: &Name,
    ) -> Result<Recorded, BeginError> {
        let id = store.create_multipart(path).await.map_err(BeginError::Service)?;
        let upload = Recorded {
            unended: self.clone(),
            store: Arc::clone(store),
            path: path.clone(),
            id,
            name: name.name.clone(),
            count: 0,
            sent: Arc::default(),
        };
        if let Err(error) = self.record(&upload).await {
            // Nobody would ever end it.
            let _ = store.abort_multipart(path, &upload.id).await;
            self.forget(&upload.name);
            return Err(BeginError::Record(error));
        }
        Ok(upload)
    }

    /// On the disk before the first part is sent.
    async fn record(&self, upload: &Recorded) -> std::io::Result<()> {
        let Some(dir) = self.0.dir.clone() else { return Ok(()) };
        let record = Record { path: upload.path.to_string(), id: upload.id.clone() };
        let (bytes, name) = (serde_json::to_vec(&record)?, upload.name.clone());
        let write = move || {
            std::fs::create_dir_all(&dir)?;
            let mut file = std::fs::File::create(dir.join(name))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::File::open(&dir)?.sync_all()
        };
        tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn forget(&self, name: &str) {
        if let Some(dir) = &self.0.dir
            && let Err(error) = std::fs::remove_file(dir.join(name))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, name, "the record of an upload to the bucket stays");
        }
    }

    /// Ends what nobody is at work on; returns how many there were. What cannot be ended stays for the next time.
    pub(super) async fn sweep(&self, store: &AmazonS3) -> usize {
        let Some(dir) = &self.0.dir else { return 0 };
        let mut ended = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.is_own(&name) {
                continue;
            }
            // One that was cut off has begun no upload whose id is known.
            let read = std::fs::read(entry.path()).ok();
            let record = read.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            // A path is written as it is sent, so it is taken as it is.
            let known = record.and_then(|record| Some((Path::parse(&record.path).ok()?, record.id)));
            if let Some((path, id)) = known {
                match store.abort_multipart(&path, &id).await {
                    Ok(()) => ended += 1,
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => {
                        tracing::warn!(%error, %path, "cannot end an upload to the bucket, trying again later");
                        continue;
                    }
                }
            }
            self.forget(&name);
        }
        ended
    }
}

/// A name at which this process is at work until it is dropped.
#[derive(Debug)]
pub(super) struct Name {
    unended: Unended,
    name: String,
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.unended.0.own.lock().remove(&self.name);
    }
}

/// Why an upload could not begin.
#[derive(Debug)]
pub(super) enum BeginError {
    /// The service said so.
    Service(object_store::Error),
    /// It could not be written down.
    Record(std::io::Error),
}

/// An upload that is written down until it has ended.
#[derive(Debug)]
pub(super) struct Recorded {
    unended: Unended,
    store: Arc<AmazonS3>,
    path: Path,
    id: MultipartId,
    name: String,
    count: usize,
    /// The parts that are there, by their place.
    sent: Arc<Mutex<BTreeMap<usize, PartId>>>,
}

#[async_trait]
impl MultipartUpload for Recorded {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let place = self.count;
        self.count += 1;
        let (store, path, id, sent) =
            (Arc::clone(&self.store), self.path.clone(), self.id.clone(), Arc::clone(&self.sent));
        Box::pin(async move {
            let part = store.put_part(&path, &id, place, data).await?;
            sent.lock().insert(place, part);
            Ok(())
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let parts = std::mem::take(&mut *self.sent.lock()).into_values().collect();
        let completed = self.store.complete_multipart(&self.path, &self.id, parts).await;
        if completed.is_ok() {
            self.unended.forget(&self.name);
        }
        completed
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        match self.store.abort_multipart(&self.path, &self.id).await {
            // The answer to its completion may have been lost.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                self.unended.forget(&self.name);
                Ok(())
            }
            other => other,
        }
    }
}
