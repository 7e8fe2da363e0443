//! Copies that are made while what they stand on is still being made.
//!
//! What [`fresh`] copies depends on nothing below: its files and its layer are the same whatever they are put on, as long as
//! nothing there has the name. So such a copy need not wait for the steps before it, only for what it copies. Whether
//! nothing has the name is guessed from the steps that are done, and looked at again when all are; a copy that was made in
//! vain is dropped and made as ever. What it copies may be files that a program has just left, while their layer is still
//! made: what they digest to, and with it whether the copy's result is known, is found meanwhile, and a copy of which it
//! is ends early.
//!
//! ```text
//! RUN … (runs for long) ──> COPY --from=one /one /one ──> COPY --from=two /two /two
//!                           ^ made when `one` is written  ^ made when `two` is written; both put on in their order
//! ```

use crate::copy::Job;
use crate::error::BuildError;
use crate::fresh;
use crate::graph::{Graph, NodeId, Op};
use crate::shared::Shared;
use crate::solve::Results;
use crate::step::{Made, fresh_key};
use hako_error::Result;
use hako_image::{Layer, NewLayer, chain_id};
use hako_snapshot::Snapshotter;
use parking_lot::{Condvar, Mutex};
use rustix::fs::{Gid, Mode, Uid, chmod, chown, stat};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The copies of one build that were begun ahead of their turn.
#[derive(Default)]
pub(crate) struct Aheads {
    all: Mutex<HashMap<NodeId, State>>,
    changed: Condvar,
}

enum State {
    UnderWay { is_wanted: Arc<AtomicBool> },
    Made(Box<Ahead>),
}

/// Files and layer of a copy that stands on nothing yet; they go when this is dropped.
pub(crate) struct Ahead {
    snapshots: Arc<dyn Snapshotter>,
    key: String,
    upper: PathBuf,
    destination: String,
    /// Taken when it is put on something.
    new: Option<NewLayer>,
}

impl Aheads {
    /// Announces a copy, before who may wait for it looks.
    pub(crate) fn begin(&self, id: NodeId) {
        self.all.lock().insert(id, State::UnderWay { is_wanted: Arc::new(AtomicBool::new(true)) });
    }

    /// The result of the copy is known otherwise.
    pub(crate) fn forget(&self, id: NodeId) {
        let mut all = self.all.lock();
        match all.get(&id) {
            Some(State::UnderWay { is_wanted }) => is_wanted.store(false, Ordering::Relaxed),
            Some(State::Made(_)) => drop(all.remove(&id)),
            None => {}
        }
    }

    fn wanted(&self, id: NodeId) -> Option<Arc<AtomicBool>> {
        match self.all.lock().get(&id)? {
            State::UnderWay { is_wanted } => Some(Arc::clone(is_wanted)),
            State::Made(_) => None,
        }
    }

    /// Makes the copy that was announced, if it is one that can be made.
    pub(crate) fn make(&self, shared: &Shared, graph: &Graph, id: NodeId, results: &Results) {
        let _end = End { aheads: self, id };
        let Some(is_wanted) = self.wanted(id) else { return };
        let is_wanted = || is_wanted.load(Ordering::Relaxed) && shared.cancel.check().is_ok();
        // What fails here fails again at its turn, where it is told.
        if let Ok(Some(made)) = make(shared, graph, id, results, &is_wanted) {
            let mut all = self.all.lock();
            if is_wanted() {
                all.insert(id, State::Made(Box::new(made)));
            }
        }
    }

    /// What was made of a node ahead of its turn, waited for if it is under way.
    pub(crate) fn take(&self, id: NodeId) -> Option<Box<Ahead>> {
        let mut all = self.all.lock();
        self.changed.wait_while(&mut all, |all| matches!(all.get(&id), Some(State::UnderWay { .. })));
        match all.remove(&id) {
            Some(State::Made(ahead)) => Some(ahead),
            _ => None,
        }
    }
}

/// Lets those who wait go on, however the copy ended.
struct End<'a> {
    aheads: &'a Aheads,
    id: NodeId,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut all = self.aheads.all.lock();
        if matches!(all.get(&self.id), Some(State::UnderWay { .. })) {
            all.remove(&self.id);
        }
        drop(all);
        self.aheads.changed.notify_all();
    }
}

fn make(
    shared: &Shared,
    graph: &Graph,
    id: NodeId,
    results: &Results,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Option<Ahead>> {
    let node = &graph.nodes[id];
    // Steps whose turn it is come first.
    let (Op::Copy(op), Some(_permit)) = (&node.op, shared.permits.try_acquire()) else { return Ok(None) };
    shared.cancel.check()?;
    let job = Job::find(shared, op, results)?;
    let parent = shared.images.unpack_layers(&near(graph, id, results))?;
    let (snapshots, key) = (shared.images.snapshots().clone(), fresh_key());
    let mounts = snapshots.prepare(&key, parent.as_deref())?;
    let upper = mounts.upper.clone().unwrap_or_default();
    let destination = crate::files::clean(&op.destination);
    let mut ahead = Ahead { snapshots, key, upper, destination, new: None };
    ahead.new = fresh::carry_out(shared, &job, &mounts, &node.place.text, is_wanted)?;
    hako_sys::failpoint!("build.ahead.made");
    Ok(ahead.new.is_some().then_some(ahead))
}

/// The layers of the last step before a node that is done.
fn near(graph: &Graph, id: NodeId, results: &Results) -> Vec<Layer> {
    let mut next = graph.nodes[id].parent;
    while let Some(parent) = next {
        if let Some(done) = results.known(parent) {
            return done.layers.clone();
        }
        next = graph.nodes[parent].parent;
    }
    Vec::new()
}

impl Ahead {
    /// Puts it on layers, unless these have something of its name.
    pub(crate) fn put_on(mut self, shared: &Shared, below: &[Layer]) -> Result<Option<Made>> {
        let images = &shared.images;
        let parent = images.unpack_layers(below)?;
        let view = fresh_key();
        let lower = self.snapshots.view(&view, parent.as_deref())?.lower;
        let is_new = fresh::is_new(&lower, &self.destination);
        self.snapshots.remove(&view)?;
        let Some(new) = self.new.take().filter(|_| is_new) else { return Ok(None) };
        if let Some(below) = lower.first().filter(|_| parent.is_some()) {
            look_like(&self.upper, below).map_err(BuildError::io("complete", &self.upper))?;
        }
        let layer = new.layer().clone();
        let all = below.iter().chain([&layer]).map(|layer| layer.diff_id);
        let chain = chain_id(all).map(|id| id.hex()).unwrap_or_default();
        let pin = images.pin(&chain);
        images.adopt_snapshot_onto(&chain, &self.key, parent.as_deref())?;
        hako_sys::failpoint!("build.ahead.put");
        Ok(Some(Made { layer: Some(layer), new: Some(new), snapshot: Some(chain), pin: Some(pin) }))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // It is not there any more where it was put on something.
        let _ = self.snapshots.remove(&self.key);
    }
}

/// Gives a root the owner and the mode of the one below: steps that were not done may have changed these.
fn look_like(root: &Path, below: &Path) -> io::Result<()> {
    let (own, below) = (stat(root)?, stat(below)?);
    if (own.st_uid, own.st_gid) != (below.st_uid, below.st_gid) {
        chown(root, Some(Uid::from_raw(below.st_uid)), Some(Gid::from_raw(below.st_gid)))?;
    }
    Ok(chmod(root, Mode::from_raw_mode(below.st_mode & 0o7777))?)
}
