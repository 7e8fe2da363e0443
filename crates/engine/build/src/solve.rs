//! Running a graph: what is known is taken, what is needed runs as soon as its inputs are there.
//!
//! ```text
//! settled    its result is known without running anything: all of its parents' are, and so is its own
//! needed     the targets are; so are a settled node's parent, and an unsettled node's parent and inputs
//! ```
//! A copy from a stage whose result is known asks nothing of that stage, unless that is to run again. A step on top of
//! one that ran anew is never taken by its definition: what it found below may have been something else.

use crate::cache::Record;
use crate::error::BuildError;
use crate::exchange::Imported;
use crate::graph::{Graph, NodeId, Op, Place};
use crate::request::{BuildEvent, StepOutcome};
use crate::shared::Shared;
use crate::step;
use hako_error::{Error, Kind, Result};
use hako_image::{Layer, Pin, chain_id};
use hako_names::Digest;
use std::collections::HashSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// Changed whenever a step's result would be another for the same key.
pub(crate) const KEYS: &str = "hako build 7";

/// What a node came to.
#[derive(Debug)]
pub(crate) struct Done {
    /// All layers up to and with its own.
    pub layers: Vec<Layer>,
    /// Its own; `None` if it changed nothing.
    pub own: Option<Layer>,
    /// When it ran; `None` for what did not run here.
    pub created: Option<String>,
    pub outcome: StepOutcome,
    pub _pin: Option<Pin>,
}

/// What the nodes came to, each written once.
#[derive(Debug)]
pub(crate) struct Results {
    done: Vec<OnceLock<Arc<Done>>>,
    written: Vec<OnceLock<Written>>,
}

/// The files of a step whose program has ended, and that is not done: its layer has yet to be made. Nothing changes them.
#[derive(Debug)]
pub(crate) struct Written {
    /// Where its own files lie, also when they get their place under another name.
    pub upper: File,
    /// The directories below, topmost first.
    pub lower: Vec<PathBuf>,
}

/// What a node that runs has to say.
enum Word {
    Written(NodeId, Written),
    Ended(NodeId, Result<Done>),
}

impl Results {
    fn new(count: usize) -> Self {
        let done = (0..count).map(|_| OnceLock::new()).collect();
        Self { done, written: (0..count).map(|_| OnceLock::new()).collect() }
    }

    /// What is there of a node that is not done.
    pub(crate) fn written(&self, id: NodeId) -> Option<&Written> {
        self.written[id].get()
    }

    pub(crate) fn get(&self, id: NodeId) -> Result<&Arc<Done>> {
        self.done[id].get().ok_or_else(|| Error::new(Kind::Internal, "a step ran before its inputs"))
    }

    /// What is known of a node; `None` for those that were not needed.
    pub(crate) fn known(&self, id: NodeId) -> Option<&Arc<Done>> {
        self.done[id].get()
    }

    pub(crate) fn layers(&self, id: NodeId) -> Result<Vec<Layer>> {
        Ok(self.get(id)?.layers.clone())
    }

    /// The layers that a node stands on.
    pub(crate) fn below(&self, parent: Option<NodeId>) -> Result<Vec<Layer>> {
        parent.map_or(Ok(Vec::new()), |parent| self.layers(parent))
    }
}

/// Brings the targets about; returns what every needed node came to.
pub(crate) fn solve(shared: &Shared, graph: &Graph, targets: &[NodeId]) -> Result<Results> {
    let results = Results::new(graph.nodes.len());
    let (known, needed) = settled(shared, graph, targets)?;
    for id in 0..graph.nodes.len() {
        if needed[id]
            && let Some(settled) = &known[id]
        {
            take(shared, graph, id, settled, &results)?;
        }
    }
    let work: Vec<NodeId> = (0..graph.nodes.len()).filter(|id| needed[*id] && known[*id].is_none()).collect();
    run(shared, graph, &work, &results)?;
    Ok(results)
}

/// Where a settled node's result comes from.
enum Known {
    /// It is what the node says.
    Given,
    Recorded(Box<Record>),
    /// A record of somebody else, whose layer is not here.
    Offered(Box<Imported>),
}

/// What is settled and what of it is needed; what is needed and elsewhere was brought here. Where that fails,
/// the node is not settled, and others may be needed for it.
fn settled(shared: &Shared, graph: &Graph, targets: &[NodeId]) -> Result<(Vec<Option<Known>>, Vec<bool>)> {
    let anew = anew(graph);
    loop {
        let mut known: Vec<Option<Known>> = Vec::new();
        for (id, key) in graph.keys.iter().enumerate() {
            let settled = if anew[id] { None } else { settle(shared, graph, id, *key, &known) };
            known.push(settled);
        }
        let needed = needed(graph, targets, &known);
        let offered = known.iter().zip(&needed).filter_map(|(known, needed)| match known {
            Some(Known::Offered(imported)) if *needed => Some(&**imported),
            _ => None,
        });
        shared.imports.fetch(shared, offered);
        let mut is_complete = true;
        for id in (0..graph.nodes.len()).filter(|id| needed[*id]) {
            if let Some(Known::Offered(imported)) = &known[id] {
                is_complete = false;
                shared.cancel.check()?;
                let node = &graph.nodes[id];
                let below = stack(graph, &known, node.parent);
                let taken =
                    shared.imports.take(shared, node, graph.keys[id], (**imported).clone(), &below)?;
                if taken.is_none() {
                    break;
                }
            }
        }
        if is_complete {
            return Ok((known, needed));
        }
    }
}

