//! Results of others that a build may ask for.

use super::config::Offer;
use super::source::{self, Source};
use crate::cache::Record;
use crate::context::Contexts;
use crate::graph::{Node, Op};
use crate::platform::Platform;
use crate::request::{BuildEvent, CacheSource};
use crate::shared::Shared;
use hako_error::Result;
use hako_image::{Layer, chain_id};
use hako_names::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many layers are fetched at the same time: as many as of an image.
const PARALLEL: usize = 4;

/// All that a build's sources offer. Nothing of it is here yet.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    steps: Mutex<HashMap<Digest, Imported>>,
    mounts: Mutex<HashMap<String, (Arc<Source>, Layer)>>,
}

/// A step's result that is elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    source: Arc<Source>,
    pub record: Record,
}

impl Imports {
    /// Reads what the request's sources offer; of two with the same key the first counts. A source that cannot be
    /// read is told of: the build then does the work itself.
    pub(crate) fn open(contexts: &Contexts, events: &mpsc::UnboundedSender<BuildEvent>) -> Result<Self> {
        let request = &contexts.request;
        let platforms = Platform::all(&request.platforms)?;
        let imports = Self::default();
        for from in &request.cache_from {
            match source::open(from, &contexts.ground.images, contexts.ground.registry.as_ref(), &platforms) {
                Ok(offers) => offers.into_iter().for_each(|offer| imports.add(offer)),
                Err(error) => {
                    let message = format!("the cache {} is not used: {}", name(from), error.chain());
                    let _ = events.send(BuildEvent::Warning { line: 0, message });
                }
            }
            contexts.ground.cancel.check()?;
        }
        Ok(imports)
    }

    fn add(&self, offer: Offer) {
        let mut steps = self.steps.lock();
        for (key, record) in offer.steps {
            let source = offer.source.clone();
            steps.entry(key).or_insert(Imported { source, record });
        }
        let mut mounts = self.mounts.lock();
        for (id, layer) in offer.mounts {
            mounts.entry(id).or_insert((offer.source.clone(), layer));
        }
    }

    /// What others have for that key.
    pub(crate) fn get(&self, key: Digest) -> Option<Imported> {
        self.steps.lock().get(&key).cloned()
    }

    pub(super) fn mount(&self, id: &str) -> Option<(Arc<Source>, Layer)> {
        self.mounts.lock().get(id).cloned()
    }

    /// Fetches the layers of results that are going to be taken, several at a time. What cannot be had is told of when it
    /// is taken.
    pub(crate) fn fetch<'a>(&self, shared: &Shared, offered: impl Iterator<Item = &'a Imported>) {
        let mut wanted: Vec<(&Imported, &Layer)> = Vec::new();
        for imported in offered {
            if let Some(layer) = &imported.record.layer
                && wanted.iter().all(|(_, known)| known.digest != layer.digest)
            {
                wanted.push((imported, layer));
            }
        }
        if wanted.len() < 2 {
            return;
        }
        let threads = wanted.len().min(PARALLEL);
        let wanted = Mutex::new(wanted.into_iter());
        let next = || wanted.lock().next().filter(|_| shared.cancel.check().is_ok());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((imported, layer)) = next() {
                        let _ = imported.bring(shared, layer);
                    }
                });
            }
        });
    }

    /// Makes a result one of this machine: its layer is fetched, verified and unpacked on `below`. `None` if that
    /// fails, which is told; nobody is offered it again.
    pub(crate) fn take(
        &self,
        shared: &Shared,
        node: &Node,
        key: Digest,
        imported: Imported,
        below: &[Layer],
    ) -> Result<Option<Record>> {
        match imported.take(shared, node, below) {
            Ok(record) => {
                shared.cache.put(key, &record)?;
                if let Some(content) = record.content {
                    shared.cache.put(content, &record)?;
                }
                Ok(Some(record))
            }
            Err(error) => {
                shared.cancel.check()?;
                let mut steps = self.steps.lock();
                steps.remove(&key);
                imported.record.content.and_then(|content| steps.remove(&content));
                let message = format!("a result of {:?} is not used: {}", imported.source, error.chain());
                let _ = shared.events.send(BuildEvent::Warning { line: node.place.line, message });
                Ok(None)
            }
        }
    }
}

impl Imported {
    fn take(&self, shared: &Shared, node: &Node, below: &[Layer]) -> Result<Record> {
        let mut record = self.record.clone();
        let Some(layer) = &record.layer else { return Ok(record) };
        self.bring(shared, layer)?;
        // What stands on nothing is verified on nothing.
        let below = if matches!(node.op, Op::Link(_)) { &[] } else { below };
        let all: Vec<Layer> = below.iter().chain([layer]).cloned().collect();
        shared.images.unpack_layers(&all)?;
        record.snapshot = chain_id(all.iter().map(|layer| layer.diff_id)).map(|id| id.hex());
        Ok(record)
    }

    pub(super) fn source(&self) -> Arc<Source> {
        self.source.clone()
    }

    fn bring(&self, shared: &Shared, layer: &Layer) -> Result<()> {
        self.source.bring(&shared.images, layer, &shared.lease)
    }
}

fn name(from: &CacheSource) -> String {
    match from {
        CacheSource::Local { path, .. } => path.display().to_string(),
        CacheSource::Registry { reference } | CacheSource::Inline { reference } => reference.to_string(),
    }
}
