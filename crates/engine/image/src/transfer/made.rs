//! Layers that are sent while they are made.
//!
//! ```text
//! stored layer -> decompress, hash -> compress on all processors -> file -+-> digest: HEAD, PUT ?digest=
//!                                                                         +-> one PATCH of what is there
//! ```
//! Only the last byte tells a layer's digest. So the upload begins without it, as a client of Docker does, and is taken back
//! if the registry turns out to have the blob: over a slow network little was sent by then. The file is read while it is
//! written and goes with its last reader; a cut connection continues from it.

use super::LayerState;
use super::pipe::blocking;
use super::places::Places;
use super::progress::Stop;
use super::push::{Push, WHOLE};
use crate::form::LayerForm;
use crate::remote::{Payload, RemoteClient, RemoteError, Upload};
use crate::store::{ImageStore, Making};
use crate::{Image, Layer};
use hako_content::Lease;
use hako_error::Result;
use hako_names::Digest;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

impl Push<'_> {
    /// Sends the layers of which nobody knows yet what they are in that form, and beside them the image's configuration.
    /// Returns the digests of what it sent, and whether the bytes went.
    pub(super) async fn send_unmade(
        &self,
        image: &Image,
        form: LayerForm,
        lease: &Arc<Lease>,
    ) -> Result<HashMap<Digest, bool>> {
        let unmade = self.unmade(image, form);
        if unmade.is_empty() {
            return Ok(HashMap::new());
        }
        let (mut sent, config) =
            tokio::try_join!(self.send_layers(unmade, form), self.send_config(image, lease))?;
        sent.insert(image.id, config);
        Ok(sent)
    }

    fn unmade<'a>(&self, image: &'a Image, form: LayerForm) -> Vec<&'a Layer> {
        // Who wants small requests gets them, which takes a known length.
        if self.options.piece < WHOLE {
            return Vec::new();
        }
        let mut seen = HashSet::new();
        let is_sent = |layer: &&Layer| {
            // What another repository has is mounted.
            seen.insert(layer.digest)
                && self.store.is_unmade(layer, form)
                && self.store.repositories_with(self.name, &[layer.digest]).is_empty()
        };
        image.layers.iter().filter(is_sent).collect()
    }

    /// It does not depend on how the layers go, and takes a registry as many requests, each of which it puts on its disk.
    async fn send_config(&self, image: &Image, lease: &Arc<Lease>) -> Result<bool> {
        let size = self.store.content().size(image.id)?;
        let (moved, _) = self.blobs(vec![(image.id, size, None)], &HashMap::new(), lease).await?;
        Ok(moved > 0)
    }

    async fn send_layers(&self, layers: Vec<&Layer>, form: LayerForm) -> Result<HashMap<Digest, bool>> {
        let mut places = Places::new(self.options.parallel);
        for layer in layers {
            self.progress.layer(layer.digest, LayerState::Waiting);
            let sending = Sending {
                client: self.client.clone(),
                repository: self.name.repository().to_owned(),
                store: self.store.clone(),
                layer: layer.clone(),
                form,
                piece: self.options.piece,
                progress: self.progress.clone(),
            };
            places.begin(sending.run());
        }
        let mut sent = HashMap::new();
        while let Some(done) = places.next().await {
            let (digest, is_moved) = done??;
            sent.insert(digest, is_moved);
        }
        Ok(sent)
    }
}

/// One layer on its way.
struct Sending {
    client: RemoteClient,
    repository: String,
    store: ImageStore,
    /// As it is stored.
    layer: Layer,
    form: LayerForm,
    piece: u64,
    progress: super::Progress,
}

/// What came of the upload that began before the digest was known.
enum Followed {
    /// The registry has the blob.
    Exists,
    Sent,
    Broken(RemoteError),
}

impl Sending {
    /// Returns the digest that the layer has in its form and whether its bytes had to be sent.
    async fn run(self) -> Result<(Digest, bool)> {
        // First, so that who may not push is told at once.
        let mut upload = self.client.start_upload(&self.repository).await?;
        let (store, layer, form) = (self.store.clone(), self.layer.clone(), self.form);
        let making = blocking(move || store.making(&layer, form)).await?;
        let payload = self.payload(&making);
        let stop = Stop::default();
        let _stop = stop.on_drop();
        let (made, followed) = self.follow(&mut upload, &payload, making, stop).await?;
        match followed {
            Followed::Exists => {
                // A courtesy: what nobody continues is forgotten.
                let _ = upload.cancel().await;
                self.progress.layer(self.layer.digest, LayerState::Exists);
                return Ok((made.digest, false));
            }
            Followed::Sent => {}
            Followed::Broken(error) => upload.recover(error).await?,
        }
        upload.send_all(made.digest, &payload, self.piece).await?;
        self.progress.layer(self.layer.digest, LayerState::Done { saved: 0 });
        Ok((made.digest, true))
    }

    /// Makes and sends at the same time, and asks for the blob as soon as its digest is known.
    async fn follow(
        &self,
        upload: &mut Upload,
        payload: &Payload,
        making: Making,
        stop: Stop,
    ) -> Result<(Layer, Followed)> {
        let (store, layer, form) = (self.store.clone(), self.layer.clone(), self.form);
        let mut made = std::pin::pin!(blocking(move || store.make(&layer, form, making, &stop)));
        let mut sent = std::pin::pin!(upload.follow(payload));
        let followed =
            |sent: Result<(), RemoteError>| sent.map_or_else(Followed::Broken, |()| Followed::Sent);
        let layer = tokio::select! {
            // Blocking work starts in the order in which it is asked for: no place is taken by one that reads what nobody
            // has a place to make.
            biased;
            layer = made.as_mut() => layer?,
            // All of it, or as much as the connection lasted for.
            sent = sent.as_mut() => match sent {
                // Nobody needs the rest of the layer to be told.
                Err(error) if !Upload::may_recover(&error) => return Err(error.into()),
                sent => return Ok((made.await?, followed(sent))),
            },
        };
        let mut there = std::pin::pin!(self.client.head_blob(&self.repository, layer.digest));
        tokio::select! {
            there = there.as_mut() => match there? {
                Some(_) => Ok((layer, Followed::Exists)),
                None => Ok((layer, followed(sent.await))),
            },
            sent = sent.as_mut() => Ok((layer, followed(sent))),
        }
    }

    fn payload(&self, making: &Making) -> Payload {
        let (progress, digest, size) = (self.progress.clone(), self.layer.digest, self.layer.size);
        let done = AtomicU64::new(0);
        let sent = Arc::new(move |count| {
            let done = done.fetch_add(count, Ordering::Relaxed) + count;
            // Nobody knows the size; most layers become no larger than they are.
            progress.layer(digest, LayerState::Uploading { done, total: size.max(done) });
        });
        Payload::Growing { growth: making.growth(), offset: 0, most: u64::MAX, sent: Some(sent) }
    }
}