/// The nodes that are to run again, and those that have to do with what these give: a copy from a stage that is to run
/// again is looked for once it is known what there is to copy.
fn anew(graph: &Graph) -> Vec<bool> {
    let mut anew = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let is_anew =
            !node.use_cache || node.parent.into_iter().chain(graph.inputs(id)).any(|input| anew[input]);
        anew.push(is_anew);
    }
    anew
}

/// The layers of a settled node.
fn stack(graph: &Graph, known: &[Option<Known>], id: Option<NodeId>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut next = id;
    while let Some(id) = next {
        let node = &graph.nodes[id];
        match &node.op {
            Op::Base(base) => layers.extend(base.iter().rev().cloned()),
            Op::Join(link) => layers.extend(own(known, *link)),
            _ => layers.extend(own(known, id)),
        }
        next = node.parent;
    }
    layers.reverse();
    layers
}

fn own(known: &[Option<Known>], id: NodeId) -> Option<Layer> {
    match known[id].as_ref()? {
        Known::Given => None,
        Known::Recorded(record) => record.layer.clone(),
        Known::Offered(imported) => imported.record.layer.clone(),
    }
}

fn settle(shared: &Shared, graph: &Graph, id: NodeId, key: Digest, known: &[Option<Known>]) -> Option<Known> {
    let node = &graph.nodes[id];
    if node.parent.is_some_and(|parent| known[parent].is_none()) {
        return None;
    }
    match &node.op {
        Op::Base(_) => Some(Known::Given),
        Op::Join(link) => known[*link].as_ref().map(|_| Known::Given),
        _ => match shared.cache.get(key, &shared.lease) {
            Some(record) => Some(Known::Recorded(Box::new(record))),
            None => shared.imports.get(key).map(|imported| Known::Offered(Box::new(imported))),
        },
    }
}

fn needed(graph: &Graph, targets: &[NodeId], known: &[Option<Known>]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    targets.iter().for_each(|target| needed[*target] = true);
    for id in (0..graph.nodes.len()).rev() {
        if !needed[id] {
            continue;
        }
        let node = &graph.nodes[id];
        let is_join = matches!(node.op, Op::Join(_));
        let inputs = if known[id].is_none() || is_join { graph.inputs(id) } else { Vec::new() };
        node.parent.into_iter().chain(inputs).for_each(|input| needed[input] = true);
    }
    needed
}

/// Takes a result that is known.
fn take(shared: &Shared, graph: &Graph, id: NodeId, known: &Known, results: &Results) -> Result<()> {
    let node = &graph.nodes[id];
    let below = results.below(node.parent)?;
    let done = match (known, &node.op) {
        (Known::Recorded(record), _) => step::from_record(shared, below, (**record).clone())?,
        (Known::Given, Op::Join(link)) => joined(shared, below, results.get(*link)?),
        (Known::Given, Op::Base(layers)) => {
            for layer in layers {
                shared.lease.protect(layer.digest)?;
            }
            let pin = pin(shared, layers);
            Done { layers: layers.clone(), own: None, created: None, outcome: StepOutcome::Done, _pin: pin }
        }
        (Known::Given | Known::Offered(_), _) => {
            return Err(Error::new(Kind::Internal, "a step was taken for given"));
        }
    };
    let outcome = done.outcome;
    let _ = results.done[id].set(Arc::new(done));
    if !matches!(node.op, Op::Base(_)) {
        tell_before(shared, &node.before);
        tell(shared, &node.place, || Ok(outcome)).map(drop)?;
    }
    Ok(())
}

fn joined(shared: &Shared, below: Vec<Layer>, link: &Done) -> Done {
    let layers: Vec<Layer> = below.into_iter().chain(link.own.clone()).collect();
    let pin = pin(shared, &layers);
    Done { layers, own: link.own.clone(), created: link.created.clone(), outcome: link.outcome, _pin: pin }
}

pub(crate) fn pin(shared: &Shared, layers: &[Layer]) -> Option<Pin> {
    chain_id(layers.iter().map(|layer| layer.diff_id)).map(|chain| shared.images.pin(&chain.hex()))
}

