//! Which stages a build needs and what each waits for.

use crate::dockerfile::{Dockerfile, Instruction, Stage, Step, expand, refuse_unbuilt};
use crate::error::BuildError;
use crate::request::BuildRequest;
use crate::state::architecture;
use hako_error::Result;
use hako_names::ImageRef;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a stage starts from, or COPY takes files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing.
    Scratch,
    /// An earlier stage of the file.
    Stage(usize),
    /// An image.
    Image(ImageRef),
}

/// A stage that is needed.
#[derive(Debug)]
pub(crate) struct Planned {
    pub stage: Stage,
    pub index: usize,
    pub base: Origin,
    /// Where COPY --from of the step with that number takes its files.
    pub sources: HashMap<usize, Origin>,
    /// The number of its first step in the whole build, from 1.
    pub first_step: usize,
}

/// The stages that a build needs, in order of the file.
#[derive(Debug)]
pub(crate) struct Plan {
    pub stages: Vec<Planned>,
    pub target: usize,
    pub steps: usize,
    pub escape: char,
    /// ARG before the first FROM, and what the platform gives.
    pub globals: BTreeMap<String, String>,
    /// Build arguments that no ARG asks for.
    pub unused: Vec<String>,
}

impl Planned {
    /// Its name, or its number.
    pub(crate) fn name(&self) -> String {
        self.stage.name.clone().unwrap_or_else(|| self.index.to_string())
    }
}

/// Names a place of the file in errors.
pub(crate) fn refuse(file: &str, line: usize, text: &str, message: impl Into<String>) -> BuildError {
    BuildError::Step { place: format!("{file}:{line}"), line, message: message.into(), text: text.into() }
}

pub(crate) fn plan(file: &Dockerfile, name: &str, request: &BuildRequest) -> Result<Plan> {
    refuse_unbuilt(file, name)?;
    let globals = globals(file, name, request)?;
    let target = target(file, name, request)?;
    let mut origins = Vec::new();
    for index in 0..file.stages.len() {
        origins.push(origins_of(file, index, name, &globals)?);
    }
    let mut needed = BTreeSet::new();
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        if needed.insert(index) {
            let (base, sources) = &origins[index];
            open.extend(sources.values().chain([base]).filter_map(|origin| match origin {
                Origin::Stage(index) => Some(*index),
                _ => None,
            }));
        }
    }
    let (mut steps, mut stages) = (0, Vec::new());
    for (index, (base, sources)) in origins.into_iter().enumerate() {
        if needed.contains(&index) {
            let stage = file.stages[index].clone();
            let first_step = steps + 1;
            steps += stage.steps.len() + 1;
            stages.push(Planned { stage, index, base, sources, first_step });
        }
    }
    Ok(Plan { stages, target, steps, escape: file.escape, globals, unused: unused(file, request) })
}

fn globals(file: &Dockerfile, name: &str, request: &BuildRequest) -> Result<BTreeMap<String, String>> {
    let platform = format!("linux/{}", architecture());
    let mut globals = BTreeMap::new();
    for side in ["TARGET", "BUILD"] {
        globals.insert(format!("{side}PLATFORM"), platform.clone());
        globals.insert(format!("{side}OS"), "linux".to_owned());
        globals.insert(format!("{side}ARCH"), architecture().to_owned());
        globals.insert(format!("{side}VARIANT"), String::new());
    }
    for Step { line, text, instruction, .. } in &file.global_args {
        let Instruction::Arg(arguments) = instruction else {
            continue;
        };
        for (key, default) in arguments {
            let given = request.args.get(key).cloned();
            let default =
                default.as_ref().map(|word| expand(word, file.escape, &|name| globals.get(name).cloned()));
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(value)) => Some(value.map_err(|message| refuse(name, *line, text, message))?),
                (None, None) => None,
            };
            if let Some(value) = value {
                globals.insert(key.clone(), value);
            }
        }
    }
    Ok(globals)
}

