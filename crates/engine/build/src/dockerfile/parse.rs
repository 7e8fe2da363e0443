//! The file as a whole: stages, their names and what they refer to.

use super::directives::{Directives, directives};
use super::expand::{expand, expand_heredoc};
use super::flags::{Flags, Takes, split_flags};
use super::instruction::{Instruction, Refused, instruction, refuse};
use super::lines::{Logical, logical};
use super::{Dockerfile, DockerfileError, Fault, Stage, Step};
use std::collections::BTreeMap;

/// The longest file, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// How many faults are listed.
const MAX_FAULTS: usize = 50;
/// How much of a line a fault repeats, in characters.
const MAX_QUOTED: usize = 300;

/// Parses a Dockerfile; `file` names it in errors. All faults are reported at once.
pub fn parse(text: &str, file: &str) -> Result<Dockerfile, DockerfileError> {
    let (directives, bad) = directives(text);
    let mut parser = Parser::new(text, directives);
    for (line, message) in bad {
        parser.fault(line, message);
    }
    parser.read(text);
    if parser.stages.is_empty() && parser.faults.is_empty() {
        parser.fault(1, "there is no FROM, a Dockerfile starts with the image to build on".into());
    }
    parser.check_references();
    let Parser { directives, global_args, stages, faults, .. } = parser;
    finish(faults, file)?;
    Ok(Dockerfile { escape: directives.escape, directives, global_args, stages })
}

/// Parses the ONBUILD triggers of an image; `file` names the image in errors, the lines are the triggers' numbers.
pub fn triggers(texts: &[String], escape: char, file: &str) -> Result<Vec<Step>, DockerfileError> {
    let (mut steps, mut faults) = (Vec::new(), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        let mut parser = Parser::new(text, Directives { syntax: None, escape, check: None });
        // Somewhere for the steps to go.
        parser.stages.push(Stage {
            base: String::new(),
            name: None,
            platform: None,
            line: 0,
            text: String::new(),
            steps: Vec::new(),
        });
        parser.read(text);
        if parser.stages.len() > 1 || parser.stages[0].steps.len() != 1 && parser.faults.is_empty() {
            parser.fault(1, "a trigger is one instruction, and not FROM".into());
        }
        let numbered = |step: Step| Step { line: index + 1, last_line: index + 1, ..step };
        steps.extend(parser.stages.remove(0).steps.into_iter().map(numbered));
        faults.extend(parser.faults.into_iter().map(|fault| Fault { line: index + 1, ..fault }));
    }
    finish(faults, file)?;
    Ok(steps)
}

fn finish(mut faults: Vec<Fault>, file: &str) -> Result<(), DockerfileError> {
    if faults.is_empty() {
        return Ok(());
    }
    faults.sort_by_key(|fault| fault.line);
    faults.truncate(MAX_FAULTS);
    Err(DockerfileError { file: file.to_owned(), faults })
}

