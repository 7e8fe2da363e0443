//! The file as a whole: stages, their names and what they refer to.

use super::expand::expand;
use super::instruction::{Command, Instruction, Refused};
use super::instruction::{heredoc, instruction, refuse};
use super::lines::{Logical, directives, logical};
use super::{Dockerfile, DockerfileError, Fault, Stage, Step};

/// Parses a Dockerfile; `file` names it in errors. All faults are reported at once.
pub fn parse(text: &str, file: &str) -> Result<Dockerfile, DockerfileError> {
    let directives = directives(text);
    let mut parser = Parser {
        lines: text.lines().collect(),
        escape: directives.escape,
        faults: Vec::new(),
        global_args: Vec::new(),
        stages: Vec::new(),
    };
    if let Some((line, value)) = directives.bad_escape {
        parser.fault(
            line,
            format!("escape={value} is not possible, expected a backslash or a backtick"),
            false,
        );
    }
    let mut skip_to: Option<String> = None;
    for logical in logical(text, directives.escape) {
        if let Some(end) = &skip_to {
            if logical.text.trim() == end {
                skip_to = None;
            }
            continue;
        }
        skip_to = parser.line(&logical);
    }
    if parser.stages.is_empty() && parser.faults.is_empty() {
        parser.fault(1, "there is no FROM, a Dockerfile starts with the image to build on".into(), false);
    }
    parser.finish(file)
}

struct Parser<'a> {
    lines: Vec<&'a str>,
    escape: char,
    faults: Vec<Fault>,
    global_args: Vec<Step>,
    stages: Vec<Stage>,
}

impl Parser<'_> {
    fn fault(&mut self, line: usize, message: String, is_unimplemented: bool) {
        let text = self.lines.get(line.saturating_sub(1)).copied().unwrap_or("").to_owned();
        self.faults.push(Fault { line, message, text, is_unimplemented });
    }

    /// Reads one instruction; returns the end marker of a heredoc whose lines are to be skipped.
    fn line(&mut self, logical: &Logical) -> Option<String> {
        let (keyword, rest) = logical.text.split_once(char::is_whitespace).unwrap_or((&logical.text, ""));
        let keyword = keyword.to_ascii_uppercase();
        let result =
            if keyword == "FROM" { self.from(logical, rest) } else { self.step(logical, &keyword, rest) };
        if let Err(refused) = result {
            self.fault(logical.line, refused.message, refused.is_unimplemented);
            return heredoc(rest).filter(|_| matches!(keyword.as_str(), "RUN" | "COPY" | "ADD"));
        }
        None
    }

    fn step(&mut self, logical: &Logical, keyword: &str, rest: &str) -> Result<(), Refused> {
        let instruction = instruction(keyword, rest, self.escape)?;
        self.check_words(&instruction)?;
        let is_arg = matches!(instruction, Instruction::Arg(_));
        let step = Step { line: logical.line, text: one_line(&logical.text), instruction };
        match self.stages.last_mut() {
            Some(stage) => stage.steps.push(step),
            None if is_arg => self.global_args.push(step),
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
            Instruction::Copy(copy) => copy.sources.iter().chain([&copy.destination]).collect(),
            Instruction::Expose(words) | Instruction::Volume(words) => words.iter().collect(),
            Instruction::Workdir(word) | Instruction::User(word) | Instruction::StopSignal(word) => {
                vec![word]
            }
            _ => Vec::new(),
        };
        for word in words {
            // With every variable set to something, only the form of the word can fail.
            if let Err(message) = expand(word, self.escape, &|_| Some("x".into())) {
                return refuse(message);
            }
        }
        Ok(())
    }

    fn from(&mut self, logical: &Logical, rest: &str) -> Result<(), Refused> {
        let mut words: Vec<&str> = rest.split_whitespace().collect();
        let mut platform = None;
        while let Some(flag) = words.first().and_then(|word| word.strip_prefix("--")) {
            match flag.split_once('=') {
                Some(("platform", value)) if !value.is_empty() => platform = Some(value.to_owned()),
                _ => return refuse(format!("FROM has no flag --{flag}")),
            }
            words.remove(0);
        }
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
        if let Err(message) = expand(base, self.escape, &|_| Some("x".into())) {
            return refuse(message);
        }
        if let Some(name) = &name {
            self.check_name(name)?;
        }
        self.stages.push(Stage {
            base: base.to_owned(),
            name,
            platform,
            line: logical.line,
            text: one_line(&logical.text),
            steps: Vec::new(),
        });
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<(), Refused> {
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if !is_name {
            return refuse(format!(
                "{name:?} is not a name for a stage, it must start with a letter and have only [a-z0-9-_.]"
            ));
        }
        if name == "scratch" || name == "context" {
            return refuse(format!("{name:?} is reserved and cannot name a stage"));
        }
        if self.stages.iter().any(|stage| stage.name.as_deref() == Some(name)) {
            return refuse(format!("there are two stages named {name:?}"));
        }
        Ok(())
    }

    fn finish(mut self, file: &str) -> Result<Dockerfile, DockerfileError> {
        self.check_references();
        if self.faults.is_empty() {
            return Ok(Dockerfile {
                escape: self.escape,
                global_args: self.global_args,
                stages: self.stages,
            });
        }
        self.faults.sort_by_key(|fault| fault.line);
        Err(DockerfileError { file: file.to_owned(), faults: self.faults })
    }

    /// `COPY --from` may name an earlier stage; a later one, or itself, can never work.
    fn check_references(&mut self) {
        let names: Vec<Option<String>> = self.stages.iter().map(|stage| stage.name.clone()).collect();
        let mut faults = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            for step in &stage.steps {
                let Instruction::Copy(copy) = &step.instruction else {
                    continue;
                };
                let Some(from) = copy.from.as_deref() else {
                    continue;
                };
                let by_name =
                    names.iter().position(|name| name.as_deref() == Some(from.to_ascii_lowercase().as_str()));
                let target = by_name.or_else(|| from.parse().ok());
                if target.is_some_and(|target| target >= index) {
                    faults.push((step.line, format!("COPY --from={from} is no earlier stage than its own")));
                }
            }
        }
        for (line, message) in faults {
            self.fault(line, message, false);
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Command {
    /// The words to execute with that shell.
    #[must_use]
    pub fn words(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Shell(line) => [shell, std::slice::from_ref(line)].concat(),
            Self::Exec(words) => words.clone(),
        }
    }
}
