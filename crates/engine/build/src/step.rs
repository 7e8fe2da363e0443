//! One node that has to be carried out: its content key, its snapshot, its layer.

use crate::cache::Record;
use crate::copy::{self, Job as CopyJob};
use crate::digests::Wanted;
use crate::error::BuildError;
use crate::fresh;
use crate::graph::{CopyOp, Graph, Input, MountKind, Node, NodeId, Op, RunOp};
use crate::request::{BuildEvent, StepOutcome};
use crate::run;
use crate::settling::StepResult;
use crate::shared::Shared;
use crate::solve::{self, Done, KEYS, Results, Written};
use hako_error::{Error, Kind, Result};
use hako_image::layer::{DiffOptions, make_directories};
use hako_image::{Layer, NewLayer, Pin, chain_id};
use hako_names::{Digest, Hasher};
use hako_snapshot::Mounts;
use std::fs::{self, File};
use std::sync::atomic::{AtomicU64, Ordering};

/// Keys of snapshots of builds: what bears one when a builder starts is a leftover.
pub(crate) const KEY_PREFIX: &str = "build-";

/// A snapshot key that no other step has.
pub(crate) fn fresh_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{KEY_PREFIX}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Digests of files that are known before anything runs.
pub(crate) fn known_digests(op: &Op) -> impl Iterator<Item = Digest> + '_ {
    let items = match op {
        Op::Copy(copy) | Op::Link(copy) => copy.items.as_slice(),
        _ => &[],
    };
    let mounts = match op {
        Op::Run(run) => run.mounts.as_slice(),
        _ => &[],
    };
    let of_mount = |kind: &MountKind| match kind {
        MountKind::Bind { digest, .. } => *digest,
        _ => None,
    };
    items
        .iter()
        .filter_map(|item| item.digest)
        .chain(mounts.iter().filter_map(move |mount| of_mount(&mount.kind)))
}

/// What a node came to earlier.
pub(crate) fn from_record(shared: &Shared, below: Vec<Layer>, record: Record) -> Result<Done> {
    if let Some(layer) = &record.layer {
        shared.lease.protect(layer.digest)?;
    }
    let layers: Vec<Layer> = below.into_iter().chain(record.layer.clone()).collect();
    let pin = solve::pin(shared, &layers);
    let outcome = StepOutcome::Cached;
    Ok(Done { layers, own: record.layer, created: Some(record.created), outcome, _pin: pin })
}

/// Carries out a node whose inputs are there.
///
/// A program's files are announced before the layer is made of them.
pub(crate) fn carry_out(
    shared: &Shared,
    graph: &Graph,
    id: NodeId,
    results: &Results,
    announce: &dyn Fn(Written),
) -> Result<Done> {
    let (node, definition) = (&graph.nodes[id], graph.keys[id]);
    let below = results.below(node.parent)?;
    let content = content_key(shared, node, &below, results)?;
    if node.use_cache
        && let Some(record) = known(shared, node, content, &below)?
    {
        shared.aheads.forget(id);
        shared.cache.put(definition, &record)?;
        return from_record(shared, below, record);
    }
    // Before the permit: what is made ahead has one.
    let ahead = shared.aheads.take(id);
    let _permit = shared.permits.acquire();
    shared.cancel.check()?;
    let made = ahead.map_or(Ok(None), |ahead| ahead.put_on(shared, &below))?;
    let Made { layer, mut new, snapshot, pin } =
        made.map_or_else(|| make(shared, node, &below, results, announce), Ok)?;
    if let Some(new) = &mut new {
        shared.listings.keep(new.layer().diff_id, new.take_listing());
    }
    let record = Record { layer: layer.clone(), snapshot, created: now(shared), content: Some(content) };
    let created = Some(record.created.clone());
    let layers: Vec<Layer> = below.into_iter().chain(layer.clone()).collect();
    let pin = pin.or_else(|| solve::pin(shared, &layers));
    shared.settling.add(new, StepResult { record, content, definition }, solve::pin(shared, &layers))?;
    Ok(Done { layers, own: layer, created, outcome: StepOutcome::Done, _pin: pin })
}

/// What carrying out a node gave.
#[derive(Default)]
pub(crate) struct Made {
    /// Its layer, if it changed anything.
    pub layer: Option<Layer>,
    /// The same where its blob has yet to be waited for.
    pub new: Option<NewLayer>,
    pub snapshot: Option<String>,
    /// Keeps the snapshot, which cannot be made again before the blob is there.
    pub pin: Option<Pin>,
}

