//! A bucket of any S3-compatible service as a storage of the registry.
//!
//! ```text
//! PREFIX/uploads/ID             what is being pushed: a multipart upload, then for a moment an object
//! PREFIX/blobs/sha256/HEX       a blob: copied there by the service once its bytes were hashed
//! ```
//!
//! A crash leaves objects below `uploads/`, which the sweep removes, and unfinished multipart uploads, which are written down
//! where the records are and ended by the collector ([`super::parts`]). One process uses a prefix at a time.

use super::parts::{BeginError, Name, Unended};
use super::transport::Transport;
use super::{BlobBody, BlobStore, BlobUpload};
use crate::config::S3Config;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use hako_content::Blob;
use hako_error::{Error, Kind, Result};
use hako_names::{Digest, Hasher};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, WriteMultipart};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The size of a part: 10,000 of them are 80 GiB.
const PART_BYTES: usize = 8 << 20;
/// Parts that are sent at once for one upload; with the one that is filled this bounds its memory.
const PARTS: usize = 2;
/// The largest blob that is read into memory.
const READ_LIMIT: u64 = 16 << 20;

/// Blobs in a bucket.
#[derive(Clone, Debug)]
pub struct S3Blobs {
    store: Arc<AmazonS3>,
    prefix: Path,
    unended: Unended,
    /// The largest object that the service copies by one request.
    copy_limit_bytes: u64,
}

impl S3Blobs {
    /// A storage in the bucket that `config` names. Uploads that are not ended are written down in `uploads`, without which
    /// none is begun. Nothing is asked of the service yet.
    pub fn open(config: &S3Config, uploads: Option<PathBuf>) -> Result<Self> {
        let transport = Transport::new(config.ca_file.as_deref())?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_http_connector(transport);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some((id, file)) = &config.key {
            let secret = std::fs::read_to_string(file).map_err(|error| {
                Error::new(Kind::Invalid, format!("cannot read {}", file.display())).with_source(error)
            })?;
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.trim());
        }
        let store = builder
            .build()
            .map_err(|error| Error::new(Kind::Invalid, "the bucket cannot be used").with_source(error))?;
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::from(config.prefix.as_str()),
            unended: Unended::new(uploads),
            copy_limit_bytes: config.copy_limit_bytes,
        })
    }

    fn below(&self, parts: &[&str]) -> Path {
        parts.iter().fold(self.prefix.clone(), |path, part| path.join(*part))
    }

    fn blob(&self, digest: Digest) -> Path {
        self.below(&["blobs", "sha256", &digest.hex()])
    }

    /// Begins an upload in parts to `path`.
    async fn parts(&self, path: &Path, name: &Name) -> Result<WriteMultipart> {
        let upload = self.unended.begin(&self.store, path, name).await.map_err(|error| match error {
            BeginError::Service(error) => failed("begin")(error),
            BeginError::Record(error) => {
                let kind = match error.kind() {
                    std::io::ErrorKind::StorageFull => Kind::Exhausted,
                    _ => Kind::Internal,
                };
                Error::new(kind, "an upload to the bucket cannot be written down").with_source(error)
            }
        })?;
        Ok(WriteMultipart::new_with_chunk_size(Box::new(upload), PART_BYTES))
    }

    /// Copies an object, through this process where it is too large for one request.
    async fn copy(&self, from: &Path, to: &Path, size: u64) -> Result<()> {
        if size <= self.copy_limit_bytes {
            return self.store.copy(from, to).await.map_err(failed("copy"));
        }
        let name = self.unended.name();
        let mut parts = self.parts(to, &name).await?;
        let mut begin = 0;
        while begin < size {
            let end = size.min(begin + PART_BYTES as u64);
            let waited = parts.wait_for_capacity(PARTS).await;
            let read = match waited {
                Ok(()) => self.store.get_range(from, begin..end).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(bytes) => parts.put(bytes),
                Err(error) => {
                    // What cannot be ended now is ended by the collector.
                    let _ = parts.abort().await;
                    return Err(failed("copy")(error));
                }
            }
            begin = end;
        }
        parts.finish().await.map_err(failed("copy"))?;
        Ok(())
    }

    /// Every blob with its size, for checks; nothing is changed.
    pub(crate) async fn sizes(&self) -> Result<BTreeMap<Digest, u64>> {
        let mut listed = self.store.list(Some(&self.below(&["blobs", "sha256"])));
        let mut sizes = BTreeMap::new();
        while let Some(object) = listed.next().await {
            let object = object.map_err(failed("list"))?;
            sizes.extend(digest_of(&object).map(|digest| (digest, object.size)));
        }
        Ok(sizes)
    }

    /// Reads a blob and compares it with its digest.
    pub(crate) async fn verify(&self, digest: Digest) -> Result<()> {
        let found = self.store.get(&self.blob(digest)).await.map_err(failed("read"))?;
        let (mut pieces, mut hasher) = (found.into_stream(), Hasher::new());
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece.map_err(failed("read"))?);
        }
        if hasher.finish() == digest { Ok(()) } else { Err(damaged(digest)) }
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete")(error)),
        }
    }
}

