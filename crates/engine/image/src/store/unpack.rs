//! From layers to snapshots, each layer once.

use super::ImageStore;
use crate::image::{Image, Layer};
use crate::layer::{Applied, Decoder, HashingReader, Limits, apply};
use crate::transfer::Stop;
use crate::{ImageError, chain_id};
use hako_error::{Kind, Result};
use hako_names::Digest;
use hako_oci::media_type;
use hako_snapshot::Mounts;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Keys of snapshots that are being unpacked: what bears one when the store is opened is a leftover.
pub(super) const KEY_PREFIX: &str = "unpack-";

/// One lock for each snapshot that is being unpacked, so that two callers never unpack the same layer.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Flights {
    /// Runs `work` while nobody else works on `name`.
    pub(super) fn alone<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        let flight = self.0.lock().entry(name.to_owned()).or_default().clone();
        let result = {
            let _guard = flight.lock();
            work()
        };
        let mut flights = self.0.lock();
        // Two owners are the table and this call: nobody waits.
        if Arc::strong_count(&flight) == 2 {
            flights.remove(name);
        }
        result
    }
}

/// One lock for each blob that is being downloaded, so that two pulls fetch a layer once.
#[derive(Debug, Default)]
pub(super) struct Downloads(Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl ImageStore {
    /// Waits until nobody else downloads the blob, and keeps others waiting while the guard is held.
    pub(crate) async fn download_alone(&self, digest: Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut downloads = self.inner.downloads.0.lock();
            downloads.retain(|_, lock| lock.strong_count() > 0);
            let found = downloads.get(&digest).and_then(Weak::upgrade);
            found.unwrap_or_else(|| {
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                downloads.insert(digest, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    /// Makes sure that all layers are applied; returns the snapshot to prepare containers on, `None` for an
    /// image without layers.
    pub fn unpack(&self, image: &Image) -> Result<Option<String>> {
        self.touch(image.manifest_digest);
        self.unpack_layers(&image.layers)
    }

    /// The same for a stack of layers that no image has yet.
    pub fn unpack_layers(&self, layers: &[Layer]) -> Result<Option<String>> {
        let Some(top) = chain_id(layers.iter().map(|layer| layer.diff_id)).map(|id| id.hex()) else {
            return Ok(None);
        };
        let pin = self.pin(&top);
        if self.is_unpacked(&top) {
            return Ok(Some(top));
        }
        let (mut parent, mut diff_ids) = (None, Vec::new());
        let mut parent_pin = None;
        for layer in layers {
            diff_ids.push(layer.diff_id);
            let Some(name) = chain_id(diff_ids.iter().copied()).map(|id| id.hex()) else {
                continue;
            };
            let pin = self.pin(&name);
            self.unpack_layer(&name, parent.as_deref(), layer)?;
            parent = Some(name);
            parent_pin = Some(pin);
        }
        drop((pin, parent_pin));
        Ok(parent)
    }

    /// Whether the snapshot of that chain id is committed.
    #[must_use]
    pub fn is_unpacked(&self, chain_id: &str) -> bool {
        self.snapshots().stat(chain_id).is_ok()
    }

    pub(crate) fn unpack_layer(&self, name: &str, parent: Option<&str>, layer: &Layer) -> Result<()> {
        self.unpack_layer_until(name, parent, layer, &Stop::default())
    }

    /// The same, unless it is stopped: nothing of it is left then.
    pub(crate) fn unpack_layer_until(
        &self,
        name: &str,
        parent: Option<&str>,
        layer: &Layer,
        stop: &Stop,
    ) -> Result<()> {
        self.inner.flights.alone(name, || {
            if self.is_unpacked(name) {
                return Ok(());
            }
            let compression =
                media_type::layer_compression(&layer.media_type).ok_or_else(|| ImageError::MediaType {
                    digest: layer.digest.to_string(),
                    media_type: layer.media_type.clone(),
                })?;
            let blob = self.content().open_blob(layer.digest)?;
            let reader = Decoder::new(BufReader::with_capacity(1 << 17, blob), compression)?;
            let reader = stop.reader(reader);
            self.with_fresh_snapshot(name, parent, |root| {
                let limits = self.layer_limits(layer.size);
                let (diff_id, _) = apply_all(root, reader, &layer.digest.to_string(), limits)?;
                if diff_id == layer.diff_id {
                    return Ok(());
                }
                let (digest, expected) = (layer.digest.to_string(), layer.diff_id.to_string());
                Err(ImageError::DiffId { digest, expected, actual: diff_id.to_string() }.into())
            })
        })
    }

    /// Prepares a snapshot, lets `fill` write into it, commits it as `name`; on failure nothing is left.
    pub(super) fn with_fresh_snapshot(
        &self,
        name: &str,
        parent: Option<&str>,
        fill: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        let key = fresh_key();
        let mounts = self.snapshots().prepare(&key, parent)?;
        let result = self
            .open_root(&mounts, parent)
            .and_then(|root| fill(&root))
            .and_then(|()| self.commit_snapshot(name, &key));
        if result.is_err() {
            let _ = self.snapshots().remove(&key);
        }
        result
    }

    /// Commits `key` as `name`; where the same content is committed already, `key` is dropped.
    pub(super) fn commit_snapshot(&self, name: &str, key: &str) -> Result<()> {
        match self.snapshots().commit(name, key) {
            Err(error) if error.kind() == Kind::AlreadyExists => self.snapshots().remove(key),
            result => result,
        }
    }

    /// The directory to apply a layer to: without a parent the upper directory itself, else the merged tree.
    pub(super) fn open_root(&self, mounts: &Mounts, parent: Option<&str>) -> Result<File> {
        let path = match (&mounts.upper, parent) {
            (Some(upper), None) => upper.clone(),
            _ => {
                let tree = self.snapshots().mounted_unsynced(mounts)?;
                return Ok(open_dir(&tree.path())?);
            }
        };
        Ok(open_dir(&path)?)
    }
}

fn open_dir(path: &std::path::Path) -> Result<File, ImageError> {
    File::open(path).map_err(ImageError::io("open", path))
}

/// A key that no other unpack has.
pub(super) fn fresh_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{KEY_PREFIX}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Applies a tar to `root`; returns the digest of the whole stream, padding included, and what was done.
pub(super) fn apply_all(
    root: &File,
    reader: impl std::io::Read,
    what: &str,
    limits: Limits,
) -> Result<(Digest, Applied)> {
    let mut reader = HashingReader::new(reader);
    let applied = apply(root, &mut reader, what, limits)?;
    std::io::copy(&mut reader, &mut std::io::sink())
        .map_err(|source| crate::layer::ApplyError::Stream { layer: what.to_owned(), source })?;
    Ok((reader.finish(), applied))
}