fn make(
    shared: &Shared,
    node: &Node,
    below: &[Layer],
    results: &Results,
    announce: &dyn Fn(Written),
) -> Result<Made> {
    match &node.op {
        Op::Copy(copy) => {
            let job = CopyJob::find(shared, copy, results)?;
            in_snapshot(shared, below, node, |mounts, _| {
                if let Some(new) = fresh::carry_out(shared, &job, mounts, &node.place.text, &|| true)? {
                    return Ok(Some(new));
                }
                let note = job.carry_out(&root_of(shared, mounts)?.0, shared.epoch_unix_s)?;
                warn(shared, node, note);
                Ok(None)
            })
        }
        Op::Link(copy) => {
            let layer = linked(shared, node, copy, &CopyJob::find(shared, copy, results)?)?;
            Ok(Made { layer, ..Made::default() })
        }
        Op::Run(run) => in_snapshot(shared, below, node, |mounts, key| {
            run_step(shared, node, run, results, below, mounts, key)?;
            // With an epoch the files have yet to get their times.
            if let Some(upper) = mounts.upper.as_ref().filter(|_| shared.epoch_unix_s.is_none()) {
                let upper = File::open(upper).map_err(BuildError::io("open", upper))?;
                announce(Written { upper, lower: mounts.lower.clone() });
            }
            Ok(None)
        }),
        Op::Workdir { path, user } => {
            in_snapshot(shared, below, node, |mounts, _| workdir(shared, path, user, mounts).map(|()| None))
        }
        Op::Base(_) | Op::Join(_) => Err(Error::new(Kind::Internal, "a step that makes nothing was run")),
    }
}

/// Tells what may not have been meant.
fn warn(shared: &Shared, node: &Node, note: Option<String>) {
    if let Some(message) = note {
        // Nobody has to listen.
        let _ = shared.events.send(BuildEvent::Warning { line: node.place.line, message });
    }
}

/// The result of the same content, of this machine or of others.
fn known(shared: &Shared, node: &Node, content: Digest, below: &[Layer]) -> Result<Option<Record>> {
    if let Some(record) = shared.cache.get(content, &shared.lease) {
        return Ok(Some(record));
    }
    match shared.imports.get(content) {
        Some(imported) => shared.imports.take(shared, node, content, imported, below),
        None => Ok(None),
    }
}

/// A digest over what the node does and what its inputs turned out to be.
fn content_key(shared: &Shared, node: &Node, below: &[Layer], results: &Results) -> Result<Digest> {
    let mut hasher = Hasher::new();
    hasher.update(format!("{KEYS} content {:?}\n", shared.epoch_unix_s).as_bytes());
    node.op.describe(&mut hasher);
    let chain = |layers: &[Layer]| {
        chain_id(layers.iter().map(|layer| layer.diff_id)).map(|id| id.hex()).unwrap_or_default()
    };
    if !matches!(node.op, Op::Link(_)) {
        hasher.update(chain(below).as_bytes());
    }
    if let Op::Copy(op) | Op::Link(op) = &node.op {
        hasher.update(copy::digest(shared, op, results)?.hex().as_bytes());
    }
    if let Op::Run(run) = &node.op {
        for mount in &run.mounts {
            match &mount.kind {
                MountKind::Bind { digest: Some(digest), .. } => hasher.update(digest.hex().as_bytes()),
                MountKind::Bind { input: Input::Node(node), from, source, .. } => {
                    let layers = results.layers(*node)?;
                    // All files of a root are what its layers say; a part of them is read.
                    if crate::files::clean(source).is_empty() {
                        hasher.update(chain(&layers).as_bytes());
                    } else {
                        let wanted = Wanted { pattern: source, excludes: &[], keeps_parents: false, from };
                        hasher.update(shared.digests.of(shared, &layers, wanted)?.hex().as_bytes());
                    }
                }
                _ => {}
            }
        }
    }
    Ok(hasher.finish())
}

fn root_of(shared: &Shared, mounts: &Mounts) -> Result<(File, hako_snapshot::MountedTree)> {
    let tree = shared.images.snapshots().mounted_unsynced(mounts)?;
    let root = File::open(tree.path()).map_err(BuildError::io("open the root of", "a step"))?;
    Ok((root, tree))
}

fn workdir(shared: &Shared, path: &str, user: &str, mounts: &Mounts) -> Result<()> {
    let (root, _tree) = root_of(shared, mounts)?;
    let owner = crate::users::owner(&root, user).map_err(|message| Error::new(Kind::Invalid, message))?;
    make_directories(&root, path.as_bytes(), Some(owner))
        .map_err(BuildError::io("make the directory", path))?;
    Ok(())
}