fn target(file: &Dockerfile, name: &str, request: &BuildRequest) -> Result<usize> {
    let Some(target) = &request.target else {
        return Ok(file.stages.len() - 1);
    };
    let by_name =
        file.stages.iter().position(|stage| stage.name.as_deref() == Some(&target.to_ascii_lowercase()));
    let by_number = || target.parse().ok().filter(|number| *number < file.stages.len());
    let found = by_name.or_else(by_number);
    Ok(found.ok_or_else(|| {
        let named =
            |(number, stage): (usize, &Stage)| stage.name.clone().unwrap_or_else(|| number.to_string());
        let stages: Vec<String> = file.stages.iter().enumerate().map(named).collect();
        BuildError::NoTarget { target: target.clone(), file: name.to_owned(), stages: stages.join(", ") }
    })?)
}

fn origins_of(
    file: &Dockerfile,
    index: usize,
    name: &str,
    globals: &BTreeMap<String, String>,
) -> Result<(Origin, HashMap<usize, Origin>)> {
    let stage = &file.stages[index];
    let refuse = |message: String| refuse(name, stage.line, &stage.text, message);
    let lookup = |name: &str| globals.get(name).cloned();
    if let Some(platform) = &stage.platform {
        let platform = expand(platform, file.escape, &lookup).map_err(&refuse)?;
        let ours = format!("linux/{}", architecture());
        if !platform.is_empty() && platform != ours {
            let message = format!("platform {platform} cannot be built on this machine, which is {ours}");
            return Err(refuse(message).into());
        }
    }
    let base = expand(&stage.base, file.escape, &lookup).map_err(&refuse)?;
    if base.is_empty() {
        return Err(refuse(format!("{} is empty; give it a value with --build-arg", stage.base)).into());
    }
    let base = match base.as_str() {
        "scratch" => Origin::Scratch,
        base => origin(file, index, base, false).map_err(&refuse)?,
    };
    let mut sources = HashMap::new();
    for (number, step) in stage.steps.iter().enumerate() {
        let Instruction::Copy(copy) = &step.instruction else {
            continue;
        };
        let Some(from) = &copy.from else { continue };
        let from = origin(file, index, from, true)
            .map_err(|message| self::refuse(name, step.line, &step.text, message))?;
        sources.insert(number, from);
    }
    Ok((base, sources))
}

/// A stage before `index`, by name (or number where that is allowed), or an image.
fn origin(file: &Dockerfile, index: usize, text: &str, by_number: bool) -> Result<Origin, String> {
    let earlier = &file.stages[..index];
    let lower = text.to_ascii_lowercase();
    if let Some(found) = earlier.iter().rposition(|stage| stage.name.as_deref() == Some(&lower)) {
        return Ok(Origin::Stage(found));
    }
    match text.parse::<usize>() {
        Ok(number) if by_number && number < index => Ok(Origin::Stage(number)),
        _ => {
            text.parse().map(Origin::Image).map_err(|error: hako_names::ParseImageRefError| error.to_string())
        }
    }
}

fn unused(file: &Dockerfile, request: &BuildRequest) -> Vec<String> {
    let steps = file.global_args.iter().chain(file.stages.iter().flat_map(|stage| &stage.steps));
    let mut asked: BTreeSet<&str> = BTreeSet::from(["SOURCE_DATE_EPOCH"]);
    for step in steps {
        if let Instruction::Arg(arguments) = &step.instruction {
            asked.extend(arguments.iter().map(|(name, _)| name.as_str()));
        }
    }
    request
        .args
        .keys()
        .filter(|name| !asked.contains(name.as_str()) && !is_predefined(name))
        .cloned()
        .collect()
}

/// Proxy settings need no ARG and do not count for the cache.
pub(crate) fn is_predefined(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "http_proxy" | "https_proxy" | "ftp_proxy" | "no_proxy" | "all_proxy"
    )
}
