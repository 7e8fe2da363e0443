//! From a Dockerfile to a graph and the image's configuration.
//!
//! Stages are compiled in the file's order and only where the target needs them; what is not compiled can never
//! run. Everything that does not depend on running a step happens here: variables, base images, ONBUILD, the
//! digests of the context's files, downloads.

mod arguments;
mod copy;
mod origin;
mod run;
mod stage;

use crate::check::ForeignBase;
use crate::context::Contexts;
use crate::dockerfile::{Dockerfile, Instruction, Stage, Step};
use crate::error::BuildError;
use crate::graph::{Graph, NodeId, Place};
use crate::platform::Platform;
use crate::request::BuildRequest;
use crate::state::State;
use hako_error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(crate) use arguments::{epoch, is_predefined, is_true};

/// A compiled build.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub graph: Graph,
    /// What each platform of the request comes to, in its order.
    pub targets: Vec<Target>,
    pub steps: usize,
    /// What of the request has no effect.
    pub warnings: Vec<String>,
    /// Base images and remote sources with their digests, for provenance.
    pub materials: BTreeMap<String, String>,
    /// Base images that are for another platform than the stage on them.
    pub foreign: Vec<ForeignBase>,
}

/// An image to be.
#[derive(Debug)]
pub(crate) struct Target {
    pub platform: Platform,
    /// Its configuration.
    pub state: State,
    /// Instructions behind its last node.
    pub tail: Vec<Place>,
}

impl Target {
    /// Its last node; `None` if it has no files at all.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.state.node
    }
}

impl Compiled {
    /// The last nodes of all images.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.targets.iter().filter_map(Target::node).collect()
    }
}

/// What a stage came to.
#[derive(Clone, Debug)]
struct Finished {
    state: State,
    tail: Vec<Place>,
}

/// What all stages share while they are compiled.
struct Compiler<'a> {
    file: &'a Dockerfile,
    name: &'a str,
    request: &'a BuildRequest,
    contexts: &'a Contexts,
    cdi: &'a hako_cdi::Directories,
    epoch_unix_s: Option<i64>,
    globals: BTreeMap<String, String>,
    /// Which image is compiled now.
    platform: Platform,
    is_one_of_several: bool,
    graph: Graph,
    finished: HashMap<usize, Finished>,
    /// Nodes of base images, by layers.
    bases: HashMap<String, Option<NodeId>>,
    steps: usize,
    materials: BTreeMap<String, String>,
    foreign: BTreeSet<ForeignBase>,
}

/// What a build has besides its file.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub request: &'a BuildRequest,
    pub contexts: &'a Contexts,
    pub cdi: &'a hako_cdi::Directories,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch_unix_s: Option<i64>,
}

/// Compiles what the request asks for. `name` is the file's name in errors.
pub(crate) fn compile(file: &Dockerfile, name: &str, given: Given<'_>) -> Result<Compiled> {
    let Given { request, contexts, cdi, epoch_unix_s } = given;
    let platforms = Platform::all(&request.platforms)?;
    let target = target(file, name, request)?;
    let mut compiler = Compiler {
        file,
        name,
        request,
        contexts,
        cdi,
        epoch_unix_s,
        globals: BTreeMap::new(),
        platform: Platform::own(),
        is_one_of_several: platforms.len() > 1,
        graph: Graph::new(epoch_unix_s),
        finished: HashMap::new(),
        bases: HashMap::new(),
        steps: 0,
        materials: BTreeMap::new(),
        foreign: BTreeSet::new(),
    };
    // This machine's first: a base image that is not here yet then gets its name from what runs here.
    let mut order: Vec<usize> = (0..platforms.len()).collect();
    order.sort_by_key(|at| !platforms[*at].is_own());
    let mut targets = Vec::new();
    for at in order {
        targets.push((at, compiler.image(&platforms[at], target)?));
    }
    targets.sort_by_key(|(at, _)| *at);
    let mut targets: Vec<Target> = targets.into_iter().map(|(_, target)| target).collect();
    let unused = arguments::unused(file, request).into_iter();
    let unused = unused.map(|name| format!("build argument {name} is not used, no ARG asks for it"));
    let warnings = unused.chain(arguments::not_done(request)).chain(unknown_stages(file, request)).collect();
    let Compiler { mut graph, materials, foreign, .. } = compiler;
    let steps = number(&mut graph, &mut targets);
    Ok(Compiled { graph, targets, steps, warnings, materials, foreign: foreign.into_iter().collect() })
}

/// Counts the steps anew: those of a platform that an earlier one has too are none.
fn number(graph: &mut Graph, targets: &mut [Target]) -> usize {
    let nodes = graph.nodes.iter_mut().flat_map(|node| node.before.iter_mut().chain([&mut node.place]));
    let tails = targets.iter_mut().flat_map(|target| &mut target.tail);
    let mut places: Vec<&mut Place> = nodes.chain(tails).filter(|place| place.step > 0).collect();
    let numbers: BTreeSet<usize> = places.iter().map(|place| place.step).collect();
    let numbers: HashMap<usize, usize> = numbers.into_iter().zip(1..).collect();
    places.iter_mut().for_each(|place| place.step = numbers[&place.step]);
    numbers.len()
}