fn run_step(
    shared: &Shared,
    node: &Node,
    run: &RunOp,
    results: &Results,
    below: &[Layer],
    mounts: &Mounts,
    key: &str,
) -> Result<()> {
    let cgroup = format!("{}/{key}", shared.cgroup);
    let job = run::Job { op: run, results, mounts, key, cgroup, step: node.place.step };
    let exit = run::run(shared, &job)?;
    if exit.code == 0 {
        return Ok(());
    }
    if shared.keep_failed {
        crate::failed::keep(shared, run, below, mounts)?;
    }
    let _ = shared.events.send(BuildEvent::RunFailed { words: run.words.clone(), code: exit.code });
    let note = if exit.oom_killed { ", killed for lack of memory" } else { "" };
    Err(BuildError::Run {
        place: format!("{}:{}", shared.file, node.place.line),
        line: node.place.line,
        code: exit.code,
        note,
        text: node.place.text.clone(),
    }
    .into())
}

/// Lets `make` write into a fresh snapshot on `below`, and its layer if it knows that already; nothing of it is left on
/// failure.
fn in_snapshot(
    shared: &Shared,
    below: &[Layer],
    node: &Node,
    make: impl FnOnce(&Mounts, &str) -> Result<Option<NewLayer>>,
) -> Result<Made> {
    let images = &shared.images;
    let parent = images.unpack_layers(below)?;
    let key = fresh_key();
    let mounts = images.snapshots().prepare(&key, parent.as_deref())?;
    let made = make(&mounts, &key).and_then(|new| seal(shared, below, &mounts, &key, new, &node.place.text));
    if images.snapshots().stat(&key).is_ok() {
        // Failed, or nothing changed.
        images.snapshots().remove(&key)?;
    }
    made
}

/// Turns what a step changed into a layer and the snapshot above it.
fn seal(
    shared: &Shared,
    below: &[Layer],
    mounts: &Mounts,
    key: &str,
    new: Option<NewLayer>,
    text: &str,
) -> Result<Made> {
    let Some(new) = new.map_or_else(|| changes(shared, mounts, text), |new| Ok(Some(new)))? else {
        return Ok(Made::default());
    };
    let layer = new.layer().clone();
    let all = below.iter().chain([&layer]).map(|layer| layer.diff_id);
    let chain = chain_id(all).map(|id| id.hex()).unwrap_or_default();
    let pin = shared.images.pin(&chain);
    shared.images.adopt_snapshot(&chain, key)?;
    Ok(Made { layer: Some(layer), new: Some(new), snapshot: Some(chain), pin: Some(pin) })
}

/// What a step changed, as a layer; `None` if that is nothing.
fn changes(shared: &Shared, mounts: &Mounts, text: &str) -> Result<Option<NewLayer>> {
    let is_empty = mounts
        .upper
        .as_ref()
        .is_none_or(|upper| fs::read_dir(upper).is_ok_and(|mut entries| entries.next().is_none()));
    if is_empty {
        return Ok(None);
    }
    if let (Some(epoch), Some(upper)) = (shared.epoch_unix_s, &mounts.upper) {
        // The snapshot that later steps see has the times that the layer says.
        crate::times::clamp(upper, epoch)?;
    }
    let options = DiffOptions { newest_unix_s: shared.epoch_unix_s };
    shared.images.write_layer(mounts, &options, text, &shared.lease).map(Some)
}

/// A layer for itself: the copied files without the directories that were only made to hold them, so that it
/// changes none of those in whatever it is put on.
fn linked(shared: &Shared, node: &Node, copy: &CopyOp, job: &CopyJob) -> Result<Option<Layer>> {
    let images = &shared.images;
    let key = fresh_key();
    let mounts = images.snapshots().prepare(&key, None)?;
    let made = root_of(shared, &mounts).and_then(|(root, tree)| {
        warn(shared, node, job.carry_out(&root, shared.epoch_unix_s)?);
        drop(tree);
        let Some(upper) = &mounts.upper else { return Ok(None) };
        if let Some(epoch) = shared.epoch_unix_s {
            crate::times::clamp(upper, epoch)?;
        }
        crate::link::write(shared, upper, &copy.destination)
    });
    images.snapshots().remove(&key)?;
    made
}

/// When something was made: `SOURCE_DATE_EPOCH` where that is set.
pub(crate) fn now(shared: &Shared) -> String {
    let epoch = shared.epoch_unix_s.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    epoch.unwrap_or_else(jiff::Timestamp::now).to_string()
}
