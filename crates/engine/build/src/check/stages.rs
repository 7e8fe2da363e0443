//! Rules about stages, their variables and what they copy.

use super::{CheckInput, Found, Rule, names};
use crate::dockerfile::{
    Command, Copy, Dockerfile, Expansion, Instruction, Logical, Stage, did_you_mean, expand_heredoc_noting,
    expand_noting, expand_words, is_remote,
};
use crate::ignore::{Ignore, clean};
use hako_names::ImageRef;
use std::collections::{BTreeMap, BTreeSet};

/// What every build defines before the first FROM.
const PLATFORM_ARGS: [&str; 8] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
];
/// Defined without ARG, in any case.
const PROXY_ARGS: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

pub(super) fn check(
    file: &Dockerfile,
    lines: &[Logical],
    ignore: &Ignore,
    input: &CheckInput,
    found: &mut Found,
) {
    let by_line: BTreeMap<usize, &Logical> = lines.iter().map(|line| (line.line, line)).collect();
    let mut checker =
        Checker { file, by_line, ignore, input, found, defaults: BTreeMap::new(), ended: Vec::new() };
    checker.global_args();
    for stage in &file.stages {
        checker.from(stage);
        let ended = checker.stage(stage);
        checker.ended.push(ended);
    }
}

struct Checker<'a, 'b> {
    file: &'a Dockerfile,
    by_line: BTreeMap<usize, &'a Logical>,
    ignore: &'a Ignore,
    input: &'a CheckInput<'a>,
    found: &'a mut Found<'b>,
    /// ARG before the first FROM with their defaults.
    defaults: BTreeMap<String, Option<String>>,
    /// How the stages before ended.
    ended: Vec<Scope>,
}

/// What is known at a place in a stage.
#[derive(Clone, Debug, Default)]
struct Scope {
    env: BTreeMap<String, String>,
    args: BTreeMap<String, Option<String>>,
    /// Whether all of the base image's environment is in `env`.
    is_whole: bool,
    has_workdir: bool,
    has_shell: bool,
}

impl Scope {
    fn lookup(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned().or_else(|| self.args.get(name).cloned().flatten())
    }
}

impl Checker<'_, '_> {
    fn add(&mut self, rule: Rule, line: usize, message: String) {
        if let Some(at) = self.by_line.get(&line).copied() {
            self.found.add(rule, at, message);
        }
    }

    fn global_args(&mut self) {
        for name in PLATFORM_ARGS {
            // Something that is a platform, so that names made of it can be checked.
            let value = if name.ends_with("PLATFORM") { "linux/amd64" } else { "linux" };
            self.defaults.insert(name.to_owned(), Some(value.to_owned()));
        }
        for step in &self.file.global_args {
            let Instruction::Arg(arguments) = &step.instruction else { continue };
            for (name, default) in arguments {
                self.secret("ARG", name, step.line);
                let value =
                    default.as_deref().and_then(|word| self.global(word).ok()).map(|found| found.text);
                let known = self.defaults.get(name).cloned().flatten();
                self.defaults.insert(name.clone(), value.or(known));
            }
        }
    }

    fn global(&self, word: &str) -> Result<Expansion, String> {
        expand_noting(word, self.file.escape, &|name| self.defaults.get(name).cloned().flatten())
    }

    fn from(&mut self, stage: &Stage) {
        self.name(stage);
        self.foreign(stage);
        let Ok(base) = self.global(&stage.base) else { return };
        self.undeclared(stage, &base);
        let is_stage = self.file.stages.iter().any(|other| other.name.as_deref() == Some(base.text.as_str()));
        if !is_stage && base.text.parse::<ImageRef>().is_err() {
            let message = format!(
                "{} with the defaults of its ARGs is {:?}, which names no image",
                stage.base, base.text
            );
            self.add(Rule::InvalidDefaultArgInFrom, stage.line, message);
        }
        let Some(platform) = &stage.platform else { return };
        let Ok(expanded) = self.global(platform) else { return };
        self.undeclared(stage, &expanded);
        if matches!(platform.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
            let message = format!("--platform={platform} is the default");
            self.add(Rule::RedundantTargetPlatform, stage.line, message);
        }
        if expanded.used.is_empty() && expanded.missing.is_empty() {
            self.constant(stage, &expanded.text);
        }
    }

    /// Of the image that was really built on, whatever the defaults say.
    fn foreign(&mut self, stage: &Stage) {
        for base in self.input.foreign.iter().filter(|base| base.line == stage.line) {
            let message = format!("{} is for {}, and {} is built", base.name, base.platform, base.wanted);
            self.add(Rule::InvalidBaseImagePlatform, stage.line, message);
        }
    }

