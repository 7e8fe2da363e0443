//! What comes from upstream instead of from a push.

use super::{Registry, finish, push};
use crate::clock::now_unix_s;
use crate::error::RegistryError;
use crate::manifest::Manifest;
use crate::metadata::{ManifestRecord, Target};
use crate::name::{Repository, Tag};
use bytes::Bytes;
use futures::Stream;
use hako_names::Digest;
use std::collections::BTreeMap;
use std::time::Duration;

impl Registry {
    /// Stores a manifest without what it names.
    pub(crate) async fn cache_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        tags: Vec<Tag>,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let manifest = Manifest::parse(content_type, &bytes)?;
        let record = ManifestRecord {
            media_type: manifest.media_type,
            size: bytes.len() as u64,
            pushed_unix_s: now_unix_s(),
            blobs: Vec::new(),
            manifests: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        let target = Target { tags, presumed: None };
        self.store_manifest(repository, digest, target, record, Vec::new(), bytes).await?;
        self.touch_manifest(repository, digest).await
    }

    /// Says that a cached manifest is wanted still.
    pub(crate) async fn touch_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<(), RegistryError> {
        let name = repository.clone();
        self.change(move |metadata| metadata.touch_manifest(&name, digest, now_unix_s())).await
    }

    /// Stores a blob that nothing names, for `keep` from its last use.
    pub(crate) async fn cache_blob<S>(
        &self,
        repository: &Repository,
        digest: Digest,
        keep: Duration,
        body: S,
    ) -> Result<(), RegistryError>
    where
        S: Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin,
    {
        let what = format!("blob of {repository}");
        let mut upload = self.inner.blobs.begin(&what).await.map_err(RegistryError::storage)?;
        push::receive(upload.as_mut(), body).await?;
        let (registry, repository) = (self.clone(), repository.clone());
        finish(async move { registry.commit(&repository, digest, upload, keep).await }).await.map(drop)
    }
}
