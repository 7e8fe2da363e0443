//! New images from layers.

use super::names::{Begun, Names};
use super::{ImageStore, NewLayer};
use crate::ImageError;
use crate::image::{Image, Layer};
use hako_content::{Finished, Lease};
use hako_error::{Kind, Result};
use hako_names::{Digest, ImageRef};
use hako_oci::image::{History, ImageConfiguration};
use hako_oci::media_type;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a new image is made of. The configuration's `rootfs` is filled in from the layers.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// Configuration and history.
    pub config: ImageConfiguration,
    /// Fields for the configuration's `config` object that OCI does not know, such as `Healthcheck`.
    pub extra_config: serde_json::Map<String, Value>,
    /// Fields beside `config` that OCI does not know.
    pub extra_fields: serde_json::Map<String, Value>,
    /// The layers, lowest first; their blobs are in the content store.
    pub layers: Vec<Layer>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Names to point to it; with none the image is kept without a name.
    pub names: Vec<ImageRef>,
}

impl ImageStore {
    /// A lease under which new layers are written; it ends when dropped, or after a day should the process die.
    pub fn lease(&self, what: &str) -> Result<Lease> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = format!("{what}{}{}", own_mark(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.content().lease(&id, Duration::from_secs(24 * 3600))
    }

    /// Turns the unmounted active snapshot `key` into the snapshot of `chain_id`, so that the layer just
    /// written from it need not be unpacked again.
    pub fn adopt_snapshot(&self, chain_id: &str, key: &str) -> Result<()> {
        self.commit_snapshot(chain_id, key)
    }

    /// The same on another parent than it was prepared on; nothing may have been looked up in that one.
    pub fn adopt_snapshot_onto(&self, chain_id: &str, key: &str, parent: Option<&str>) -> Result<()> {
        match self.snapshots().commit_onto(chain_id, key, parent) {
            Err(error) if error.kind() == Kind::AlreadyExists => self.snapshots().remove(key),
            result => result,
        }
    }

    /// Stores configuration and manifest and points the names to them; the same input gives the same digest.
    pub fn commit_image(&self, new: NewImage) -> Result<Image> {
        self.commit_image_with(new, Vec::new())
    }

    /// The same with layers whose blobs have yet to be waited for: the disk is waited for once.
    pub fn commit_image_with(&self, new: NewImage, unsynced: Vec<NewLayer>) -> Result<Image> {
        let lease = self.lease("commit")?;
        hako_sys::failpoint!("image.commit.layer");
        let (manifest, blobs) = self.stage_image(&new, unsynced, &lease)?;
        let begun = self.inner.names.read().begin(&new.names, manifest);
        self.content().commit_all(blobs)?;
        hako_sys::failpoint!("image.commit.manifest");
        let image = self.point_begun(manifest, None, &new.names, &[], begun);
        hako_sys::failpoint!("image.commit.named");
        image
    }

    /// Stores configuration and manifest only: the image goes with the lease unless an index gets it.
    pub fn write_image(&self, new: &NewImage, lease: &Lease) -> Result<Image> {
        let (manifest, blobs) = self.stage_image(new, Vec::new(), lease)?;
        self.content().commit_all(blobs)?;
        self.image(manifest)
    }

    /// The manifest's digest, and all that an image needs and that nobody has waited for.
    fn stage_image(
        &self,
        new: &NewImage,
        unsynced: Vec<NewLayer>,
        lease: &Lease,
    ) -> Result<(Digest, Vec<Finished>)> {
        let is_synced = |layer: &&Layer| unsynced.iter().all(|one| one.layer().digest != layer.digest);
        new.layers.iter().filter(is_synced).try_for_each(|layer| lease.protect(layer.digest))?;
        let config = config_bytes(new)?;
        let mut manifest = manifest_of(Digest::of(&config), config.len() as u64, &new.layers);
        if !new.annotations.is_empty() {
            manifest["annotations"] = json!(new.annotations);
        }
        let manifest = to_vec(&manifest)?;
        let mut blobs: Vec<Finished> = unsynced.into_iter().map(NewLayer::into_blob).collect();
        blobs.extend(self.content().stage("an image configuration", &config, lease)?);
        blobs.extend(self.content().stage("a manifest", &manifest, lease)?);
        Ok((Digest::of(&manifest), blobs))
    }

    /// Stores a manifest for a configuration and layers that are here.
    pub(crate) fn manifest_for(&self, config: Digest, layers: &[Layer], lease: &Lease) -> Result<Digest> {
        let manifest = manifest_of(config, self.content().size(config)?, layers);
        Ok(self.content().put("a manifest", &to_vec(&manifest)?, Some(lease))?.digest)
    }

    /// The repositories of the same registry that images with one of these blobs were pulled from or pushed to.
    pub(crate) fn repositories_with(&self, name: &ImageRef, blobs: &[Digest]) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for image in self.list().unwrap_or_default() {
            let has_it =
                blobs.contains(&image.id) || image.layers.iter().any(|layer| blobs.contains(&layer.digest));
            let there = image.repo_digests.iter().filter(|known| {
                has_it && known.registry() == name.registry() && known.repository() != name.repository()
            });
            found.extend(there.map(|known| known.repository().to_owned()));
        }
        found.sort();
        found.dedup();
        found
    }