    /// A stage that has the platform in its name is meant for just that.
    fn constant(&mut self, stage: &Stage, platform: &str) {
        let name = stage.name.as_deref().unwrap_or_default();
        let mut parts = platform.split('/');
        let is_platform = parts.clone().all(|part| !part.is_empty()) && parts.clone().count() <= 3;
        if is_platform && !parts.by_ref().take(2).any(|part| name.contains(part)) {
            let message = format!("--platform={platform} is a constant");
            self.add(Rule::FromPlatformFlagConstDisallowed, stage.line, message);
        }
    }

    fn name(&mut self, stage: &Stage) {
        let Some(name) = &stage.name else { return };
        if matches!(name.as_str(), "scratch" | "context") {
            self.add(
                Rule::ReservedStageName,
                stage.line,
                format!("{name:?} is reserved and should not name a stage"),
            );
        }
        let above = self.file.stages.iter().take_while(|other| other.line < stage.line);
        if above.filter_map(|other| other.name.as_deref()).any(|other| other == name) {
            self.add(Rule::DuplicateStageName, stage.line, format!("a stage above is named {name:?} too"));
        }
    }

    fn undeclared(&mut self, stage: &Stage, expansion: &Expansion) {
        for name in
            expansion.missing.iter().filter(|name| !self.defaults.contains_key(*name)).collect::<Vec<_>>()
        {
            let hint = did_you_mean(name, self.defaults.keys().map(String::as_str));
            let message = format!("no ARG before the first FROM declares {name}{hint}");
            self.add(Rule::UndefinedArgInFrom, stage.line, message);
        }
    }

    fn secret(&mut self, keyword: &str, name: &str, line: usize) {
        if names::is_secret(name) {
            self.add(Rule::SecretsUsedInArgOrEnv, line, format!("{keyword} {name} looks like a secret"));
        }
    }

    fn scope(&self, stage: &Stage) -> Scope {
        let base = self.global(&stage.base).map(|base| base.text).unwrap_or_default();
        let name = base.to_ascii_lowercase();
        let above = &self.file.stages[..self.ended.len()];
        if let Some(index) = above.iter().rposition(|stage| stage.name.as_deref() == Some(&name)) {
            return self.ended[index].clone();
        }
        let env = if base == "scratch" { Some(Vec::new()) } else { (self.input.base_env)(&base) };
        let is_whole = env.is_some();
        let mut env: BTreeMap<_, _> = env.unwrap_or_default().into_iter().collect();
        env.entry("PATH".into()).or_default();
        Scope { env, is_whole, ..Scope::default() }
    }

    fn stage(&mut self, stage: &Stage) -> Scope {
        let mut scope = self.scope(stage);
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for step in &stage.steps {
            self.variables(&step.instruction, &scope, step.line);
            let keyword = match &step.instruction {
                Instruction::Cmd(_) => "CMD",
                Instruction::Entrypoint(_) => "ENTRYPOINT",
                Instruction::Healthcheck(_) => "HEALTHCHECK",
                _ => "",
            };
            if let Some(before) = (!keyword.is_empty()).then(|| last.insert(keyword, step.line)).flatten() {
                let message = format!("this {keyword} is without effect, another follows in the stage");
                self.add(Rule::MultipleInstructionsDisallowed, before, message);
            }
            self.step(&step.instruction, step.line, &mut scope);
        }
        scope
    }

