//! Results of a build, for others.

use super::config::{CONFIG_TYPE, CacheConfig, INLINE_FIELD, MountRecord, StepRecord};
use super::source::Source;
use super::{layout, mounts};
use crate::cache::Record;
use crate::compile::Compiled;
use crate::graph::{Graph, NodeId, Op, Place};
use crate::request::{BuildEvent, BuildRequest, CacheExport, CacheMode, CacheTarget, Output, StepOutcome};
use crate::shared::Shared;
use crate::solve::{self, Results};
use hako_error::{Error, Kind, Result};
use hako_image::Layer;
use hako_image::transfer::Parcel;
use hako_names::Digest;
use hako_oci::media_type;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What asks for the image's own cache where there is no `--cache-to`: BuildKit's word for `docker build`.
const INLINE_ARGUMENT: &str = "BUILDKIT_INLINE_CACHE";

/// Refuses what cannot be given before anything runs.
pub(crate) fn check(request: &BuildRequest, has_registry: bool) -> Result<()> {
    for export in &request.cache_to {
        match export.target {
            CacheTarget::Inline => {
                let no_image = |output: &Output| {
                    matches!(output, Output::Local { .. } | Output::Tar { .. } | Output::Cache)
                };
                if !request.outputs.is_empty() && request.outputs.iter().all(no_image) {
                    return Err(invalid(
                        "--cache-to type=inline is kept in an image, and this build makes none",
                    ));
                }
                if export.mode == CacheMode::Max || export.mounts {
                    return Err(invalid(
                        "--cache-to type=inline has the image's own layers only: without mode=max and mounts=true",
                    ));
                }
            }
            CacheTarget::Registry { .. } if !has_registry => {
                let message = "this builder speaks to no registry, it cannot push a cache";
                return Err(Error::new(Kind::FailedPrecondition, message));
            }
            _ => {}
        }
    }
    Ok(())
}

fn invalid(message: &str) -> Error {
    Error::new(Kind::Invalid, message)
}

