//! The operations of a registry, whatever protocol asks for them.

use crate::blobs::{BlobBody, BlobStore};
use crate::clock::now_unix_s;
use crate::condition::Conditions;
use crate::error::RegistryError;
use crate::manifest::Manifest;
use crate::metadata::{LinkRecord, ManifestRecord, Metadata, NewManifest, Target};
use crate::name::{Reference, Repository, Tag};
use crate::policy::Policy;
use crate::stripes::Stripes;
use crate::uploads::Uploads;
use bytes::Bytes;
use hako_names::Digest;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

mod cache;
mod collect;
mod push;
mod recent;
mod retain;

pub use collect::Collected;
pub(crate) use push::{Chunk, ChunkRange, Pushed};
pub use retain::Retired;

/// Bounds of a registry.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a blob stays that no manifest of its repository names.
    pub lease: Duration,
    /// How long an upload may be idle.
    pub upload_idle: Duration,
    /// How many uploads may be under way.
    pub uploads: usize,
    /// How many of them one user may have; callers without a name share those of a repository.
    pub uploads_each: usize,
}

impl Limits {
    /// The usual part of all uploads that one user or repository may have.
    pub(crate) fn usual_part(uploads: usize) -> usize {
        (uploads / 4).max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let (hour, uploads) = (Duration::from_secs(3600), 1024);
        Self { lease: hour, upload_idle: hour, uploads, uploads_each: Self::usual_part(uploads) }
    }
}

/// A registry: metadata and blobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metadata: Metadata,
    blobs: Arc<dyn BlobStore>,
    uploads: Uploads,
    stripes: Stripes,
    recent: recent::Recent,
    limits: Limits,
    policy: Policy,
}

impl Registry {
    /// The registry whose records are in `metadata` and whose bytes are in `blobs`.
    pub(crate) fn new(metadata: Metadata, blobs: Arc<dyn BlobStore>, limits: Limits, policy: Policy) -> Self {
        let (uploads, stripes, recent) = Default::default();
        Self { inner: Arc::new(Inner { metadata, blobs, uploads, stripes, recent, limits, policy }) }
    }

    /// The records, for lists.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// How many uploads are under way.
    pub(crate) fn uploads(&self) -> usize {
        self.inner.uploads.count()
    }

    /// The link to a blob that a client asks for. Renews a lease of which less than half is left; in a cache a lease is
    /// `keep` long.
    pub(crate) async fn blob(
        &self,
        repository: &Repository,
        digest: Digest,
        keep: Option<Duration>,
    ) -> Result<LinkRecord, RegistryError> {
        let lease = keep.unwrap_or(self.inner.limits.lease);
        let unknown = || RegistryError::BlobUnknown { repository: repository.clone(), digest };
        let link = self.inner.metadata.link(repository, digest)?.ok_or_else(unknown)?;
        let left = link.leased_until_unix_s.saturating_sub(now_unix_s());
        if link.holds == 0 && left < lease.as_secs() / 2 {
            let (name, until) = (repository.clone(), now_unix_s().saturating_add(lease.as_secs()));
            let renewed = self.change(move |metadata| metadata.renew(&name, digest, until)).await?;
            renewed.ok_or_else(unknown)?;
        }
        Ok(link)
    }

    /// Opens a part of a blob that [`Registry::blob`] found.
    pub(crate) async fn open_blob(
        &self,
        repository: &Repository,
        digest: Digest,
        range: Range<u64>,
    ) -> Result<BlobBody, RegistryError> {
        match self.inner.blobs.open(digest, range).await {
            Err(error) if error.is_not_found() => {
                Err(match self.inner.metadata.link(repository, digest)? {
                    Some(_) => lost(digest, error),
                    // It went meanwhile.
                    None => RegistryError::BlobUnknown { repository: repository.clone(), digest },
                })
            }
            opened => opened.map_err(RegistryError::storage),
        }
    }

    /// What a tag or digest leads to.
    pub(crate) fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<(Digest, ManifestRecord), RegistryError> {
        let unknown = || {
            let (repository, reference) = (repository.clone(), reference.clone());
            RegistryError::ManifestUnknown { repository, reference }
        };
        self.inner.metadata.manifest(repository, reference)?.ok_or_else(unknown)
    }

