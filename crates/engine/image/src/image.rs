//! What an image is to its users.

use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The blob's media type.
    pub media_type: String,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The descriptor's annotations, such as where a layer in chunks has its table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image that is wholly in the content store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name it was asked for or made by; `None` for one that has no name.
    pub name: Option<ImageRef>,
    /// Every name that points to it, sorted.
    pub names: Vec<ImageRef>,
    /// What registries call it, as `repository@digest`, sorted: of an index, where it was chosen from one.
    pub repo_digests: Vec<ImageRef>,
    /// The manifest's digest.
    pub manifest_digest: Digest,
    /// The index that the name stands for, where the manifest is one of several: with images for other machines, or
    /// with what is said about this one.
    pub index: Option<Digest>,
    /// The image's id: the configuration's digest.
    pub id: Digest,
    /// The configuration.
    pub config: Arc<ImageConfiguration>,
    /// The configuration as it is stored, with fields that OCI does not know, such as `config.Healthcheck`.
    pub raw_config: Arc<serde_json::Value>,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// Bytes of manifest, configuration and layers as stored.
    pub size: u64,
}

impl Image {
    /// The committed snapshot that holds all layers once the image is unpacked; `None` for one without layers.
    #[must_use]
    pub fn chain_id(&self) -> Option<String> {
        chain_id(self.layers.iter().map(|layer| layer.diff_id)).map(|digest| digest.hex())
    }

    /// The name, or the short id where there is none.
    #[must_use]
    pub fn display_name(&self) -> String {
        match self.name.as_ref().or(self.names.first()) {
            Some(name) => name.to_string(),
            None => self.id.short(),
        }
    }

    /// What it runs on, as descriptors say it.
    #[must_use]
    pub fn platform_json(&self) -> serde_json::Value {
        let text = |key: &str| self.raw_config.get(key).cloned().unwrap_or_default();
        let mut platform = serde_json::json!({"architecture": text("architecture"), "os": text("os")});
        if let Some(variant) = self.raw_config.get("variant") {
            platform["variant"] = variant.clone();
        }
        platform
    }

    /// When the image was made, if it says so.
    #[must_use]
    pub fn created(&self) -> Option<jiff::Timestamp> {
        self.config.created().as_ref()?.parse().ok()
    }
}

/// OCI image specification, "Layer ChainID": names a stack of layers by the digests of their tars.
#[must_use]
pub fn chain_id(diff_ids: impl IntoIterator<Item = Digest>) -> Option<Digest> {
    diff_ids.into_iter().fold(None, |chain, diff_id| match chain {
        None => Some(diff_id),
        Some(chain) => Some(Digest::of(format!("{chain} {diff_id}").as_bytes())),
    })
}

/// Reads `text` as the configuration it is.
pub(crate) fn parse_config(bytes: &[u8], what: &str) -> Result<ImageConfiguration> {
    Ok(serde_json::from_slice(bytes)
        .map_err(|source| crate::ImageError::Document { what: what.to_owned(), source })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_the_specifications() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_id([]), None);
        assert_eq!(chain_id([a]), Some(a));
        assert_eq!(chain_id([a, b]), Some(Digest::of(format!("{a} {b}").as_bytes())));
    }
}