/// Names a place of the file in errors.
pub(crate) fn refuse(file: &str, line: usize, text: &str, message: impl Into<String>) -> BuildError {
    BuildError::Step { place: format!("{file}:{line}"), line, message: message.into(), text: text.into() }
}

/// Says where in the file an error happened, unless it says so itself.
pub(crate) fn at(file: &str, line: usize, text: &str, error: Error) -> Error {
    let place = format!("{file}:{line}");
    if error.to_string().starts_with(&place) || error.kind() == hako_error::Kind::Cancelled {
        return error;
    }
    let mut located = Error::new(error.kind(), format!("{place}: {}\n  {line} | {text}", error.chain()));
    if !error.causes().is_empty() {
        located = located.with_causes(error.causes().to_vec());
    }
    located
}

fn target(file: &Dockerfile, name: &str, request: &BuildRequest) -> Result<usize> {
    let Some(target) = &request.target else {
        return Ok(file.stages.len() - 1);
    };
    let lower = target.to_ascii_lowercase();
    let by_name = file.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
    let by_number = || target.parse().ok().filter(|number| *number < file.stages.len());
    let found = by_name.or_else(by_number);
    Ok(found.ok_or_else(|| {
        let named =
            |(number, stage): (usize, &Stage)| stage.name.clone().unwrap_or_else(|| number.to_string());
        let stages: Vec<String> = file.stages.iter().enumerate().map(named).collect();
        BuildError::NoTarget { target: target.clone(), file: name.to_owned(), stages: stages.join(", ") }
    })?)
}

impl Compiler<'_> {
    /// Compiles the stages that the image for a platform needs.
    fn image(&mut self, platform: &Platform, target: usize) -> Result<Target> {
        self.globals = arguments::globals(self.file, self.name, self.request, platform)?;
        self.platform = platform.clone();
        self.finished.clear();
        self.graph.next_platform();
        for index in self.needed(target)? {
            self.stage(index)?;
        }
        let Finished { state, tail } = self.stage(target)?;
        Ok(Target { platform: platform.clone(), state, tail })
    }

    /// The stages that the file says the target needs, in its order. ONBUILD of a base may need more.
    fn needed(&self, target: usize) -> Result<Vec<usize>> {
        let (mut needed, mut open) = (BTreeSet::new(), vec![target]);
        while let Some(index) = open.pop() {
            if !needed.insert(index) {
                continue;
            }
            let stage = &self.file.stages[index];
            open.extend(self.earlier(index, &self.base_name(index)?, false));
            for step in &stage.steps {
                open.extend(froms(step).into_iter().filter_map(|from| self.earlier(index, from, true)));
            }
        }
        Ok(needed.into_iter().collect())
    }

    /// The stage before `index` that `text` names, unless a context of that name hides it.
    fn earlier(&self, index: usize, text: &str, by_number: bool) -> Option<usize> {
        if self.contexts.has(text) {
            return None;
        }
        let lower = text.to_ascii_lowercase();
        let named = self.file.stages[..index].iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        named.or_else(|| text.parse().ok().filter(|number| by_number && *number < index))
    }

    /// What a stage starts from, variables expanded.
    fn base_name(&self, index: usize) -> Result<String> {
        let stage = &self.file.stages[index];
        let refuse = |message: String| refuse(self.name, stage.line, &stage.text, message);
        let lookup = |name: &str| self.globals.get(name).cloned();
        let base = crate::dockerfile::expand(&stage.base, self.file.escape, &lookup).map_err(refuse)?;
        if base.is_empty() {
            return Err(refuse(format!("{} is empty; give it a value with --build-arg", stage.base)).into());
        }
        Ok(base)
    }

    /// A place of the next number.
    fn place(&mut self, index: usize, line: usize, text: &str) -> Place {
        self.steps += 1;
        let mut stage = self.file.stages[index].name.clone().unwrap_or_else(|| index.to_string());
        if self.is_one_of_several
            && let Ok(platform) = self.platform_of(index)
        {
            stage = format!("{platform} {stage}");
        }
        Place { step: self.steps, stage, line, text: text.to_owned() }
    }

    /// Whether a stage's steps may be taken from the cache.
    fn uses_cache(&self, index: usize) -> bool {
        let is_named = self.request.no_cache_stages.iter().any(|name| is_called(self.file, index, name));
        !self.request.no_cache && !is_named
    }
}

/// Whether a stage that is to run again is called so. One without a name is called by its number, and as docker shows it.
fn is_called(file: &Dockerfile, index: usize, name: &str) -> bool {
    let wanted = name.to_ascii_lowercase();
    match file.stages[index].name.as_deref() {
        Some(name) if name == wanted => true,
        None if wanted == format!("stage-{index}") => true,
        _ => wanted == index.to_string(),
    }
}

/// Stages that are to run again and that the file has not. BuildKit says nothing of them.
fn unknown_stages<'a>(file: &'a Dockerfile, request: &'a BuildRequest) -> impl Iterator<Item = String> + 'a {
    let is_there = |name: &str| (0..file.stages.len()).any(|index| is_called(file, index, name));
    let unknown = request.no_cache_stages.iter().filter(move |name| !is_there(name));
    unknown.map(|name| format!("no stage is called {name:?}, that it is to run again changes nothing"))
}

/// What a step names with `--from`.
fn froms(step: &Step) -> Vec<&str> {
    match &step.instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        _ => Vec::new(),
    }
}
