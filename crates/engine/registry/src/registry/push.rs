//! Pushing blobs: sessions, commits, mounts.

use super::{Registry, finish};
use crate::blobs::BlobUpload;
use crate::clock::now_unix_s;
use crate::error::RegistryError;
use crate::name::Repository;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use hako_error::Kind;
use hako_names::Digest;
use std::time::Duration;

/// Bytes that are collected before a thread is asked to write them.
const BATCH_BYTES: usize = 512 << 10;

/// What a chunk left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pushed {
    /// How many bytes of the upload are here.
    pub size: u64,
}

/// Where a chunk says it belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkRange {
    /// Its first byte.
    pub begins: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl Registry {
    /// Begins an upload; returns its id.
    pub(crate) async fn begin_upload(&self, repository: &Repository) -> Result<String, RegistryError> {
        let what = format!("blob of {repository}");
        let upload = self.inner.blobs.begin(&what).await.map_err(RegistryError::storage)?;
        self.inner.uploads.add(repository, upload, self.inner.limits.uploads)
    }

    /// How many bytes of an upload are here.
    pub(crate) fn upload_status(&self, repository: &Repository, id: &str) -> Result<Pushed, RegistryError> {
        let session = self.inner.uploads.lock(repository, id)?;
        let upload = session.upload.as_ref().ok_or_else(|| RegistryError::UploadUnknown { id: id.into() })?;
        Ok(Pushed { size: upload.size() })
    }

    /// Appends a chunk. What came before a cut stays and can be gone on from.
    pub(crate) async fn append<S>(
        &self,
        repository: &Repository,
        id: &str,
        range: Option<ChunkRange>,
        body: S,
    ) -> Result<Pushed, RegistryError>
    where
        S: Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin,
    {
        let mut session = self.inner.uploads.lock(repository, id)?;
        let Some(upload) = &mut session.upload else {
            return Err(RegistryError::UploadUnknown { id: id.into() });
        };
        let before = upload.size();
        if let Some(range) = range.filter(|range| range.begins != before) {
            let (repository, id) = (repository.clone(), id.to_owned());
            return Err(RegistryError::OutOfOrder { repository, id, begins: range.begins, expected: before });
        }
        let received = receive(upload.as_mut(), body).await;
        if let Err(RegistryError::Storage(_)) = received {
            session.upload = None;
            self.inner.uploads.remove(repository, id)?;
        }
        received?;
        let size = session.upload.as_ref().map_or(before, |upload| upload.size());
        match range.map(|range| range.length).filter(|length| *length != size - before) {
            Some(expected) => Err(RegistryError::SizeInvalid { expected, actual: size - before }),
            None => Ok(Pushed { size }),
        }
    }

    /// Ends an upload: its bytes become a blob of the repository.
    pub(crate) async fn commit_upload(
        &self,
        repository: &Repository,
        id: &str,
        digest: Digest,
    ) -> Result<u64, RegistryError> {
        let upload = {
            let mut session = self.inner.uploads.lock(repository, id)?;
            session.upload.take().ok_or_else(|| RegistryError::UploadUnknown { id: id.into() })?
        };
        self.inner.uploads.remove(repository, id)?;
        let (registry, name) = (self.clone(), repository.clone());
        finish(async move { registry.commit(&name, digest, upload, registry.inner.limits.lease).await }).await
    }

    /// The two steps by which a blob comes: bytes, then record.
    pub(super) async fn commit(
        &self,
        repository: &Repository,
        digest: Digest,
        upload: Box<dyn BlobUpload>,
        lease: Duration,
    ) -> Result<u64, RegistryError> {
        let _digest = self.inner.stripes.lock(digest).await;
        let size = match upload.commit(digest).await {
            Ok(blob) => blob.size,
            Err(error) if error.kind() == Kind::Invalid => {
                return Err(RegistryError::DigestMismatch { digest, source: error });
            }
            Err(error) => return Err(RegistryError::storage(error)),
        };
        let (name, quota) = (repository.clone(), self.inner.policy.quota_bytes(repository));
        let until = now_unix_s().saturating_add(lease.as_secs());
        let recorded =
            self.change(move |metadata| metadata.add_link(&name, digest, size, until, quota)).await;
        self.unless_refused(digest, recorded).await?;
        Ok(size)
    }

    /// Forgets an upload.
    pub(crate) fn cancel_upload(&self, repository: &Repository, id: &str) -> Result<(), RegistryError> {
        self.inner.uploads.remove(repository, id)
    }

    /// Gives a repository a blob of another one; whether that one has it.
    pub(crate) async fn mount(
        &self,
        from: &Repository,
        to: &Repository,
        digest: Digest,
    ) -> Result<bool, RegistryError> {
        let (from, to, until) = (from.clone(), to.clone(), self.lease_end());
        let quota = self.inner.policy.quota_bytes(&to);
        let mounted = self.change(move |metadata| metadata.mount(&from, &to, digest, until, quota)).await?;
        Ok(mounted.is_some())
    }
}

/// Hands a body to an upload in batches; what came before a cut is handed over too.
pub(super) async fn receive<S>(upload: &mut dyn BlobUpload, mut body: S) -> Result<(), RegistryError>
where
    S: Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin,
{
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let end = loop {
        match body.next().await {
            Some(Ok(chunk)) => {
                bytes += chunk.len();
                batch.push(chunk);
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
        if bytes >= BATCH_BYTES {
            bytes = 0;
            upload.append(std::mem::take(&mut batch)).await.map_err(RegistryError::storage)?;
        }
    };
    if !batch.is_empty() {
        upload.append(batch).await.map_err(RegistryError::storage)?;
    }
    end
}
