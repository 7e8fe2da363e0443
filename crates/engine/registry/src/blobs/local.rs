//! The local content store as a storage of the registry.

use super::{BlobBody, BlobStore, BlobUpload};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use hako_content::{Blob, ContentStore, Expected, Writer};
use hako_error::{Error, Kind, Result};
use hako_names::Digest;
use std::ops::Range;
use tokio::task::JoinHandle;

/// Blobs in a directory.
#[derive(Clone, Debug)]
pub struct LocalBlobs {
    content: ContentStore,
}

impl LocalBlobs {
    /// A storage over a content store that this process owns.
    #[must_use]
    pub fn new(content: ContentStore) -> Self {
        Self { content }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ContentStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let content = self.content.clone();
        joined(tokio::task::spawn_blocking(move || work(&content)).await)
    }
}

/// Flattens the result of blocking work; it only fails to end when the runtime does.
fn joined<T>(result: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.unwrap_or_else(|error| Err(Error::new(Kind::Internal, "file work ended early").with_source(error)))
}

#[async_trait]
impl BlobStore for LocalBlobs {
    async fn begin(&self, what: &str) -> Result<Box<dyn BlobUpload>> {
        let what = what.to_owned();
        let writer = self.blocking(move |content| content.writer(what)).await?;
        Ok(Box::new(LocalUpload { size: 0, writer: Some(Turn::Free(Box::new(writer))) }))
    }

    async fn put(&self, what: &str, bytes: Bytes) -> Result<Blob> {
        let what = what.to_owned();
        self.blocking(move |content| content.put(&what, &bytes, None)).await
    }

    async fn read(&self, digest: Digest) -> Result<Bytes> {
        self.blocking(move |content| content.read(digest).map(Bytes::from)).await
    }

    async fn open(&self, digest: Digest, range: Range<u64>) -> Result<BlobBody> {
        // Opening a file is quicker than asking another thread to.
        Ok(BlobBody::File { file: self.content.open_blob(digest)?, range })
    }

    async fn delete(&self, digest: Digest) -> Result<()> {
        self.blocking(move |content| match content.delete(digest) {
            Err(error) if error.is_not_found() => Ok(()),
            done => done,
        })
        .await
    }

    async fn list(&self) -> Result<BoxStream<'static, Result<Digest>>> {
        let blobs = self.blocking(ContentStore::list).await?;
        Ok(stream::iter(blobs.into_iter().map(|blob| Ok(blob.digest))).boxed())
    }
}

/// Who has the writer.
#[derive(Debug)]
enum Turn {
    /// Nobody: the next batch can be written.
    Free(Box<Writer>),
    /// A blocking thread, writing and hashing the last batch while the next one arrives.
    Busy(JoinHandle<Result<Box<Writer>>>),
}

/// One ingest. A batch is written while the next is received, never more than one.
#[derive(Debug)]
struct LocalUpload {
    size: u64,
    /// `None` after a failure: the ingest is gone.
    writer: Option<Turn>,
}

impl LocalUpload {
    /// Waits for the writer. A caller that gives up waiting has changed nothing.
    async fn take(&mut self) -> Result<Box<Writer>> {
        if let Some(Turn::Busy(handle)) = &mut self.writer {
            self.writer = match joined(handle.await) {
                Ok(writer) => Some(Turn::Free(writer)),
                Err(error) => {
                    self.writer = None;
                    return Err(error);
                }
            };
        }
        match self.writer.take() {
            Some(Turn::Free(writer)) => Ok(writer),
            _ => Err(Error::new(
                Kind::FailedPrecondition,
                "an earlier write of this upload failed; start again",
            )),
        }
    }
}

#[async_trait]
impl BlobUpload for LocalUpload {
    fn size(&self) -> u64 {
        self.size
    }

    async fn append(&mut self, batch: Vec<Bytes>) -> Result<()> {
        let mut writer = self.take().await?;
        self.size += batch.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.writer = Some(Turn::Busy(tokio::task::spawn_blocking(move || {
            for bytes in &batch {
                writer.append(bytes)?;
            }
            Ok(writer)
        })));
        Ok(())
    }

    async fn commit(mut self: Box<Self>, expected: Digest) -> Result<Blob> {
        let writer = self.take().await?;
        joined(tokio::task::spawn_blocking(move || writer.commit(Expected::from(expected))).await)
    }
}