    fn step(&mut self, instruction: &Instruction, line: usize, scope: &mut Scope) {
        match instruction {
            Instruction::Cmd(Command::Shell(_)) if !scope.has_shell => self.json("CMD", line),
            Instruction::Entrypoint(Command::Shell(_)) if !scope.has_shell => self.json("ENTRYPOINT", line),
            Instruction::Shell(_) => scope.has_shell = true,
            Instruction::Workdir(path) => {
                let path = self.expanded(path, scope);
                if !scope.has_workdir && !path.starts_with('/') {
                    let message =
                        format!("{path:?} is relative to the WORKDIR of the base image, which may change");
                    self.add(Rule::WorkdirRelativePath, line, message);
                }
                scope.has_workdir = true;
            }
            Instruction::Env(pairs) => {
                let mut values = Vec::new();
                for (name, value) in pairs {
                    let name = self.expanded(name, scope);
                    self.secret("ENV", &name, line);
                    values.push((name, self.expanded(value, scope)));
                }
                scope.env.extend(values);
            }
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    self.secret("ARG", name, line);
                    let given = self.input.args.get(name).cloned();
                    let default = default.as_deref().map(|word| self.expanded(word, scope));
                    let global = self.defaults.get(name).cloned().flatten();
                    scope.args.insert(name.clone(), given.or(default).or(global));
                }
            }
            Instruction::Expose(words) => self.expose(words, scope, line),
            Instruction::Copy(copy) if copy.from.is_none() => self.ignored(copy, scope, line),
            _ => {}
        }
    }

    fn expanded(&self, word: &str, scope: &Scope) -> String {
        expand_noting(word, self.file.escape, &|name| scope.lookup(name))
            .map(|found| found.text)
            .unwrap_or_default()
    }

    fn json(&mut self, keyword: &str, line: usize) {
        let message = format!("{keyword} as a JSON array would let signals reach the program");
        self.add(Rule::JSONArgsRecommended, line, message);
    }

    fn expose(&mut self, words: &[String], scope: &Scope, line: usize) {
        for word in words {
            let ports = expand_words(word, self.file.escape, &|name| scope.lookup(name)).unwrap_or_default();
            for port in ports {
                let protocol = port.split_once('/').map_or("", |(_, protocol)| protocol);
                if protocol.contains(|c: char| c.is_ascii_uppercase()) {
                    self.add(
                        Rule::ExposeProtoCasing,
                        line,
                        format!("the protocol of {port} should be lower case"),
                    );
                }
                if port.contains(':') {
                    let message = format!("{port} has an address or a port of the host");
                    self.add(Rule::ExposeInvalidFormat, line, message);
                }
            }
        }
    }

    /// Exceptions are too much to judge from the name alone, as in BuildKit.
    fn ignored(&mut self, copy: &Copy, scope: &Scope, line: usize) {
        if self.ignore.may_reenter() {
            return;
        }
        let keyword = if copy.is_add { "ADD" } else { "COPY" };
        for source in &copy.sources {
            let source = self.expanded(source, scope);
            if copy.is_add && is_remote(&source) {
                continue;
            }
            let path = clean(&source);
            let path = path.trim_start_matches('/');
            let is_root = matches!(path, "" | ".");
            if if is_root { self.ignore.excludes_everything() } else { self.ignore.excludes(path) } {
                let message = format!("{keyword} of {source:?}, which .dockerignore leaves out");
                self.add(Rule::CopyIgnoredFile, line, message);
            }
        }
    }

    /// Variables that the instruction uses and nothing defines.
    fn variables(&mut self, instruction: &Instruction, scope: &Scope, line: usize) {
        let mut missing = BTreeSet::new();
        for word in words(instruction) {
            if let Ok(found) = expand_noting(word, self.file.escape, &|name| scope.lookup(name)) {
                missing.extend(found.missing);
            }
        }
        if let Instruction::Copy(copy) = instruction {
            for file in copy.files.iter().filter(|file| file.is_expanded) {
                if let Ok(found) = expand_heredoc_noting(&file.content, &|name| scope.lookup(name)) {
                    missing.extend(found.missing);
                }
            }
        }
        for name in missing {
            let is_known = scope.args.contains_key(&name)
                || PROXY_ARGS.contains(&name.to_ascii_lowercase().as_str())
                || name.starts_with("BUILDKIT_");
            if is_known {
                continue;
            }
            let hint = did_you_mean(&name, scope.env.keys().chain(scope.args.keys()).map(String::as_str));
            // The base image may define it, if its environment is not known.
            if scope.is_whole || !hint.is_empty() {
                self.add(Rule::UndefinedVar, line, format!("${name} is not defined{hint}"));
            }
        }
    }
}

/// The words of an instruction that are expanded.
fn words(instruction: &Instruction) -> Vec<&str> {
    let owned: Vec<&String> = match instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.iter().flat_map(|(key, value)| [key, value]).collect()
        }
        Instruction::Arg(arguments) => arguments.iter().filter_map(|(_, value)| value.as_ref()).collect(),
        Instruction::Copy(copy) => {
            copy.sources.iter().chain([&copy.destination]).chain(&copy.chown).chain(&copy.chmod).collect()
        }
        Instruction::Expose(words) | Instruction::Volume(words) => words.iter().collect(),
        Instruction::Workdir(word) | Instruction::User(word) | Instruction::StopSignal(word) => vec![word],
        Instruction::Run(run) => {
            return run.mounts.iter().flat_map(crate::dockerfile::MountFlag::words).collect();
        }
        _ => Vec::new(),
    };
    owned.into_iter().map(String::as_str).collect()
}
