//! What a manifest names: OCI image specification "Image Manifest" and "Image Index", Docker schema 2.

use crate::error::RegistryError;
use hako_names::Digest;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The largest manifest taken: what every other registry allows too (OCI distribution, "Pushing Manifests").
pub(crate) const SIZE_LIMIT: usize = 4 << 20;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA1: [&str; 3] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
];
/// Layers that are fetched from elsewhere: their bytes need not be here.
const FOREIGN: [&str; 4] = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

/// A manifest, read as far as the registry needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// One of the four types.
    pub media_type: String,
    /// Configuration and layers.
    pub blobs: Vec<Digest>,
    /// An index's manifests.
    pub manifests: Vec<Digest>,
    /// What its descriptors say of the sizes of all of these, and of layers that are fetched from elsewhere.
    pub sizes: Vec<(Digest, u64)>,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// The type that the referrers API shows.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    subject: Option<WireDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    urls: Option<Vec<String>>,
}

impl WireDescriptor {
    fn is_elsewhere(&self) -> bool {
        FOREIGN.contains(&self.media_type.as_str()) && self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

impl Manifest {
    /// Reads `bytes`, which the client calls `content_type`.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, RegistryError> {
        let invalid = |problem: String| RegistryError::ManifestInvalid { problem };
        let object: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if object.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            return Err(schema1());
        }
        let wire: Wire =
            serde_json::from_value(Value::Object(object)).map_err(|error| invalid(error.to_string()))?;
        if wire.schema_version != 2 {
            return Err(invalid(format!("schemaVersion is {}, expected 2", wire.schema_version)));
        }
        let media_type = wire.media_type(content_type)?;
        wire.into_manifest(media_type)
    }

    /// Whether it lists manifests instead of layers.
    #[must_use]
    pub fn is_index(media_type: &str) -> bool {
        [OCI_INDEX, DOCKER_LIST].contains(&media_type)
    }
}

impl Wire {
    /// The type, from the header and the field, which must agree.
    fn media_type(&self, content_type: Option<&str>) -> Result<String, RegistryError> {
        let header = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
        let header = header.filter(|value| !value.is_empty());
        let media_type = match (header, self.media_type.as_deref()) {
            (Some(header), Some(field)) if header != field => {
                let problem = format!("Content-Type is {header:?} but mediaType is {field:?}");
                return Err(RegistryError::ManifestInvalid { problem });
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) if self.manifests.is_some() => OCI_INDEX,
            (None, None) => OCI_MANIFEST,
        };
        if DOCKER_SCHEMA1.contains(&media_type) {
            return Err(schema1());
        }
        if ![OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(&media_type) {
            let problem = format!("media type {media_type:?} is no manifest that this registry stores");
            return Err(RegistryError::ManifestInvalid { problem });
        }
        Ok(media_type.to_owned())
    }

    fn into_manifest(self, media_type: String) -> Result<Manifest, RegistryError> {
        let invalid = |problem: &str| RegistryError::ManifestInvalid { problem: problem.into() };
        let is_index = Manifest::is_index(&media_type);
        // One document must not be a manifest to one client and an index to another (CVE-2021-41190).
        if is_index && (self.config.is_some() || self.layers.is_some()) {
            return Err(invalid("an index has neither config nor layers"));
        }
        if !is_index && self.manifests.is_some() {
            return Err(invalid("an image manifest has no manifests"));
        }
        let config_type = self.config.as_ref().map(|config| config.media_type.clone());
        let (mut blobs, mut manifests, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        if is_index {
            let listed = self.manifests.ok_or_else(|| invalid("an index has manifests"))?;
            manifests.extend(listed.iter().map(|one| one.digest));
            sizes.extend(listed.iter().map(|one| (one.digest, one.size)));
        } else {
            let config = self.config.ok_or_else(|| invalid("an image manifest has a config"))?;
            blobs.push(config.digest);
            sizes.push((config.digest, config.size));
            let layers = self.layers.ok_or_else(|| invalid("an image manifest has layers"))?;
            blobs.extend(layers.iter().filter(|one| !one.is_elsewhere()).map(|one| one.digest));
            sizes.extend(layers.iter().map(|one| (one.digest, one.size)));
        }
        for digests in [&mut blobs, &mut manifests] {
            digests.sort_unstable();
            digests.dedup();
        }
        Ok(Manifest {
            media_type,
            blobs,
            manifests,
            sizes,
            subject: self.subject.map(|subject| subject.digest),
            artifact_type: self.artifact_type.filter(|one| !one.is_empty()).or(config_type),
            annotations: self.annotations.unwrap_or_default(),
        })
    }
}

/// The index's image for linux/amd64, for clients that know no indexes.
pub(crate) fn linux_amd64(index: &[u8]) -> Option<Digest> {
    let index: Value = serde_json::from_slice(index).ok()?;
    let is_wanted =
        |one: &&Value| one["platform"]["os"] == "linux" && one["platform"]["architecture"] == "amd64";
    index["manifests"].as_array()?.iter().find(is_wanted)?["digest"].as_str()?.parse().ok()
}

fn schema1() -> RegistryError {
    let problem = "schema 1 manifests are not supported; push with a client that writes schema 2 (Docker 1.10 and later)";
    RegistryError::ManifestInvalid { problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, of: &[u8]) -> Value {
        serde_json::json!({"mediaType": media_type, "digest": Digest::of(of), "size": of.len()})
    }

    #[test]
    fn an_image_names_config_and_layers_without_foreign_ones() {
        let mut foreign = descriptor(FOREIGN[0], b"windows");
        foreign["urls"] = serde_json::json!(["https://example.invalid/base"]);
        let bytes = serde_json::json!({"schemaVersion": 2, "config": descriptor("c", b"c"),
            "layers": [descriptor("l", b"l"), descriptor("l", b"l"), foreign]})
        .to_string();
        let manifest = Manifest::parse(Some(OCI_MANIFEST), bytes.as_bytes()).unwrap();
        let mut expected = vec![Digest::of(b"c"), Digest::of(b"l")];
        expected.sort_unstable();
        assert_eq!(manifest.blobs, expected);
        assert_eq!(manifest.artifact_type.as_deref(), Some("c"));
    }

    #[test]
    fn schema_1_confused_types_and_other_documents_are_refused() {
        let refused = [
            (
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                r#"{"schemaVersion":1}"#.to_owned(),
            ),
            (Some("text/plain"), r#"{"schemaVersion":2}"#.to_owned()),
            (Some(OCI_MANIFEST), r#"{"schemaVersion":2,"layers":[]}"#.to_owned()),
            (Some(OCI_INDEX), r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned()),
            (
                Some(OCI_INDEX),
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#),
            ),
            (Some(OCI_MANIFEST), "[]".to_owned()),
            (Some(OCI_MANIFEST), "{".to_owned()),
        ];
        for (media_type, bytes) in refused {
            assert!(Manifest::parse(media_type, bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
