//! Manifests and indexes as registries and archives give them: bounded, and refused by what is wrong with them.

use super::Platform;
use crate::ImageError;
use hako_error::Result;
use hako_names::Digest;
use hako_oci::media_type::{self, Compression};
use serde::Deserialize;
use std::collections::BTreeMap;

/// overlayfs stacks at most 500 lower directories, kernel source, `OVL_MAX_STACK`.
const MOST_LAYERS: usize = 499;
/// An image's configuration may have so many bytes.
pub(crate) const CONFIG_LIMIT: u64 = 8 << 20;

/// OCI image specification, "Content Descriptors".
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    #[serde(default)]
    pub media_type: String,
    /// What they hash to.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    #[serde(default)]
    pub(crate) platform: Option<PlatformOf>,
    /// What else is said of them.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PlatformOf {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref()?;
        Some(Platform::new(&platform.os, &platform.architecture, platform.variant.as_deref()))
    }
}

/// A manifest of one image.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a document is.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, to choose from.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

fn unusable(what: &str, reason: impl Into<String>) -> ImageError {
    ImageError::Unusable { what: what.to_owned(), reason: reason.into() }
}

/// Reads a document; `what` names it in errors, `said` is the type that its bearer gave it.
pub fn parse(what: &str, said: &str, bytes: &[u8]) -> Result<Document> {
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|source| ImageError::Document { what: what.to_owned(), source })?;
    let media_type = raw.media_type.as_deref().unwrap_or(said);
    if raw.schema_version == 1 || media_type.contains("manifest.v1+") && media_type.contains("docker") {
        let reason = "it is of the retired schema 1, which has no digests to verify; push the image again with \
                      a client of this decade";
        return Err(unusable(what, reason).into());
    }
    match (media_type, raw.manifests, raw.config, raw.layers) {
        (_, Some(_), Some(_), _) => {
            // CVE-2021-41190: a document that is both is read differently by different clients.
            Err(unusable(what, "it claims to be both an index and a manifest").into())
        }
        (media_type::MANIFEST | media_type::DOCKER_MANIFEST, Some(_), ..)
        | (media_type::INDEX | media_type::DOCKER_MANIFEST_LIST, _, Some(_), _) => {
            Err(unusable(what, format!("its content is not what its type {media_type:?} says")).into())
        }
        (_, Some(manifests), None, _) => Ok(Document::Index(manifests)),
        (_, None, Some(config), Some(layers)) => Ok(Document::Manifest(manifest(what, config, layers)?)),
        _ => Err(unusable(what, format!("it is no image manifest or index but {media_type:?}")).into()),
    }
}

fn manifest(what: &str, config: Descriptor, layers: Vec<Descriptor>) -> Result<Manifest> {
    let is_config = matches!(config.media_type.as_str(), "" | media_type::CONFIG | media_type::DOCKER_CONFIG);
    if !is_config {
        let reason = format!("it is an artifact of type {:?}, not an image", config.media_type);
        return Err(unusable(what, reason).into());
    }
    if config.size > CONFIG_LIMIT {
        return Err(unusable(what, format!("its configuration has more than {CONFIG_LIMIT} bytes")).into());
    }
    if layers.len() > MOST_LAYERS {
        let reason = format!("it has {} layers, the kernel stacks {MOST_LAYERS}", layers.len());
        return Err(unusable(what, reason).into());
    }
    for layer in &layers {
        compression(what, layer)?;
    }
    Ok(Manifest { config, layers })
}

/// A layer's compression; what cannot be fetched or applied is refused by its type.
pub(crate) fn compression(what: &str, layer: &Descriptor) -> Result<Compression> {
    let kind = layer.media_type.as_str();
    if kind.contains(".foreign.") || kind.contains(".nondistributable.") {
        let reason = format!(
            "its layer {} is foreign ({kind}): the registry does not hold it and its licence may not allow \
             to fetch it elsewhere",
            layer.digest
        );
        return Err(unusable(what, reason).into());
    }
    media_type::layer_compression(kind).ok_or_else(|| {
        ImageError::MediaType { digest: layer.digest.to_string(), media_type: kind.to_owned() }.into()
    })
}

/// The manifest of an index that serves `platform` best; of equals the first counts.
pub(crate) fn select<'a>(
    what: &str,
    manifests: &'a [Descriptor],
    platform: &Platform,
) -> Result<&'a Descriptor> {
    let mut best: Option<(u8, &Descriptor)> = None;
    for manifest in manifests {
        let rank = manifest.platform().and_then(|offered| platform.rank(&offered));
        if let Some(rank) = rank
            && best.is_none_or(|(known, _)| rank > known)
        {
            best = Some((rank, manifest));
        }
    }
    if let Some((_, manifest)) = best {
        return Ok(manifest);
    }
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let mut offered: Vec<String> = manifests
        .iter()
        .filter_map(Descriptor::platform)
        .filter(|platform| platform.os != "unknown")
        .map(|platform| platform.to_string())
        .collect();
    offered.dedup();
    let reason = format!("it has no image for {platform}, only for: {}", offered.join(", "));
    Err(unusable(what, reason).into())
}
