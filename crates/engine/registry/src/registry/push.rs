//! Pushing blobs: sessions, commits, mounts.

use super::{Registry, finish};
use crate::blobs::BlobUpload;
use crate::clock::now_unix_s;
use crate::error::RegistryError;
use crate::name::Repository;
use crate::uploads::{Owner, Room};
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

/// A piece of an upload as a request brings it.
#[derive(Debug)]
pub(crate) struct Chunk<S> {
    /// Where it says it belongs.
    pub range: Option<ChunkRange>,
    /// How many bytes the request announces.
    pub length: Option<u64>,
    /// What the whole upload is to be, where the request says it.
    pub digest: Option<Digest>,
    /// The bytes.
    pub body: S,
}

impl Registry {
    /// Begins an upload of `user`, if the name is known; returns its id.
    pub(crate) async fn begin_upload(
        &self,
        repository: &Repository,
        user: Option<&str>,
    ) -> Result<String, RegistryError> {
        let (uploads, limits) = (&self.inner.uploads, &self.inner.limits);
        let owner = match user {
            Some(user) => Owner::User(user.to_owned()),
            None => Owner::Repository(repository.clone()),
        };
        // Asked before too, so that who has no place makes no work for the storage.
        uploads.admit(&owner, limits)?;
        let what = format!("blob of {repository}");
        let upload = self.inner.blobs.begin(&what).await.map_err(RegistryError::storage)?;
        uploads.add(repository, owner, upload, limits)
    }

    /// How many bytes of an upload are here.
    pub(crate) fn upload_status(&self, repository: &Repository, id: &str) -> Result<Pushed, RegistryError> {
        let session = self.inner.uploads.lock(repository, id)?;
        let upload = session.upload.as_ref().ok_or_else(|| RegistryError::UploadUnknown { id: id.into() })?;
        Ok(Pushed { size: upload.size() })
    }

    /// Appends a chunk. What came before a cut stays and can be gone on from. What the quota has no room for is refused before
    /// it is read: by its announced length, else piece by piece, and then the upload ends.
    pub(crate) async fn append<S>(
        &self,
        repository: &Repository,
        id: &str,
        chunk: Chunk<S>,
    ) -> Result<Pushed, RegistryError>
    where
        S: Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin,
    {
        let Chunk { range, length, digest, body } = chunk;
        let mut session = self.inner.uploads.lock(repository, id)?;
        let Some(upload) = &mut session.upload else {
            return Err(RegistryError::UploadUnknown { id: id.into() });
        };
        let before = upload.size();
        if let Some(range) = range.filter(|range| range.begins != before) {
            let (repository, id) = (repository.clone(), id.to_owned());
            return Err(RegistryError::OutOfOrder { repository, id, begins: range.begins, expected: before });
        }
        let announced = range.map(|range| range.length);
        if let (Some(expected), Some(actual)) = (announced, length)
            && expected != actual
        {
            return Err(RegistryError::SizeInvalid { expected, actual });
        }
        if let Some(length) = length {
            self.reserve(repository, id, digest, before.saturating_add(length))?;
        }
        let mut came = before;
        let counted = body.map(|piece| {
            let piece = piece?;
            came = came.saturating_add(piece.len() as u64);
            // More than it said would be where the next chunk belongs.
            if let Some(expected) = announced.filter(|announced| came - before > *announced) {
                return Err(RegistryError::SizeInvalid { expected, actual: came - before });
            }
            if length.is_none() {
                self.reserve(repository, id, digest, came)?;
            }
            Ok::<Bytes, RegistryError>(piece)
        });
        let received = receive(upload.as_mut(), counted).await;
        if let Err(RegistryError::Storage(_) | RegistryError::Denied { .. }) = received {
            session.upload = None;
            // It may be cancelled already.
            let _ = self.inner.uploads.remove(repository, id);
        }
        let size = session.upload.as_ref().map_or(before, |upload| upload.size());
        self.inner.uploads.settle(id, size);
        received?;
        match announced.filter(|length| *length != size - before) {
            Some(expected) => Err(RegistryError::SizeInvalid { expected, actual: size - before }),
            None => Ok(Pushed { size }),
        }
    }

    /// Lets an upload have `bytes` in all, if the quota has room for them beside what the repository has and what all its
    /// uploads under way have. A blob that the repository has already needs no room.
    fn reserve(
        &self,
        repository: &Repository,
        id: &str,
        digest: Option<Digest>,
        bytes: u64,
    ) -> Result<(), RegistryError> {
        let Some(quota_bytes) = self.inner.policy.quota_bytes(repository) else { return Ok(()) };
        let metadata = &self.inner.metadata;
        let known_bytes = match digest {
            Some(digest) => metadata.link(repository, digest)?.map_or(0, |link| link.size),
            None => 0,
        };
        let used_bytes = metadata.used_bytes(repository)?;
        let room = Room { quota_bytes, used_bytes, known_bytes };
        self.inner.uploads.reserve(repository, id, bytes, room)
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