fn failed(what: &'static str) -> impl Fn(object_store::Error) -> Error {
    move |error| {
        let kind = match &error {
            // Of everything else it is the bucket that is missing.
            object_store::Error::NotFound { .. } if what == "read" => Kind::NotFound,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Kind::Internal
            }
            _ => Kind::Unavailable,
        };
        Error::new(kind, format!("cannot {what} an object of the bucket")).with_source(error)
    }
}

fn damaged(digest: Digest) -> Error {
    Error::new(Kind::DataLoss, format!("blob {digest} is damaged in the bucket"))
}

/// Which blob an object is.
fn digest_of(object: &ObjectMeta) -> Option<Digest> {
    format!("sha256:{}", object.location.filename()?).parse().ok()
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn begin(&self, _what: &str) -> Result<Box<dyn BlobUpload>> {
        let blobs = self.clone();
        // To its end also if the client goes away meanwhile: what has begun is known then, and ended.
        let begun = tokio::spawn(async move {
            let name = blobs.unended.name();
            let path = blobs.below(&["uploads", name.as_str()]);
            let parts = Some(blobs.parts(&path, &name).await?);
            Ok::<_, Error>(S3Upload { blobs, path, name: Some(name), parts, hasher: Hasher::new(), size: 0 })
        });
        let ended = |error| Error::new(Kind::Internal, "a task ended early").with_source(error);
        Ok(Box::new(begun.await.map_err(ended)??))
    }

    async fn put(&self, _what: &str, bytes: Bytes) -> Result<Blob> {
        let blob = Blob { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        self.store.put(&self.blob(blob.digest), bytes.into()).await.map_err(failed("write"))?;
        Ok(blob)
    }

    async fn read(&self, digest: Digest) -> Result<Bytes> {
        let found = self.store.get(&self.blob(digest)).await.map_err(failed("read"))?;
        if found.meta.size > READ_LIMIT {
            return Err(Error::new(
                Kind::Exhausted,
                format!("blob {digest} is too large to be read at once"),
            ));
        }
        let bytes = found.bytes().await.map_err(failed("read"))?;
        if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(damaged(digest)) }
    }

    async fn open(&self, digest: Digest, range: Range<u64>) -> Result<BlobBody> {
        if range.is_empty() {
            return Ok(BlobBody::Stream(futures::stream::empty().boxed()));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = self.store.get_opts(&self.blob(digest), options).await.map_err(failed("read"))?;
        Ok(BlobBody::Stream(found.into_stream().map(|piece| piece.map_err(failed("read"))).boxed()))
    }

    async fn delete(&self, digest: Digest) -> Result<()> {
        self.remove(&self.blob(digest)).await
    }

    async fn end_unended(&self) -> usize {
        self.unended.sweep(&self.store).await
    }

    async fn list(&self) -> Result<BoxStream<'static, Result<Digest>>> {
        let mut stale = self.store.list(Some(&self.below(&["uploads"])));
        while let Some(object) = stale.next().await {
            let path = object.map_err(failed("list"))?.location;
            if !path.filename().is_some_and(|name| self.unended.is_own(name)) {
                self.remove(&path).await?;
            }
        }
        let listed = self.store.list(Some(&self.below(&["blobs", "sha256"])));
        Ok(listed
            .filter_map(|object| {
                std::future::ready(match object {
                    Ok(object) => digest_of(&object).map(Ok),
                    Err(error) => Some(Err(failed("list")(error))),
                })
            })
            .boxed())
    }
}

/// One multipart upload.
struct S3Upload {
    blobs: S3Blobs,
    path: Path,
    /// Until nothing of it is at its path.
    name: Option<Name>,
    /// `None` once it ended.
    parts: Option<WriteMultipart>,
    hasher: Hasher,
    size: u64,
}

impl std::fmt::Debug for S3Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3Upload({}, {} bytes)", self.path, self.size)
    }
}

impl S3Upload {
    fn ended() -> Error {
        Error::new(Kind::FailedPrecondition, "an earlier write of this upload failed; start again")
    }
}

#[async_trait]
impl BlobUpload for S3Upload {
    fn size(&self) -> u64 {
        self.size
    }

    async fn append(&mut self, batch: Vec<Bytes>) -> Result<()> {
        let parts = self.parts.as_mut().ok_or_else(Self::ended)?;
        parts.wait_for_capacity(PARTS).await.map_err(failed("write"))?;
        for bytes in batch {
            self.hasher.update(&bytes);
            self.size += bytes.len() as u64;
            parts.put(bytes);
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>, expected: Digest) -> Result<Blob> {
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual != expected {
            return Err(Error::new(Kind::Invalid, format!("the bytes hash to {actual}")));
        }
        let parts = self.parts.take().ok_or_else(Self::ended)?;
        let (blobs, path) = (self.blobs.clone(), self.path.clone());
        parts.finish().await.map_err(failed("write"))?;
        let copied = blobs.copy(&path, &blobs.blob(actual), self.size).await;
        blobs.remove(&path).await?;
        copied?;
        Ok(Blob { digest: actual, size: self.size })
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            let name = self.name.take();
            runtime.spawn(async move {
                let _name = name;
                if let Err(error) = parts.abort().await {
                    tracing::warn!(%error, "an upload to the bucket could not be ended");
                }
            });
        }
    }
}
