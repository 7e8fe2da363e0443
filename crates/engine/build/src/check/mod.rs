//! Build checks: what a Dockerfile may say and had better not.
//!
//! Owns: the rules, which of them count, and where the file breaks them. Does not own: faults that stop a build
//! ([`crate::dockerfile`]), and how findings are printed.
//!
//! Invariant: checking runs nothing and reads nothing but what it is given.

mod config;
mod lines;
mod names;
mod rule;
mod stages;

use crate::dockerfile::{Dockerfile, DockerfileError, Fault, Logical, logical, parse};
use crate::ignore::Ignore;
use config::Config;
use hako_error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

pub use rule::Rule;

/// The build argument that says what a `check` directive says, and wins over it.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Environment of a base image: `None` where it is not known.
pub type BaseEnv<'a> = &'a dyn Fn(&str) -> Option<Vec<(String, String)>>;

/// What a file is checked with.
pub struct CheckInput<'a> {
    /// `--build-arg`.
    pub args: &'a BTreeMap<String, String>,
    /// The text of the .dockerignore that counts for the file.
    pub ignore: Option<&'a str>,
    /// The environment of the image with that name; without it, a variable that is not defined is reported only
    /// where it is close to one that is.
    pub base_env: BaseEnv<'a>,
    /// Base images that are for another platform than is built.
    pub foreign: &'a [ForeignBase],
}

/// A base image that is for another platform than the stage on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignBase {
    /// The line of its FROM, from 1.
    pub line: usize,
    /// The image's name.
    pub name: String,
    /// What it is for: `os/arch[/variant]`.
    pub platform: String,
    /// What is built.
    pub wanted: String,
}

impl fmt::Debug for CheckInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckInput")
            .field("args", self.args)
            .field("ignore", &self.ignore)
            .field("foreign", &self.foreign)
            .finish_non_exhaustive()
    }
}

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// What the rule asks for, in one sentence.
    pub description: String,
    /// What is wrong here.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The line as written.
    pub text: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The file's name.
    pub file: String,
    /// By line.
    pub findings: Vec<Finding>,
    /// Whether the file wants a build with findings to fail.
    pub is_error: bool,
}

impl Report {
    /// Fails if something was found.
    pub(crate) fn refuse(&self) -> hako_error::Result<()> {
        if self.findings.is_empty() {
            return Ok(());
        }
        let message = format!("the checks found this, and check=error=true wants no build then:\n{self}");
        Err(Error::new(Kind::Invalid, message.trim_end().to_owned()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{}:{}: {}: {}", self.file, finding.line, finding.rule.name(), finding.message)?;
            if !finding.text.trim().is_empty() {
                writeln!(f, "  {} | {}", finding.line, finding.text.trim_end())?;
            }
            writeln!(f, "  {}", finding.description)?;
        }
        Ok(())
    }
}

/// Checks a Dockerfile; `file` names it. Fails if it does not parse, or if the checks asked for make no sense.
pub fn check(text: &str, file: &str, input: &CheckInput) -> Result<Report, DockerfileError> {
    let dockerfile = parse(text, file)?;
    let config = config(&dockerfile.directives.check, text, file, input.args)?;
    let ignore = input.ignore.map(Ignore::parse).unwrap_or_default();
    if let Some(fault) = ignore.faults().first() {
        return Err(failed(".dockerignore", fault.line, fault.message.to_owned(), &fault.text));
    }
    let (mut logical, _) = logical(text, dockerfile.escape);
    // The directive is about the file, and not about the instruction that it may stand above.
    if let (Some((line, _)), Some(first)) = (&dockerfile.directives.check, logical.first_mut()) {
        let written = text.lines().nth(line - 1).unwrap_or_default();
        let written = written.trim_matches(['\u{feff}', ' ', '\t']).trim_start_matches('#').trim();
        first.comments.retain(|comment| comment != written);
    }
    let mut found = Found { config: &config, lines: text.lines().collect(), findings: Vec::new() };
    lines::check(&logical, &mut found);
    stages::check(&dockerfile, &logical, &ignore, input, &mut found);
    let mut findings = found.findings;
    findings.sort_by_key(|finding| (finding.line, finding.rule));
    Ok(Report { file: file.to_owned(), findings, is_error: config.is_error })
}

/// Whether the file, or the one who builds, wants no image of a file that the checks find something in.
pub(crate) fn is_strict(
    dockerfile: &Dockerfile,
    text: &str,
    file: &str,
    args: &BTreeMap<String, String>,
) -> Result<bool, DockerfileError> {
    Ok(config(&dockerfile.directives.check, text, file, args)?.is_error)
}

fn config(
    directive: &Option<(usize, String)>,
    text: &str,
    file: &str,
    args: &BTreeMap<String, String>,
) -> Result<Config, DockerfileError> {
    if let Some(said) = args.get(ARGUMENT).filter(|said| !said.is_empty()) {
        return Config::parse(said)
            .map_err(|message| failed(file, 0, format!("--build-arg {ARGUMENT}: {message}"), ""));
    }
    let Some((line, said)) = directive else {
        return Ok(Config::default());
    };
    let written = text.lines().nth(line - 1).unwrap_or_default();
    let said = said.split_whitespace().next().unwrap_or_default();
    Config::parse(said).map_err(|message| failed(file, *line, message, written))
}

fn failed(file: &str, line: usize, message: String, text: &str) -> DockerfileError {
    let fault = Fault { line, message, text: text.to_owned(), is_unimplemented: false };
    DockerfileError { file: file.to_owned(), faults: vec![fault] }
}

/// Collects what is found, as far as it counts.
struct Found<'a> {
    config: &'a Config,
    lines: Vec<&'a str>,
    findings: Vec<Finding>,
}

/// The most findings of a file.
const MAX_FINDINGS: usize = 1000;

impl Found<'_> {
    /// Adds a finding for an instruction, unless the comments above it say that the rule does not count.
    fn add(&mut self, rule: Rule, at: &Logical, message: String) {
        self.add_at(rule, at, at.line, message);
    }

    fn add_at(&mut self, rule: Rule, at: &Logical, line: usize, message: String) {
        let counts = if at.comments.is_empty() {
            self.config.has(rule)
        } else {
            self.config.with(&at.comments).has(rule)
        };
        if counts && self.findings.len() < MAX_FINDINGS {
            let text = self.lines.get(line - 1).copied().unwrap_or_default().chars().take(300).collect();
            self.findings.push(Finding {
                rule,
                description: rule.description().to_owned(),
                message,
                line,
                text,
            });
        }
    }
}

#[cfg(test)]
mod tests;
