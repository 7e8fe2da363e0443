//! From the stores to a registry.

use super::pipe::blocking;
use super::places::Places;
use super::{Event, LayerState, Progress};
use crate::form::LayerForm;
use crate::remote::{Mount, Payload, RemoteClient, RemoteOptions};
use crate::store::{Outgoing, Planned};
use crate::{Image, ImageStore};
use hako_content::Lease;
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::media_type;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A piece that any blob fits.
pub(super) const WHOLE: u64 = 1 << 40;
/// How many bytes go between two events of progress.
const STEP: u64 = 512 << 10;

/// How an image is pushed.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// How the registry is spoken to, where `client` is not given.
    pub remote: RemoteOptions,
    /// A client to use: its connections and tokens are shared with other calls.
    pub client: Option<RemoteClient>,
    /// How many blobs are moved at the same time.
    pub parallel: usize,
    /// The largest piece of a blob in one request, in bytes.
    pub piece: u64,
    /// How layers are compressed; equal layers give equal blobs. `None` sends what a registry has already as it is
    /// there, and all else as gzip, which every client reads.
    pub form: Option<LayerForm>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { remote: RemoteOptions::default(), client: None, parallel: 4, piece: WHOLE, form: None }
    }
}

/// What a push did.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The digest of manifest or index at the registry.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of layers and configuration that went over the network.
    pub moved: u64,
    /// Bytes of the image's blobs that the registry had or took from elsewhere.
    pub saved: u64,
}

/// Sends `image`, or the index that its name stands for, to the registry, repository and tag of `name`: blobs first,
/// what gets the tag last.
pub async fn push(
    store: &ImageStore,
    image: &Image,
    name: &ImageRef,
    options: &PushOptions,
    progress: &Progress,
) -> Result<Pushed> {
    let client = match &options.client {
        Some(client) => client.clone(),
        None => RemoteClient::new(name.registry(), options.remote.clone())?,
    };
    let push = Push { store, name, options, progress, client };
    push.run(image).await.map_err(|error| error.context(format!("cannot push {name}")))
}

pub(super) struct Push<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) name: &'a ImageRef,
    pub(super) options: &'a PushOptions,
    pub(super) progress: &'a Progress,
    pub(super) client: RemoteClient,
}

impl Push<'_> {
    async fn run(&self, image: &Image) -> Result<Pushed> {
        let lease = Arc::new(self.store.lease("push")?);
        let form = self.form(image, &lease).await?;
        let sent = self.send_unmade(image, form, &lease).await?;
        let outgoing = self.outgoing(image, form, &lease).await?;
        let (digest, bytes) = outgoing.top();
        let (size, bytes) = (bytes.len() as u64, bytes.to_vec());
        let mut blobs: Vec<_> =
            outgoing.blobs.into_iter().map(|(digest, size)| (digest, size, None)).collect();
        for planned in outgoing.layers {
            blobs.push((planned.layer.digest, planned.layer.size, Some(planned)));
        }
        let (moved, saved) = self.blobs(blobs, &sent, &lease).await?;
        for (own, bytes) in outgoing.documents {
            // All but the last are found by their digests.
            let tag = self.name.tag().filter(|_| own == digest);
            let reference = tag.map_or_else(|| own.to_string(), str::to_owned);
            let media_type = media_type_of(&bytes);
            let repository = self.name.repository();
            self.client.put_manifest(repository, &reference, &media_type, bytes.into()).await?;
        }
        let (store, known) = (self.store.clone(), self.name.with_digest(digest));
        let here = image.manifest_digest;
        blocking(move || {
            // What a registry calls the image is kept, as an index is of which one was chosen.
            store.content().put("a pushed manifest", &bytes, Some(&lease))?;
            store.point(here, &[], &[known]).map(drop)
        })
        .await?;
        self.progress.tell(Event::Finished { digest, is_up_to_date: moved == 0, moved, saved });
        Ok(Pushed { digest, size, moved, saved })
    }

    /// How its layers go. From here on the image stays.
    async fn form(&self, image: &Image, lease: &Arc<Lease>) -> Result<LayerForm> {
        let (store, image, lease) = (self.store.clone(), image.clone(), lease.clone());
        let wanted = self.options.form;
        blocking(move || {
            store.hold(&image, &lease)?;
            let usual = || if store.is_elsewhere(&image) { LayerForm::Stored } else { LayerForm::Gzip };
            Ok(wanted.unwrap_or_else(usual))
        })
        .await
    }

    /// What is to be sent. The image here stays as it is.
    async fn outgoing(&self, image: &Image, form: LayerForm, lease: &Arc<Lease>) -> Result<Outgoing> {
        let (store, image, lease) = (self.store.clone(), image.clone(), lease.clone());
        blocking(move || store.outgoing(&image, &|_| form, &lease)).await
    }

    /// Sends what the registry lacks, beside what was sent already; returns how many bytes that were, and how many it had.
    pub(super) async fn blobs(
        &self,
        blobs: Vec<(Digest, u64, Option<Planned>)>,
        sent: &HashMap<Digest, bool>,
        lease: &Arc<Lease>,
    ) -> Result<(u64, u64)> {
        let (mut places, mut seen) = (Places::new(self.options.parallel), HashSet::new());
        let (mut moved, mut saved) = (0, 0);
        for (digest, size, planned) in blobs {
            if !seen.insert(digest) {
                continue;
            }
            if let Some(is_moved) = sent.get(&digest) {
                *(if *is_moved { &mut moved } else { &mut saved }) += size;
                continue;
            }
            self.progress.layer(digest, LayerState::Waiting);
            let stored = planned.as_ref().and_then(|planned| planned.from.as_ref());
            let known: Vec<Digest> =
                stored.map(|(layer, _)| layer.digest).into_iter().chain([digest]).collect();
            let sending = Sending {
                client: self.client.clone(),
                repository: self.name.repository().to_owned(),
                digest,
                size,
                store: self.store.clone(),
                lease: lease.clone(),
                planned,
                sources: self.store.repositories_with(self.name, &known),
                piece: self.options.piece,
                progress: self.progress.clone(),
            };
            places.begin(sending.run());
        }
        while let Some(done) = places.next().await {
            let (size, is_moved) = done??;
            *(if is_moved { &mut moved } else { &mut saved }) += size;
        }
        Ok((moved, saved))
    }
}

