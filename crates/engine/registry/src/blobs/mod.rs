//! Where bytes lie.
//!
//! Owns: the trait that every storage implements, and its implementations. Does not own: who may have which blob.
//! Invariant: a blob that can be opened is complete and its bytes hash to its digest.

mod local;
mod parts;
mod s3;
mod transport;

pub use local::LocalBlobs;
pub use s3::S3Blobs;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hako_content::Blob;
use hako_error::Result;
use hako_names::Digest;
use std::fs::File;
use std::ops::Range;

/// A storage of blobs by digest.
#[async_trait]
pub trait BlobStore: std::fmt::Debug + Send + Sync {
    /// Starts a blob; `what` names it in errors.
    async fn begin(&self, what: &str) -> Result<Box<dyn BlobUpload>>;

    /// Stores bytes that are in memory: manifests.
    async fn put(&self, what: &str, bytes: Bytes) -> Result<Blob>;

    /// The whole of a small blob, verified; fails with `exhausted` beyond 16 MiB.
    async fn read(&self, digest: Digest) -> Result<Bytes>;

    /// A part of a blob for streaming; `range` lies within the blob.
    async fn open(&self, digest: Digest, range: Range<u64>) -> Result<BlobBody>;

    /// Deletes a blob; one that is not there is deleted already.
    async fn delete(&self, digest: Digest) -> Result<()>;

    /// Ends uploads that nobody is at work on; returns how many there were. What fails is tried again in the next round.
    async fn end_unended(&self) -> usize {
        0
    }

    /// Every blob there is, for the sweep.
    async fn list(&self) -> Result<BoxStream<'static, Result<Digest>>>;
}

/// A blob that is being written. Dropping it forgets it.
#[async_trait]
pub trait BlobUpload: Send + std::fmt::Debug {
    /// How many bytes came.
    fn size(&self) -> u64;

    /// Takes more bytes; may return before they are written, then a failure shows at the next call.
    async fn append(&mut self, batch: Vec<Bytes>) -> Result<()>;

    /// Makes the blob visible and durable if its bytes hash to `expected`; else it is gone and the error is
    /// `invalid`.
    async fn commit(self: Box<Self>, expected: Digest) -> Result<Blob>;
}

/// A part of a blob, ready to be sent.
pub enum BlobBody {
    /// From an open file; the kernel can send it.
    File {
        /// The file.
        file: File,
        /// Which bytes of it.
        range: Range<u64>,
    },
    /// From elsewhere.
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { range, .. } => write!(f, "File({range:?})"),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}
