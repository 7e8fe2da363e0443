//! The records as they travel.

use super::source::Source;
use crate::cache::Record;
use crate::solve::KEYS;
use hako_error::{Error, Kind, Result};
use hako_image::Layer;
use hako_names::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The configuration of a manifest that is a cache.
pub(super) const CONFIG_TYPE: &str = "application/vnd.hakobune.buildcache.config.v1+json";
/// The field of an image's configuration that holds the records of its own steps.
pub(super) const INLINE_FIELD: &str = "hakobune.buildcache.v1";
/// Configurations may have so many bytes.
pub(super) const CONFIG_LIMIT: u64 = 8 << 20;
/// More records are refused: a build has at most one for each instruction.
const MOST_RECORDS: usize = 20_000;

/// What a cache holds, without the layers' bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CacheConfig {
    /// How keys are made; those of another way never match.
    pub keys: String,
    pub records: Vec<StepRecord>,
    /// The manifest's layers, uncompressed; empty inline, where the image says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff_ids: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountRecord>,
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepRecord {
    pub definition: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Which of the manifest's layers; none if the step changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    pub created: String,
}

/// What a cache mount held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MountRecord {
    pub id: String,
    pub layer: usize,
}

/// What one source has to offer.
#[derive(Debug)]
pub(super) struct Offer {
    pub source: Arc<Source>,
    /// By both of their keys.
    pub steps: Vec<(Digest, Record)>,
    pub mounts: BTreeMap<String, Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub platform: Option<Value>,
}

/// A manifest or index, as far as a cache needs it.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    #[serde(default)]
    pub manifests: Option<Vec<Descriptor>>,
}

pub(super) fn unusable(reason: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, reason)
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|source| unusable(format!("{what} is malformed")).with_source(source))
}

impl CacheConfig {
    pub(super) fn new() -> Self {
        Self { keys: KEYS.to_owned(), ..Self::default() }
    }

    /// The records of a manifest: of a cache, or in the configuration of an image.
    pub(super) fn read(
        config: &Descriptor,
        bytes: &[u8],
        layers: &[Descriptor],
    ) -> Result<(Self, Vec<Layer>)> {
        let (records, diff_ids) = if config.media_type == CONFIG_TYPE {
            let records: Self = parse("the cache's configuration", bytes)?;
            let diff_ids = records.diff_ids.clone();
            (records, diff_ids)
        } else {
            let image: Value = parse("the image's configuration", bytes)?;
            let records = Self::of_image(&image)?.ok_or_else(|| {
                unusable("the image carries no cache: it was built without --cache-to type=inline")
            })?;
            let diff_ids = serde_json::from_value(image["rootfs"]["diff_ids"].clone());
            (records, diff_ids.map_err(|source| unusable("the image has no diff ids").with_source(source))?)
        };
        if diff_ids.len() != layers.len() {
            let (said, there) = (diff_ids.len(), layers.len());
            return Err(unusable(format!("it lists {there} layers, its configuration {said}")));
        }
        let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| Layer {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.clone(),
            diff_id,
            annotations: layer.annotations.clone(),
        });
        Ok((records, layers.collect()))
    }

    /// The records that an image carries itself.
    pub(super) fn of_image(config: &Value) -> Result<Option<Self>> {
        let Some(field) = config.get(INLINE_FIELD) else { return Ok(None) };
        let records = serde_json::from_value(field.clone());
        Ok(Some(records.map_err(|source| unusable("the image's cache is malformed").with_source(source))?))
    }

    /// What can be used of it.
    pub(super) fn offer(self, source: &Arc<Source>, layers: &[Layer]) -> Result<Offer> {
        if self.keys != KEYS {
            return Err(unusable("it was written by another version of the builder, whose keys are others"));
        }
        if self.records.len() + self.mounts.len() > MOST_RECORDS {
            return Err(unusable(format!("it has more than {MOST_RECORDS} records")));
        }
        for layer in layers {
            if hako_oci::media_type::layer_compression(&layer.media_type).is_none() {
                return Err(unusable(format!("its layer {} is a {:?}", layer.digest, layer.media_type)));
            }
        }
        let layer = |number: usize| {
            let found = layers.get(number).cloned();
            found.ok_or_else(|| unusable(format!("a record names layer {number} of {}", layers.len())))
        };
        let mut steps = Vec::new();
        for StepRecord { definition, content, layer: number, created } in self.records {
            if created.parse::<jiff::Timestamp>().is_err() {
                return Err(unusable(format!("a record was made at {created:?}, which is no time")));
            }
            let record = Record { layer: number.map(layer).transpose()?, snapshot: None, created, content };
            steps.extend(content.map(|content| (content, record.clone())));
            steps.push((definition, record));
        }
        let mounts = self.mounts.into_iter().map(|mount| Ok((mount.id, layer(mount.layer)?)));
        Ok(Offer { source: source.clone(), steps, mounts: mounts.collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str) -> Layer {
        let digest = Digest::of(b"layer");
        Layer {
            digest,
            size: 5,
            media_type: media_type.into(),
            diff_id: digest,
            annotations: BTreeMap::new(),
        }
    }

    fn config(number: usize, created: &str) -> CacheConfig {
        let record = StepRecord {
            definition: Digest::of(b"d"),
            content: Some(Digest::of(b"c")),
            layer: Some(number),
            created: created.into(),
        };
        CacheConfig { records: vec![record], ..CacheConfig::new() }
    }

    #[test]
    fn a_record_is_found_by_both_of_its_keys() {
        let zstd = layer(hako_oci::media_type::LAYER_ZSTD);
        let offer = config(0, "1970-01-01T00:00:00Z")
            .offer(&Arc::new(Source::Here), std::slice::from_ref(&zstd))
            .unwrap();
        let keys: Vec<Digest> = offer.steps.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [Digest::of(b"c"), Digest::of(b"d")]);
        assert!(offer.steps.iter().all(|(_, record)| record.layer.as_ref() == Some(&zstd)));
    }

    #[test]
    fn what_does_not_hold_together_is_refused_by_its_fault() {
        let zstd = layer(hako_oci::media_type::LAYER_ZSTD);
        let now = "1970-01-01T00:00:00Z";
        for (config, layers, part) in [
            (config(1, now), vec![zstd.clone()], "names layer 1 of 1"),
            (config(0, "yesterday"), vec![zstd.clone()], "no time"),
            (config(0, now), vec![layer("text/plain")], "text/plain"),
            (CacheConfig { keys: "other".into(), ..config(0, now) }, vec![zstd.clone()], "another version"),
            (
                CacheConfig { mounts: vec![MountRecord { id: "m".into(), layer: 7 }], ..config(0, now) },
                vec![zstd],
                "names layer 7",
            ),
        ] {
            let error = config.offer(&Arc::new(Source::Here), &layers).unwrap_err();
            assert!(error.chain().contains(part), "{part}: {error:?}");
        }
    }

    #[test]
    fn an_image_without_records_says_how_to_make_them() {
        let descriptor = Descriptor {
            media_type: hako_oci::media_type::CONFIG.into(),
            digest: Digest::of(b""),
            size: 0,
            annotations: BTreeMap::new(),
            platform: None,
        };
        let error = CacheConfig::read(&descriptor, br#"{"rootfs":{"diff_ids":[]}}"#, &[]).unwrap_err();
        assert!(error.chain().contains("--cache-to type=inline"), "{error:?}");
    }
}