/// One blob on its way.
struct Sending {
    client: RemoteClient,
    repository: String,
    digest: Digest,
    size: u64,
    store: ImageStore,
    lease: Arc<Lease>,
    /// How it is made if it is not here.
    planned: Option<Planned>,
    /// Repositories of the same registry that probably have it.
    sources: Vec<String>,
    piece: u64,
    progress: Progress,
}

impl Sending {
    /// Returns the blob's size and whether its bytes had to be sent.
    async fn run(self) -> Result<(u64, bool)> {
        if self.client.head_blob(&self.repository, self.digest).await?.is_some() {
            self.progress.layer(self.digest, LayerState::Exists);
            return Ok((self.size, false));
        }
        let mut upload = None;
        if let Some(from) = self.sources.first() {
            match self.client.mount_blob(&self.repository, self.digest, from).await {
                Ok(Mount::Mounted) => {
                    self.progress.layer(self.digest, LayerState::Mounted { from: from.clone() });
                    return Ok((self.size, false));
                }
                Ok(Mount::Upload(started)) => upload = Some(started),
                // Asking was a courtesy: without rights to the other repository the bytes are sent.
                Err(error) => tracing::debug!(%error, from, "a registry does not mount a blob"),
            }
        }
        let upload = match upload {
            Some(upload) => upload,
            None => self.client.start_upload(&self.repository).await?,
        };
        self.provide().await?;
        upload.send_all(self.digest, &self.payload(), self.piece).await?;
        self.progress.layer(self.digest, LayerState::Done { saved: 0 });
        Ok((self.size, true))
    }

    async fn provide(&self) -> Result<()> {
        let Some(planned) = self.planned.clone() else { return Ok(()) };
        let (store, lease) = (self.store.clone(), self.lease.clone());
        blocking(move || store.provide(&planned, &lease)).await
    }

    fn payload(&self) -> Payload {
        let (progress, digest, total) = (self.progress.clone(), self.digest, self.size);
        let (path, sent, told) = (self.store.content().path(digest), AtomicU64::new(0), AtomicU64::new(0));
        let sent = Arc::new(move |count| {
            let done = (sent.fetch_add(count, Ordering::Relaxed) + count).min(total);
            if done == total || done >= told.load(Ordering::Relaxed) + STEP {
                told.store(done, Ordering::Relaxed);
                progress.layer(digest, LayerState::Uploading { done, total });
            }
        });
        Payload::File { path, offset: 0, length: self.size, sent: Some(sent) }
    }
}

pub(super) fn media_type_of(manifest: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    let own = value.as_ref().and_then(|value| value["mediaType"].as_str());
    own.unwrap_or(media_type::MANIFEST).to_owned()
}