struct Parser<'a> {
    lines: Vec<&'a str>,
    directives: Directives,
    faults: Vec<Fault>,
    global_args: Vec<Step>,
    stages: Vec<Stage>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, directives: Directives) -> Self {
        let lines = if text.len() > MAX_FILE_BYTES { Vec::new() } else { text.lines().collect() };
        Self { lines, directives, faults: Vec::new(), global_args: Vec::new(), stages: Vec::new() }
    }

    fn fault(&mut self, line: usize, message: String) {
        let text = self.lines.get(line.saturating_sub(1)).copied().unwrap_or("");
        let text = text.chars().take(MAX_QUOTED).collect();
        self.faults.push(Fault { line, message, text, is_unimplemented: false });
    }

    fn read(&mut self, text: &str) {
        if text.len() > MAX_FILE_BYTES {
            return self.fault(1, format!("the file is longer than {MAX_FILE_BYTES} bytes"));
        }
        let (lines, faults) = logical(text, self.directives.escape);
        for (line, message) in faults {
            self.fault(line, message);
        }
        for logical in &lines {
            let (keyword, rest) = logical.split();
            let keyword = keyword.to_ascii_uppercase();
            let result =
                if keyword == "FROM" { self.from(logical, rest) } else { self.step(logical, &keyword, rest) };
            if let Err(refused) = result {
                self.fault(logical.line, refused.message);
            }
        }
    }

    fn step(&mut self, logical: &Logical, keyword: &str, rest: &str) -> Result<(), Refused> {
        let instruction = instruction(keyword, rest, logical, self.directives.escape)?;
        self.check_words(&instruction)?;
        let is_arg = matches!(instruction, Instruction::Arg(_));
        let step = Step {
            line: logical.line,
            last_line: logical.last_line,
            text: one_line(&logical.text),
            instruction,
        };
        match self.stages.last_mut() {
            Some(stage) => stage.steps.push(step),
            None if is_arg => self.global_args.push(step),
            // One fault is enough: the FROM above may be what has another.
            None if !self.faults.is_empty() => {}
            None => return refuse(format!("{keyword} before FROM, only ARG may stand there")),
        }
        Ok(())
    }

    /// Quotes and variables that can never be expanded are faults of the file.
    fn check_words(&self, instruction: &Instruction) -> Result<(), Refused> {
        let words: Vec<&String> = match instruction {
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                pairs.iter().flat_map(|(key, value)| [key, value]).collect()
            }
            Instruction::Arg(arguments) => arguments.iter().filter_map(|(_, value)| value.as_ref()).collect(),
            Instruction::Copy(copy) => {
                for file in copy.files.iter().filter(|file| file.is_expanded) {
                    expand_heredoc(&file.content, &anything)?;
                }
                copy.sources.iter().chain([&copy.destination]).chain(&copy.chown).chain(&copy.chmod).collect()
            }
            Instruction::Expose(words) | Instruction::Volume(words) => words.iter().collect(),
            Instruction::Workdir(word) | Instruction::User(word) | Instruction::StopSignal(word) => {
                vec![word]
            }
            Instruction::Run(run) => {
                for mount in &run.mounts {
                    mount
                        .words()
                        .try_for_each(|word| expand(word, self.directives.escape, &anything).map(drop))?;
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        for word in words {
            expand(word, self.directives.escape, &anything)?;
        }
        Ok(())
    }

    fn from(&mut self, logical: &Logical, rest: &str) -> Result<(), Refused> {
        let (flags, rest) = split_flags(rest, self.directives.escape);
        let flags = Flags::parse("FROM", flags, &[("platform", Takes::Text)])?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (base, name) = match words.as_slice() {
            [base] => (*base, None),
            [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
                (*base, Some(name.to_ascii_lowercase()))
            }
            _ => {
                return refuse(
                    "FROM takes an image and optionally a name for the stage: FROM image [AS name]",
                );
            }
        };
        expand(base, self.directives.escape, &anything)?;
        let platform = flags.text("platform");
        if let Some(platform) = &platform {
            expand(platform, self.directives.escape, &anything)?;
        }
        let name_fault = name.as_deref().and_then(|name| check_name(name).err());
        self.stages.push(Stage {
            base: base.to_owned(),
            name,
            platform,
            line: logical.line,
            text: one_line(&logical.text),
            steps: Vec::new(),
        });
        name_fault.map_or(Ok(()), Err)
    }

    /// `--from` may name an earlier stage; a later one, or its own, can never work.
    fn check_references(&mut self) {
        // Where each name stands first: that is enough to know that none is above.
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, stage) in self.stages.iter().enumerate() {
            if let Some(name) = &stage.name {
                names.entry(name).or_insert(index);
            }
        }
        let mut faults = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            for step in &stage.steps {
                for from in froms(&step.instruction) {
                    let by_name = names.get(from.to_ascii_lowercase().as_str()).copied();
                    let target = by_name.or_else(|| from.parse().ok());
                    if target.is_some_and(|target| target >= index) {
                        faults.push((step.line, format!("from={from} is no earlier stage than its own")));
                    }
                }
            }
        }
        for (line, message) in faults {
            self.fault(line, message);
        }
    }
}

/// With every variable set to something, only the form of a word can fail.
fn anything(_: &str) -> Option<String> {
    Some("x".into())
}

/// What an instruction takes files from.
pub(super) fn froms(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        _ => Vec::new(),
    }
}

fn check_name(name: &str) -> Result<(), Refused> {
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    if !is_name {
        return refuse(format!(
            "{name:?} is not a name for a stage, it must start with a letter and have only [a-z0-9-_.]"
        ));
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