    /// Points names to a manifest that is in the content store with all it needs; `digests` is what registries
    /// call it.
    pub(crate) fn point(&self, manifest: Digest, names: &[ImageRef], digests: &[ImageRef]) -> Result<Image> {
        self.point_among(manifest, None, names, digests)
    }

    /// The same for a manifest of an index.
    pub(crate) fn point_among(
        &self,
        manifest: Digest,
        index: Option<Digest>,
        names: &[ImageRef],
        digests: &[ImageRef],
    ) -> Result<Image> {
        self.point_begun(manifest, index, names, digests, Vec::new())
    }

    fn point_begun(
        &self,
        manifest: Digest,
        index: Option<Digest>,
        names: &[ImageRef],
        digests: &[ImageRef],
        begun: Vec<Begun>,
    ) -> Result<Image> {
        // Reading it first: what cannot be used gets no name.
        self.parsed(manifest)?;
        let change = |table: &mut Names| {
            for name in names {
                table.set(name, manifest, index)?;
            }
            for digest in digests {
                table.set_digest(digest, manifest)?;
            }
            if table.names_of(manifest).is_empty() {
                let index = index.or_else(|| table.index_with(manifest));
                table.keep(manifest, index)?;
            }
            Ok(())
        };
        self.rename(|table| table.with_begun(begun, change))?;
        self.touch(manifest);
        let mut image = self.image(manifest)?;
        image.name = names.first().cloned();
        if let Some(name) = &image.name {
            image.index = self.inner.names.read().index_of(name);
        }
        Ok(image)
    }
}

/// What the ids of this process's leases have in them. The number alone may be that of an earlier process: in a container
/// it is the same at each start.
pub(super) fn own_mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("-{}.{:x}-", std::process::id(), started.as_nanos())
    })
}

pub(super) fn manifest_of(config: Digest, size: u64, layers: &[Layer]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            // A layer of a base with Docker's types bears OCI's name for the same thing here.
            let media_type = match layer.media_type.as_str() {
                media_type::DOCKER_LAYER_GZIP => media_type::LAYER_GZIP,
                own => own,
            };
            let mut descriptor = json!({"mediaType": media_type, "digest": layer.digest, "size": layer.size});
            if !layer.annotations.is_empty() {
                descriptor["annotations"] = json!(layer.annotations);
            }
            descriptor
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::CONFIG, "digest": config, "size": size},
        "layers": layers,
    })
}

/// The configuration as canonical JSON: keys sorted, so that maps inside cannot change the digest.
fn config_bytes(new: &NewImage) -> Result<Vec<u8>> {
    let what = || "an image configuration".to_owned();
    let mut config = new.config.clone();
    let diff_ids: Vec<String> = new.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    config.rootfs_mut().set_typ("layers".into());
    config.rootfs_mut().set_diff_ids(diff_ids);
    fill_history(&mut config, new.layers.len());
    let mut value =
        serde_json::to_value(&config).map_err(|source| ImageError::Document { what: what(), source })?;
    if !new.extra_config.is_empty() {
        let inner = &mut value["config"];
        for (key, extra) in &new.extra_config {
            inner[key.as_str()] = extra.clone();
        }
    }
    for (key, extra) in &new.extra_fields {
        value[key.as_str()] = extra.clone();
    }
    value.sort_all_objects();
    to_vec(&value)
}

/// Every layer has its line of history: programs refuse images where the two do not agree. What has none lies
/// lowest, it comes from a base that was imported without.
fn fill_history(config: &mut ImageConfiguration, layers: usize) {
    let mut history = config.history().clone().unwrap_or_default();
    let told = history.iter().filter(|line| line.empty_layer() != Some(true)).count();
    let mut line = History::default();
    line.set_created(config.created().clone());
    line.set_comment(Some("imported without history".to_owned()));
    history.splice(0..0, std::iter::repeat_n(line, layers.saturating_sub(told)));
    config.set_history(Some(history));
}

pub(super) fn to_vec(value: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)
        .map_err(|source| ImageError::Document { what: "a manifest".into(), source })?)
}
