//! The collector: a bounded piece at a time, beside pushes and pulls.

use super::Registry;
use crate::clock::now_unix_s;
use crate::error::RegistryError;
use futures::StreamExt as _;

/// Links whose lease is ended, or blobs that are deleted, in one piece.
const PIECE: usize = 256;

/// What a round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Uploads that were idle for too long, or that a crash left in a bucket.
    pub uploads: usize,
    /// Links whose lease was over.
    pub links: usize,
    /// Blobs that nobody had.
    pub blobs: usize,
}

impl Registry {
    /// One round: ends what is over and deletes what nobody has. Everything else goes on meanwhile.
    pub async fn collect(&self) -> Result<Collected, RegistryError> {
        let idle = self.inner.uploads.expire(self.inner.limits.upload_idle);
        let left = self.inner.blobs.end_unended().await;
        let mut done = Collected { uploads: idle + left, ..Collected::default() };
        loop {
            let now = now_unix_s();
            let links = self.change(move |metadata| metadata.expire(now, PIECE)).await?;
            done.links += links;
            if links < PIECE {
                break;
            }
        }
        loop {
            let unlinked = self.inner.metadata.unlinked(PIECE)?;
            let count = unlinked.len();
            for digest in unlinked {
                let _digest = self.inner.stripes.lock(digest).await;
                if !self.inner.metadata.is_unlinked(digest)? {
                    continue;
                }
                self.inner.blobs.delete(digest).await.map_err(RegistryError::storage)?;
                self.change(move |metadata| metadata.forget(digest)).await?;
                done.blobs += 1;
            }
            if count < PIECE {
                return Ok(done);
            }
        }
    }

    /// Deletes bytes that have no record: what a crash left between a blob's two steps.
    pub async fn sweep(&self) -> Result<usize, RegistryError> {
        let mut stored = self.inner.blobs.list().await.map_err(RegistryError::storage)?;
        let mut deleted = 0;
        while let Some(digest) = stored.next().await {
            let digest = digest.map_err(RegistryError::storage)?;
            let _digest = self.inner.stripes.lock(digest).await;
            if !self.inner.metadata.has_blob(digest)? {
                self.inner.blobs.delete(digest).await.map_err(RegistryError::storage)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}