    /// The bytes of a manifest that [`Registry::manifest`] found.
    pub(crate) async fn manifest_bytes(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Bytes, RegistryError> {
        if let Some(bytes) = self.inner.recent.get(digest) {
            return Ok(bytes);
        }
        let bytes = match self.inner.blobs.read(digest).await {
            Err(error) if error.is_not_found() => {
                self.manifest(repository, &Reference::Digest(digest))?;
                return Err(lost(digest, error));
            }
            read => read.map_err(RegistryError::storage)?,
        };
        self.inner.recent.keep(digest, &bytes);
        Ok(bytes)
    }

    /// Puts a manifest under its digest and perhaps under tags, if what is presumed is so.
    pub(crate) async fn put_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        target: Target,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Manifest, RegistryError> {
        let manifest = Manifest::parse(content_type, &bytes)?;
        let record = ManifestRecord {
            media_type: manifest.media_type.clone(),
            size: bytes.len() as u64,
            pushed_unix_s: now_unix_s(),
            blobs: manifest.blobs.clone(),
            manifests: manifest.manifests.clone(),
            subject: manifest.subject,
            artifact_type: manifest.artifact_type.clone(),
            annotations: manifest.annotations.clone(),
        };
        self.store_manifest(repository, digest, target, record, manifest.sizes.clone(), bytes).await?;
        Ok(manifest)
    }

    /// The two steps by which a manifest comes: bytes, then record.
    async fn store_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        target: Target,
        record: ManifestRecord,
        sizes: Vec<(Digest, u64)>,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let (registry, repository) = (self.clone(), repository.clone());
        let immutable: Vec<Tag> = target
            .tags
            .iter()
            .filter(|tag| self.inner.policy.is_immutable(&repository, tag))
            .cloned()
            .collect();
        let quota_bytes = self.inner.policy.quota_bytes(&repository);
        finish(async move {
            let _digest = registry.inner.stripes.lock(digest).await;
            let what = format!("manifest of {repository}");
            registry.inner.blobs.put(&what, bytes).await.map_err(RegistryError::storage)?;
            let recorded = registry.change(move |metadata| {
                metadata.put_manifest(&NewManifest {
                    repository: &repository,
                    digest,
                    record,
                    sizes: &sizes,
                    target: &target,
                    immutable: &immutable,
                    quota_bytes,
                })
            });
            registry.unless_refused(digest, recorded.await).await
        })
        .await
    }

    /// After the second step of a commit, with the digest's lock held: bytes without a record go at once.
    pub(super) async fn unless_refused<T>(
        &self,
        digest: Digest,
        recorded: Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        if recorded.is_err() && !self.inner.metadata.has_blob(digest)? {
            self.inner.blobs.delete(digest).await.map_err(RegistryError::storage)?;
        }
        recorded
    }

    /// Removes what a tag or a digest names, if what is presumed of it is so.
    pub(crate) async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: Reference,
        presumed: Conditions,
    ) -> Result<Digest, RegistryError> {
        let (name, asked, until) = (repository.clone(), reference.clone(), self.lease_end());
        let policy = self.inner.policy.clone();
        let deleted = self
            .change(move |metadata| match &asked {
                Reference::Tag(tag) if policy.is_immutable(&name, tag) => Err(RegistryError::Denied {
                    problem: format!("tag {tag} of {name} is immutable and cannot be deleted"),
                }),
                Reference::Tag(tag) => metadata.delete_tag(&name, tag, &presumed),
                Reference::Digest(digest) => {
                    let is_immutable = |tag: &Tag| policy.is_immutable(&name, tag);
                    let deleted =
                        metadata.delete_manifest(&name, *digest, until, &is_immutable, &presumed)?;
                    Ok(deleted.map(|_| *digest))
                }
            })
            .await?;
        deleted.ok_or_else(|| RegistryError::ManifestUnknown { repository: repository.clone(), reference })
    }

    /// Removes a blob from a repository; refuses while a manifest names it.
    pub(crate) async fn delete_blob(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<(), RegistryError> {
        let name = repository.clone();
        let deleted = self.change(move |metadata| metadata.delete_link(&name, digest)).await?;
        deleted.ok_or_else(|| RegistryError::BlobUnknown { repository: repository.clone(), digest })
    }

    /// When a lease that begins now ends.
    fn lease_end(&self) -> u64 {
        now_unix_s().saturating_add(self.inner.limits.lease.as_secs())
    }

    /// Runs a transaction where waiting for the disk holds up nobody.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Metadata) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let metadata = self.inner.metadata.clone();
        joined(tokio::task::spawn_blocking(move || work(&metadata)).await)
    }
}

/// What has a record has bytes; if not, that is no answer "not found".
fn lost(digest: Digest, error: hako_error::Error) -> RegistryError {
    let what = hako_error::Error::new(hako_error::Kind::DataLoss, format!("the bytes of {digest} are gone"));
    RegistryError::storage(what.with_source(error))
}

/// Runs something to its end even if the client goes away meanwhile: steps that belong together are not torn apart.
async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
) -> Result<T, RegistryError> {
    joined(tokio::spawn(work).await)
}

/// Flattens a task's result; a task only fails to end when the runtime does, or by a fault of ours.
fn joined<T>(result: Result<Result<T, RegistryError>, tokio::task::JoinError>) -> Result<T, RegistryError> {
    result.unwrap_or_else(|error| {
        let what = hako_error::Error::new(hako_error::Kind::Internal, "a task ended early");
        Err(RegistryError::storage(what.with_source(error)))
    })
}