/// Writes the caches that the request asks for, except inline.
pub(crate) fn export(shared: &Shared, request: &BuildRequest, compiled: &Compiled) -> Result<()> {
    for (at, to) in apart(request).enumerate() {
        shared.cancel.check()?;
        let written = solve::tell(shared, &place(compiled.steps + at + 1, &to.target), || {
            Cache::gather(shared, compiled, to)?.write(shared, to)?;
            Ok(StepOutcome::Done)
        });
        match written {
            Err(error) if to.ignore_error => {
                let message = format!("the cache was not written: {}", error.chain());
                let _ = shared.events.send(BuildEvent::Warning { line: 0, message });
            }
            Err(error) => return Err(error.context("the cache was not written")),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The caches that are written when all else is done.
fn apart(request: &BuildRequest) -> impl Iterator<Item = &CacheExport> {
    request.cache_to.iter().filter(|to| to.target != CacheTarget::Inline)
}

/// How many steps [`export`] is.
pub(crate) fn steps(request: &BuildRequest) -> usize {
    apart(request).count()
}

/// An export as people see it.
fn place(step: usize, target: &CacheTarget) -> Place {
    let to = match target {
        CacheTarget::Local { path, .. } => path.display().to_string(),
        CacheTarget::Registry { reference } => reference.to_string(),
        CacheTarget::Inline => "the image".to_owned(),
    };
    Place { step, stage: "cache".into(), line: 0, text: format!("exporting cache to {to}") }
}

/// The field of the image's configuration that holds its own records, where the request wants it.
pub(crate) fn inline(
    shared: &Shared,
    request: &BuildRequest,
    graph: &Graph,
    target: Option<NodeId>,
    results: &Results,
) -> Result<Option<(String, Value)>> {
    let is_asked =
        request.args.get(INLINE_ARGUMENT).is_some_and(|value| matches!(value.as_str(), "1" | "true"));
    if !is_asked && !request.cache_to.iter().any(|to| to.target == CacheTarget::Inline) {
        return Ok(None);
    }
    let mut cache = Cache { layers: results.below(target)?, ..Cache::default() };
    for id in own(graph, target) {
        cache.step(shared, graph.keys[id]);
    }
    let config = CacheConfig { records: cache.records, ..CacheConfig::new() };
    let value = serde_json::to_value(config)
        .map_err(|source| Error::new(Kind::Internal, "records of a cache").with_source(source))?;
    Ok(Some((INLINE_FIELD.to_owned(), value)))
}

/// The nodes whose layers the target's image has.
fn own(graph: &Graph, target: Option<NodeId>) -> BTreeSet<NodeId> {
    let mut own = BTreeSet::new();
    let mut next = target;
    while let Some(id) = next {
        own.insert(id);
        if let Op::Join(link) = graph.nodes[id].op {
            own.insert(link);
        }
        next = graph.nodes[id].parent;
    }
    own
}

/// A cache to be written.
#[derive(Default)]
struct Cache {
    records: Vec<StepRecord>,
    mounts: Vec<MountRecord>,
    layers: Vec<Layer>,
    /// Where layers are that may not be here.
    elsewhere: HashMap<Digest, Arc<Source>>,
}

impl Cache {
    fn gather(shared: &Shared, compiled: &Compiled, to: &CacheExport) -> Result<Self> {
        let mut cache = Self::default();
        let graph = &compiled.graph;
        let nodes: BTreeSet<NodeId> = match to.mode {
            CacheMode::Min => {
                compiled.nodes().into_iter().flat_map(|target| own(graph, Some(target))).collect()
            }
            CacheMode::Max => (0..graph.nodes.len()).collect(),
        };
        for id in nodes {
            cache.step(shared, graph.keys[id]);
        }
        if to.mounts {
            for mounts::Packed { id, layer, source } in mounts::pack(shared, graph)? {
                cache.elsewhere.extend(source.map(|source| (layer.digest, source)));
                let layer = cache.number(layer);
                cache.mounts.push(MountRecord { id, layer });
            }
        }
        Ok(cache)
    }

    /// Adds what is known under that key, here or at a source of the build.
    fn step(&mut self, shared: &Shared, key: Digest) {
        let record = match (shared.cache.get(key, &shared.lease), shared.imports.get(key)) {
            (Some(record), _) => record,
            (None, Some(imported)) => {
                let source = imported.source();
                self.elsewhere.extend(imported.record.layer.as_ref().map(|layer| (layer.digest, source)));
                imported.record
            }
            (None, None) => return,
        };
        let Record { layer, created, content, .. } = record;
        let layer = layer.map(|layer| self.number(layer));
        self.records.push(StepRecord { definition: key, content, layer, created });
    }

    fn number(&mut self, layer: Layer) -> usize {
        let known = self.layers.iter().position(|one| one.digest == layer.digest);
        known.unwrap_or_else(|| {
            self.layers.push(layer);
            self.layers.len() - 1
        })
    }

    fn write(self, shared: &Shared, to: &CacheExport) -> Result<()> {
        for layer in &self.layers {
            if shared.lease.protect(layer.digest).is_err() && !to.target.has(shared, layer.digest)? {
                let source = self.elsewhere.get(&layer.digest);
                let source = source.ok_or(hako_content::ContentError::NotFound { digest: layer.digest })?;
                source.bring(&shared.images, layer, &shared.lease)?;
            }
        }
        let content = shared.images.content();
        let config = CacheConfig {
            records: self.records,
            mounts: self.mounts,
            diff_ids: self.layers.iter().map(|layer| layer.diff_id).collect(),
            ..CacheConfig::new()
        };
        let bytes = |value: &dyn Fn() -> serde_json::Result<Vec<u8>>| {
            value().map_err(|source| Error::new(Kind::Internal, "a cache's manifest").with_source(source))
        };
        let config = content.put(
            "the configuration of a cache",
            &bytes(&|| serde_json::to_vec(&config))?,
            Some(&shared.lease),
        )?;
        let manifest = manifest(config.digest, config.size, &self.layers);
        let manifest = bytes(&|| serde_json::to_vec(&manifest))?;
        let manifest = content.put("the manifest of a cache", &manifest, Some(&shared.lease))?.digest;
        let mut blobs: Vec<(Digest, u64)> =
            self.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
        blobs.push((config.digest, config.size));
        to.target.send(shared, manifest, blobs)
    }
}

fn manifest(config: Digest, size: u64, layers: &[Layer]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size,
                "annotations": layer.annotations,
            })
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": {"mediaType": CONFIG_TYPE, "digest": config, "size": size},
        "layers": layers,
    })
}

impl CacheTarget {
    fn has(&self, shared: &Shared, digest: Digest) -> Result<bool> {
        match (self, &shared.registry) {
            (Self::Local { path, .. }, _) => Ok(layout::has(path, digest)),
            (Self::Registry { reference }, Some(registry)) => registry.has(reference, digest),
            _ => Ok(false),
        }
    }

    fn send(&self, shared: &Shared, manifest: Digest, blobs: Vec<(Digest, u64)>) -> Result<()> {
        match (self, &shared.registry) {
            (Self::Local { path, tag }, _) => {
                let blobs: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
                layout::write(path, tag, shared.images.content(), manifest, &blobs)
            }
            (Self::Registry { reference }, Some(registry)) => {
                registry.send(reference, &Parcel { documents: vec![manifest], blobs })
            }
            _ => Err(Error::new(Kind::Internal, "a cache that cannot be sent")),
        }
    }
}