/// Runs the nodes of `work`, each in a thread of its own as soon as its inputs are there.
fn run(shared: &Shared, graph: &Graph, work: &[NodeId], results: &Results) -> Result<()> {
    let mut waiting: Vec<NodeId> = work.to_vec();
    let mut ahead = HashSet::new();
    let mut first_error: Option<Error> = None;
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel::<Word>();
        let mut running = 0;
        loop {
            if first_error.is_none() {
                let (ready, rest) =
                    std::mem::take(&mut waiting).into_iter().partition(|id| is_ready(graph, *id, results));
                waiting = rest;
                let ready: Vec<NodeId> = ready;
                for id in ready {
                    let sender = sender.clone();
                    scope.spawn(move || ended(shared, graph, id, results, &sender));
                    running += 1;
                }
                for id in waiting.iter().copied() {
                    if can_look_ahead(graph, id, results) && ahead.insert(id) {
                        shared.aheads.begin(id);
                        scope.spawn(move || look_ahead(shared, graph, id, results));
                    }
                }
            }
            if running == 0 {
                break;
            }
            let Ok(word) = receiver.recv() else { break };
            match word {
                Word::Written(id, files) => drop(results.written[id].set(files)),
                Word::Ended(id, Ok(done)) => {
                    running -= 1;
                    drop(results.done[id].set(Arc::new(done)));
                }
                Word::Ended(_, Err(error)) => {
                    running -= 1;
                    shared.cancel.cancel();
                    // What ended because something else failed has nothing to say.
                    if first_error.as_ref().is_none_or(|first| first.kind() == Kind::Cancelled) {
                        first_error = Some(error);
                    }
                }
            }
        }
    });
    match first_error {
        Some(error) => Err(error),
        None if waiting.is_empty() => Ok(()),
        None => Err(Error::new(Kind::Internal, "steps of the build wait for each other")),
    }
}

fn is_ready(graph: &Graph, id: NodeId, results: &Results) -> bool {
    graph.nodes[id].parent.is_none_or(|parent| results.known(parent).is_some())
        && has_inputs(graph, id, results)
}

fn has_inputs(graph: &Graph, id: NodeId, results: &Results) -> bool {
    graph.inputs(id).iter().all(|input| results.known(*input).is_some())
}

/// Whether what a node copies is there, though not yet what it copies it to, or not yet as layers.
fn can_look_ahead(graph: &Graph, id: NodeId, results: &Results) -> bool {
    let is_there = |input: &NodeId| results.known(*input).is_some() || results.written(*input).is_some();
    matches!(graph.nodes[id].op, Op::Copy(_)) && graph.inputs(id).iter().all(is_there)
}

/// Digests what a copy will ask for, and makes the copy if it can, while it waits. What fails here fails there, where it
/// is told.
fn look_ahead(shared: &Shared, graph: &Graph, id: NodeId, results: &Results) {
    if let Op::Copy(copy) = &graph.nodes[id].op
        && has_inputs(graph, id, results)
    {
        let _ = crate::copy::digest(shared, copy, results);
    }
    shared.aheads.make(shared, graph, id, results);
}

/// Carries out one node and tells how it ended, also if its thread panics: the others have to end then.
fn ended(shared: &Shared, graph: &Graph, id: NodeId, results: &Results, sender: &mpsc::Sender<Word>) {
    let announce = |written| drop(sender.send(Word::Written(id, written)));
    let done = catch_unwind(AssertUnwindSafe(|| node(shared, graph, id, results, &announce)));
    let done = done.unwrap_or_else(|_| {
        let place = &graph.nodes[id].place;
        Err(Error::new(
            Kind::Internal,
            format!("the thread of step {} ({}) panicked", place.step, place.text),
        ))
    });
    let _ = sender.send(Word::Ended(id, done));
}

/// Carries out one node with the events around it.
fn node(
    shared: &Shared,
    graph: &Graph,
    id: NodeId,
    results: &Results,
    announce: &dyn Fn(Written),
) -> Result<Done> {
    shared.cancel.check()?;
    let node = &graph.nodes[id];
    tell_before(shared, &node.before);
    if let Op::Join(link) = &node.op {
        return Ok(joined(shared, results.below(node.parent)?, results.get(*link)?));
    }
    let mut done = None;
    tell(shared, &node.place, || {
        let made = step::carry_out(shared, graph, id, results, announce)
            .map_err(|error| crate::compile::at(&shared.file, node.place.line, &node.place.text, error))?;
        Ok(done.insert(made).outcome)
    })?;
    done.ok_or_else(|| BuildError::Cancelled.into())
}

/// Instructions that changed no file are done when the next step begins.
pub(crate) fn tell_before(shared: &Shared, places: &[Place]) {
    for place in places {
        let _ = tell(shared, place, || Ok(StepOutcome::Done));
    }
}

pub(crate) fn tell(
    shared: &Shared,
    place: &Place,
    work: impl FnOnce() -> Result<StepOutcome>,
) -> Result<StepOutcome> {
    // Nodes without a number are parts of another one.
    if place.step == 0 {
        return work();
    }
    let began = Instant::now();
    let (step, stage, text) = (place.step, place.stage.clone(), place.text.clone());
    let _ = shared.events.send(BuildEvent::StepStarted { step, stage, text });
    let result = work();
    let outcome = *result.as_ref().unwrap_or(&StepOutcome::Failed);
    let took = if outcome == StepOutcome::Cached { Duration::ZERO } else { began.elapsed() };
    let _ = shared.events.send(BuildEvent::StepEnded { step, outcome, took });
    result
}
