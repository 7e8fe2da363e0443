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

use crate::context::Contexts;
use crate::dockerfile::{Dockerfile, Instruction, Stage, Step};
use crate::error::BuildError;
use crate::graph::{Graph, NodeId, Place};
use crate::platform::Platform;
use crate::request::BuildRequest;
use crate::state::State;
use hako_error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(crate) use arguments::is_predefined;

/// A compiled build.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub graph: Graph,
    /// The last node of the target; `None` if it has no files at all.
    pub target: Option<NodeId>,
    /// The target's configuration.
    pub state: State,
    /// Instructions behind the target's last node.
    pub tail: Vec<Place>,
    pub steps: usize,
    /// Build arguments that no ARG asks for.
    pub unused: Vec<String>,
    /// Base images and remote sources with their digests, for provenance.
    pub materials: BTreeMap<String, String>,
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
    globals: BTreeMap<String, String>,
    platform: Platform,
    graph: Graph,
    finished: HashMap<usize, Finished>,
    /// Nodes of base images, by layers.
    bases: HashMap<String, Option<NodeId>>,
    steps: usize,
    materials: BTreeMap<String, String>,
}

/// Compiles what `request` asks for. `name` is the file's name in errors.
pub(crate) fn compile(
    file: &Dockerfile,
    name: &str,
    request: &BuildRequest,
    contexts: &Contexts,
    cdi: &hako_cdi::Directories,
) -> Result<Compiled> {
    let platform = Platform::wanted(request.platform.as_deref())?;
    let globals = arguments::globals(file, name, request, &platform)?;
    let target = target(file, name, request)?;
    let mut compiler = Compiler {
        file,
        name,
        request,
        contexts,
        cdi,
        globals,
        platform,
        graph: Graph::default(),
        finished: HashMap::new(),
        bases: HashMap::new(),
        steps: 0,
        materials: BTreeMap::new(),
    };
    for index in compiler.needed(target)? {
        compiler.stage(index)?;
    }
    let Finished { state, tail } = compiler.stage(target)?;
    let unused = arguments::unused(file, request);
    let Compiler { graph, steps, materials, .. } = compiler;
    Ok(Compiled { graph, target: state.node, state, tail, steps, unused, materials })
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
        let stage = self.file.stages[index].name.clone().unwrap_or_else(|| index.to_string());
        Place { step: self.steps, stage, line, text: text.to_owned() }
    }

    /// Whether a stage's steps may be taken from the cache.
    fn uses_cache(&self, index: usize) -> bool {
        let named = |wanted: &String| {
            self.file.stages[index].name.as_deref() == Some(&wanted.to_ascii_lowercase())
                || *wanted == index.to_string()
        };
        !self.request.no_cache && !self.request.no_cache_stages.iter().any(named)
    }
}

/// What a step names with `--from`.
fn froms(step: &Step) -> Vec<&str> {
    match &step.instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        _ => Vec::new(),
    }
}
