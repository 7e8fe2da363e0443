//! From the stores to a registry.

use super::pipe::{blocking, gone};
use super::{Event, LayerState, Progress};
use crate::chunked;
use crate::layer::Encoder;
use crate::remote::{Mount, Payload, RemoteClient, RemoteOptions};
use crate::{Image, ImageError, ImageStore, Layer};
use hako_content::{Expected, Lease};
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::media_type::{self, Compression};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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
    /// How layers that are stored uncompressed are compressed on the way; equal layers give equal blobs.
    pub compression: Compression,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            remote: RemoteOptions::default(),
            client: None,
            parallel: 4,
            piece: 1 << 40,
            compression: Compression::Gzip,
        }
    }
}

/// What a push did.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The manifest's digest at the registry.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of layers and configuration that went over the network.
    pub moved: u64,
    /// Bytes of the image's blobs that the registry had or took from elsewhere.
    pub saved: u64,
}

/// Sends `image` to the registry, repository and tag of `name`: blobs first, the manifest last.
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

struct Push<'a> {
    store: &'a ImageStore,
    name: &'a ImageRef,
    options: &'a PushOptions,
    progress: &'a Progress,
    client: RemoteClient,
}

impl Push<'_> {
    async fn run(&self, image: &Image) -> Result<Pushed> {
        let lease = Arc::new(self.store.lease("push")?);
        let image = self.compressed(image, &lease).await?;
        let mut blobs = vec![(image.id, self.store.content().size(image.id)?)];
        blobs.extend(image.layers.iter().map(|layer| (layer.digest, layer.size)));
        let (moved, saved) = self.blobs(&blobs, &lease).await?;
        let content = self.store.content().clone();
        let digest = image.manifest_digest;
        let bytes = blocking(move || content.read(digest)).await?;
        let (size, media_type) = (bytes.len() as u64, media_type_of(&bytes));
        let reference = match (self.name.tag(), self.name.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, _) => digest.to_string(),
        };
        let repository = self.name.repository();
        self.client.put_manifest(repository, &reference, &media_type, bytes.into()).await?;
        let (store, known) = (self.store.clone(), self.name.with_digest(digest));
        blocking(move || store.point(digest, &[], &[known]).map(drop)).await?;
        self.progress.tell(Event::Finished { digest, is_up_to_date: moved == 0, moved, saved });
        Ok(Pushed { digest, size, moved, saved })
    }

    /// The image itself, or, where layers are stored uncompressed, one with the same content and compressed
    /// layers; the names of the image then point to that one.
    async fn compressed(&self, image: &Image, lease: &Arc<Lease>) -> Result<Image> {
        let is_plain =
            |layer: &Layer| media_type::layer_compression(&layer.media_type) == Some(Compression::None);
        if self.options.compression == Compression::None || !image.layers.iter().any(is_plain) {
            return Ok(image.clone());
        }
        let (store, image, lease) = (self.store.clone(), image.clone(), lease.clone());
        let compression = self.options.compression;
        blocking(move || {
            let mut layers = image.layers.clone();
            for layer in layers.iter_mut().filter(|layer| is_plain(layer)) {
                *layer = compress(&store, layer, compression, &lease)?;
            }
            store.replace_layers(&image, &layers, &lease)
        })
        .await
    }

    /// Sends what the registry lacks; returns how many bytes that were, and how many it had.
    async fn blobs(&self, blobs: &[(Digest, u64)], lease: &Arc<Lease>) -> Result<(u64, u64)> {
        let places = Arc::new(Semaphore::new(self.options.parallel.max(1)));
        let (mut tasks, mut seen) = (JoinSet::new(), HashSet::new());
        for (digest, size) in blobs {
            if !seen.insert(*digest) {
                continue;
            }
            lease.protect(*digest)?;
            self.progress.layer(*digest, LayerState::Waiting);
            let sending = Sending {
                client: self.client.clone(),
                repository: self.name.repository().to_owned(),
                digest: *digest,
                size: *size,
                path: self.store.content().path(*digest),
                sources: self.store.repositories_with(self.name, *digest),
                piece: self.options.piece,
                progress: self.progress.clone(),
            };
            let places = places.clone();
            tasks.spawn(async move {
                let _place = places.acquire_owned().await;
                sending.run().await
            });
        }
        let (mut moved, mut saved) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            let (size, is_moved) = done.map_err(|_| gone())??;
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
    path: std::path::PathBuf,
    /// Repositories of the same registry that are known to have it.
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
        upload.send_all(self.digest, &self.payload(), self.piece).await?;
        self.progress.layer(self.digest, LayerState::Done { saved: 0 });
        Ok((self.size, true))
    }

    fn payload(&self) -> Payload {
        let (progress, digest, total) = (self.progress.clone(), self.digest, self.size);
        let (sent, told) = (AtomicU64::new(0), AtomicU64::new(0));
        let sent = Arc::new(move |count| {
            let done = (sent.fetch_add(count, Ordering::Relaxed) + count).min(total);
            if done == total || done >= told.load(Ordering::Relaxed) + STEP {
                told.store(done, Ordering::Relaxed);
                progress.layer(digest, LayerState::Uploading { done, total });
            }
        });
        Payload::File { path: self.path.clone(), offset: 0, length: self.size, sent: Some(sent) }
    }
}

/// Stores a compressed form of a layer that is stored plain. The same bytes come out each time.
fn compress(store: &ImageStore, layer: &Layer, compression: Compression, lease: &Lease) -> Result<Layer> {
    let what = format!("layer {}, compressed", layer.digest);
    let mut plain = store.content().open_blob(layer.digest)?;
    let writer = store.content().writer(&what)?.under(lease);
    let (writer, diff_id, annotations) = if compression == Compression::Zstd {
        let written = chunked::write(&mut plain, writer, &what)?;
        (written.writer, written.diff_id, written.annotations)
    } else {
        let mut encoder = Encoder::new(writer, compression)?;
        io::copy(&mut plain, &mut encoder)
            .map_err(|source| crate::layer::ApplyError::Stream { layer: what.clone(), source })?;
        let (writer, diff_id) = encoder.finish()?;
        (writer, diff_id, BTreeMap::new())
    };
    if diff_id != layer.diff_id {
        let (digest, expected) = (layer.digest.to_string(), layer.diff_id.to_string());
        return Err(ImageError::DiffId { digest, expected, actual: diff_id.to_string() }.into());
    }
    let blob = writer.commit(Expected::default())?;
    let media_type = match compression {
        Compression::None => media_type::LAYER_TAR,
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
    };
    Ok(Layer { digest: blob.digest, size: blob.size, media_type: media_type.into(), diff_id, annotations })
}

fn media_type_of(manifest: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    let own = value.as_ref().and_then(|value| value["mediaType"].as_str());
    own.unwrap_or(media_type::MANIFEST).to_owned()
}
