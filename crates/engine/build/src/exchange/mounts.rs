//! Cache mounts on their way: as layers.

use super::source::Source;
use crate::dockerfile::Sharing;
use crate::error::BuildError;
use crate::graph::{Graph, MountKind, Op};
use crate::request::BuildEvent;
use crate::shared::Shared;
use hako_error::Result;
use hako_image::Layer;
use hako_image::layer::{Decoder, apply};
use hako_names::Hasher;
use hako_oci::media_type;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// What a cache mount holds.
pub(super) struct Packed {
    pub id: String,
    pub layer: Layer,
    /// Where the layer is, if it is not here.
    pub source: Option<Arc<Source>>,
}

/// The ids of the cache mounts of a build.
fn ids(graph: &Graph) -> BTreeSet<&str> {
    let runs = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Run(run) => Some(&run.mounts),
        _ => None,
    });
    let caches = runs.flatten().filter_map(|mount| match &mount.kind {
        MountKind::Cache { id, .. } => Some(id.as_str()),
        _ => None,
    });
    caches.collect()
}

/// What the build's cache mounts hold, as layers: those of this machine, written now while no step uses them,
/// else those that were offered to the build and that it did not need.
pub(super) fn pack(shared: &Shared, graph: &Graph) -> Result<Vec<Packed>> {
    let mut packed = Vec::new();
    for id in ids(graph) {
        if shared.caches.exists(id) {
            let held = shared.caches.hold(id, Sharing::Locked, &shared.cancel)?;
            if let Some(layer) = crate::link::write(shared, &held.data(), "/")? {
                packed.push(Packed { id: id.to_owned(), layer, source: None });
            }
        } else if let Some((source, layer)) = shared.imports.mount(id) {
            packed.push(Packed { id: id.to_owned(), layer, source: Some(source) });
        }
    }
    Ok(packed)
}

/// Fills a new cache mount with what a source has for it. `false` if none has, or if what it has cannot be used.
pub(crate) fn fill(shared: &Shared, id: &str, data: &Path) -> Result<bool> {
    let Some((source, layer)) = shared.imports.mount(id) else { return Ok(false) };
    let filled =
        source.bring(&shared.images, &layer, &shared.lease).and_then(|()| unpack(shared, &layer, data));
    let Err(error) = filled else { return Ok(true) };
    shared.cancel.check()?;
    let message = format!("the cache mount {id} starts empty: {}", error.chain());
    let _ = shared.events.send(BuildEvent::Warning { line: 0, message });
    hako_snapshot::remove_tree(data).map_err(BuildError::io("remove", data))?;
    fs::create_dir_all(data).map_err(BuildError::io("create", data))?;
    Ok(false)
}

fn unpack(shared: &Shared, layer: &Layer, data: &Path) -> Result<()> {
    let what = format!("cache mount {}", layer.digest);
    let Some(compression) = media_type::layer_compression(&layer.media_type) else {
        return Err(super::config::unusable(format!("{what} is a {:?}", layer.media_type)));
    };
    let blob = BufReader::with_capacity(1 << 17, shared.images.content().open_blob(layer.digest)?);
    let mut tar = Hashed { inner: Decoder::new(blob, compression)?, hasher: Hasher::new() };
    let root = File::open(data).map_err(BuildError::io("open", data))?;
    apply(&root, &mut tar, &what, shared.images.layer_limits(layer.size))?;
    io::copy(&mut tar, &mut io::sink()).map_err(BuildError::io("read", &what))?;
    if tar.hasher.finish() == layer.diff_id {
        return Ok(());
    }
    Err(super::config::unusable(format!("{what} holds something else than its record says")))
}

/// A stream that is hashed as it is read.
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
