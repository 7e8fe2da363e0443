//! Documents that are no image for this machine, to and from registries: caches of builds, indexes with all that
//! they name.

use super::Progress;
use super::fetch::Fetching;
use super::pipe::blocking;
use super::pull::reference;
use super::push::{Push, PushOptions, media_type_of};
use crate::remote::{RemoteClient, RemoteError, RemoteManifest, RemoteOptions};
use crate::{ImageStore, Layer};
use hako_content::Lease;
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{OnceCell, mpsc};

/// What is sent together.
#[derive(Clone, Debug, Default)]
pub struct Parcel {
    /// Manifests in the content store, each after those that it names; the last one gets the tag.
    pub documents: Vec<Digest>,
    /// What they name besides each other, with sizes.
    pub blobs: Vec<(Digest, u64)>,
}

/// Sends documents and their blobs to the repository of `name`: blobs first, the last document under the tag.
/// A blob that is not here has to be there.
pub async fn push_documents(
    store: &ImageStore,
    parcel: &Parcel,
    name: &ImageRef,
    options: &PushOptions,
    progress: &Progress,
) -> Result<()> {
    let client = match &options.client {
        Some(client) => client.clone(),
        None => RemoteClient::new(name.registry(), options.remote.clone())?,
    };
    let push = Push { store, name, options, progress, client };
    send(&push, parcel).await.map_err(|error| error.context(format!("cannot push {name}")))
}

async fn send(push: &Push<'_>, parcel: &Parcel) -> Result<()> {
    let lease = Arc::new(push.store.lease("push")?);
    let repository = push.name.repository();
    let mut here = Vec::new();
    for (digest, size) in &parcel.blobs {
        if lease.protect(*digest).is_ok() {
            here.push((*digest, *size, None));
        } else if push.client.head_blob(repository, *digest).await?.is_none() {
            return Err(hako_content::ContentError::NotFound { digest: *digest }.into());
        }
    }
    push.blobs(here, &HashMap::new(), &lease).await?;
    for (at, digest) in parcel.documents.iter().enumerate() {
        let (content, digest) = (push.store.content().clone(), *digest);
        let bytes = blocking(move || content.read(digest)).await?;
        let is_last = at + 1 == parcel.documents.len();
        let tag = push.name.tag().filter(|_| is_last).map_or_else(|| digest.to_string(), str::to_owned);
        let media_type = media_type_of(&bytes);
        push.client.put_manifest(repository, &tag, &media_type, bytes.into()).await?;
    }
    Ok(())
}

/// A repository that documents and blobs are read from.
#[derive(Clone, Debug)]
pub struct Repository {
    name: ImageRef,
    client: RemoteClient,
}

impl Repository {
    /// The repository of `name`.
    pub fn new(name: &ImageRef, remote: RemoteOptions) -> Result<Self> {
        Ok(Self { name: name.clone(), client: RemoteClient::new(name.registry(), remote)? })
    }

    /// The manifest under the name, or another one by its digest.
    pub async fn manifest(&self, digest: Option<Digest>) -> Result<RemoteManifest> {
        let reference = digest.map_or_else(|| reference(&self.name), |digest| digest.to_string());
        Ok(self.client.get_manifest(self.name.repository(), &reference).await?)
    }

    /// Whether the repository has the blob.
    pub async fn has(&self, digest: Digest) -> Result<bool> {
        Ok(self.client.head_blob(self.name.repository(), digest).await?.is_some())
    }

    /// A small blob of known size, verified.
    pub async fn bytes(&self, digest: Digest, size: u64) -> Result<Vec<u8>> {
        let mut stream = self.client.get_blob(self.name.repository(), digest, 0).await?;
        let mut bytes = Vec::new();
        let (host, what) = (self.client.host().to_owned(), format!("blob {digest}"));
        while let Some(piece) = stream.chunk().await? {
            if (bytes.len() + piece.len()) as u64 > size {
                return Err(RemoteError::TooLarge { host, what, limit: size }.into());
            }
            bytes.extend_from_slice(&piece);
        }
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(RemoteError::Digest { host, what, expected: digest, actual }.into());
        }
        Ok(bytes)
    }

    /// Brings a layer's blob here under `lease`, verified against digest and size. It is not unpacked.
    pub async fn layer(&self, store: &ImageStore, layer: &Layer, lease: &Lease) -> Result<()> {
        let own = Arc::new(store.lease("fetch")?);
        let (alive, mut all_gone) = mpsc::channel(1);
        let fetching = Fetching {
            store: store.clone(),
            client: self.client.clone(),
            repository: self.name.repository().to_owned(),
            layer: layer.clone(),
            is_bottom: false,
            unpack: false,
            counts: true,
            lease: own.clone(),
            progress: Progress::none(),
            alive,
            index: Arc::new(OnceCell::new()),
            is_spoiled: Arc::new(AtomicBool::new(false)),
        };
        let fetched = fetching.run().await;
        let _ = all_gone.recv().await;
        fetched?;
        lease.protect(layer.digest)
    }
}
