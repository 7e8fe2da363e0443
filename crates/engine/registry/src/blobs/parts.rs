//! Uploads in parts to a bucket, which are known also to whoever comes after a crash.
//!
//! ```text
//! begin      the service gives an id           ──> DIR/NAME: path and id
//! parts      sent as they come
//! complete   the object is there               ──> DIR/NAME goes
//! abort      the service forgets the parts     ──> DIR/NAME goes
//! ```
//! What is in `DIR` and not of this process is of one that was killed: the sweep ends it. A service has no other way to
//! tell such uploads from those that go on. Killed between the first two steps, the upload has no parts that take space.

use async_trait::async_trait;
use hako_error::{Error, Kind, Result};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutPayload, PutResult, UploadPart};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
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

    /// Begins an upload to `path` under a name that nobody else has.
    pub(super) async fn begin(
        &self,
        store: &Arc<AmazonS3>,
        path: &Path,
        name: String,
    ) -> Result<Recorded, BeginError> {
        self.0.own.lock().insert(name.clone());
        let begun = store.create_multipart(path).await;
        let id = begun.inspect_err(|_| self.forget(&name)).map_err(BeginError::Service)?;
        let upload = Recorded {
            unended: self.clone(),
            store: Arc::clone(store),
            path: path.clone(),
            id,
            name,
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

    async fn record(&self, upload: &Recorded) -> std::io::Result<()> {
        let Some(dir) = &self.0.dir else { return Ok(()) };
        let record = Record { path: upload.path.to_string(), id: upload.id.clone() };
        tokio::fs::create_dir_all(dir).await?;
        tokio::fs::write(dir.join(&upload.name), serde_json::to_vec(&record)?).await
    }

    fn forget(&self, name: &str) {
        if let Some(dir) = &self.0.dir
            && let Err(error) = std::fs::remove_file(dir.join(name))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, name, "the record of an upload to the bucket stays");
        }
        self.0.own.lock().remove(name);
    }

    /// Ends what a process left that was killed; returns how many there were.
    pub(super) async fn sweep(&self, store: &AmazonS3) -> Result<usize> {
        let Some(dir) = &self.0.dir else { return Ok(0) };
        let mut ended = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.is_own(&name) {
                continue;
            }
            // One that was cut off has begun no upload whose id is known.
            let read = std::fs::read(entry.path()).ok();
            let record = read.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            if let Some(Record { path, id }) = record {
                match store.abort_multipart(&Path::from(path), &id).await {
                    Ok(()) => ended += 1,
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => {
                        return Err(Error::new(Kind::Unavailable, "cannot end an upload to the bucket")
                            .with_source(error));
                    }
                }
            }
            self.forget(&name);
        }
        Ok(ended)
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
        let aborted = self.store.abort_multipart(&self.path, &self.id).await;
        if aborted.is_ok() {
            self.unended.forget(&self.name);
        }
        aborted
    }
}
