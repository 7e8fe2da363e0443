//! One stage, instruction by instruction.

use super::{Compiler, Finished, at, is_predefined};
use crate::dockerfile::{Instruction, Step, check_signal, expand, expand_words, exposed_ports};
use crate::graph::{Node, NodeId, Op, Place};
use crate::platform::Platform;
use crate::state::State;
use hako_error::{Error, Kind, Result};

/// A stage that is being compiled.
pub(super) struct Stage<'c, 'a> {
    pub compiler: &'c mut Compiler<'a>,
    pub index: usize,
    pub state: State,
    pub platform: Platform,
    /// Instructions since the last node.
    pub pending: Vec<Place>,
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

impl<'a> Compiler<'a> {
    /// Compiles a stage once.
    pub(super) fn stage(&mut self, index: usize) -> Result<Finished> {
        if let Some(finished) = self.finished.get(&index) {
            return Ok(finished.clone());
        }
        let stage = self.file.stages[index].clone();
        let from = self.place(index, stage.line, &stage.text);
        let name = self.name;
        let located = |error| at(name, stage.line, &stage.text, error);
        let platform = self.platform_of(index).map_err(located)?;
        let mut compiled =
            Stage { compiler: self, index, state: State::scratch(), platform, pending: Vec::new() };
        compiled.from(from).map_err(located)?;
        compiled.triggers()?;
        for step in &stage.steps {
            compiled.step(step).map_err(|error| at(name, step.line, &step.text, error))?;
        }
        let finished = Finished { state: compiled.state, tail: compiled.pending };
        self.finished.insert(index, finished.clone());
        Ok(finished)
    }

    /// What a stage is for: what the one that it starts from is for, else what its FROM says, else what is asked for.
    pub(super) fn platform_of(&self, index: usize) -> Result<Platform> {
        if let Some(stage) = self.earlier(index, &self.base_name(index)?, false) {
            return self.platform_of(stage);
        }
        let Some(text) = &self.file.stages[index].platform else {
            return Ok(self.platform.clone());
        };
        let lookup = |name: &str| self.globals.get(name).cloned();
        let text = expand(text, self.file.escape, &lookup).map_err(invalid)?;
        if text.is_empty() { Ok(self.platform.clone()) } else { Platform::wanted(Some(&text)) }
    }
}

impl Stage<'_, '_> {
    fn from(&mut self, place: Place) -> Result<()> {
        let base = self.compiler.base_name(self.index)?;
        if base != "scratch" {
            self.base(&base, &place)?;
        }
        self.pending.push(place);
        self.state.platform = Some(self.platform.clone());
        for (name, value) in &self.compiler.request.args {
            if is_predefined(name) {
                self.state.proxies.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// Instructions that the base left for those who build on it.
    fn triggers(&mut self) -> Result<()> {
        let texts = std::mem::take(&mut self.state.on_build);
        if texts.is_empty() {
            return Ok(());
        }
        let base = self.compiler.base_name(self.index)?;
        let file = format!("ONBUILD of {base}");
        for step in crate::dockerfile::triggers(&texts, '\\', &file)? {
            self.step(&step).map_err(|error| at(&file, step.line, &step.text, error))?;
        }
        Ok(())
    }

    pub(super) fn expand(&self, word: &str) -> Result<String> {
        expand(word, self.compiler.file.escape, &|name| self.state.lookup(name)).map_err(invalid)
    }

    pub(super) fn expand_all(&self, words: &[String]) -> Result<Vec<String>> {
        words.iter().map(|word| self.expand(word)).collect()
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let place = self.compiler.place(self.index, step.line, &step.text);
        match &step.instruction {
            Instruction::Run(run) => return self.run(place, run),
            Instruction::Copy(copy) => return self.copy(place, copy),
            Instruction::Workdir(path) => return self.workdir(place, path),
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    self.arg(name, default.as_deref())?;
                }
            }
            other => self.configure(other)?,
        }
        self.state.record(&step.text, None);
        self.pending.push(place);
        Ok(())
    }

    /// Instructions that only say something about the image.
    fn configure(&mut self, instruction: &Instruction) -> Result<()> {
        match instruction {
            Instruction::Env(pairs) => {
                // All values see the environment before the instruction.
                let expanded: Result<Vec<_>> =
                    pairs.iter().map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?))).collect();
                expanded?.iter().for_each(|(key, value)| self.state.set_env(key, value));
            }
            Instruction::Label(pairs) => {
                for (key, value) in pairs {
                    let (key, value) = (self.expand(key)?, self.expand(value)?);
                    self.state.labels.insert(key, value);
                }
            }
            Instruction::User(user) => self.state.user = self.expand(user)?,
            Instruction::Expose(words) => {
                for word in words {
                    let words =
                        expand_words(word, self.compiler.file.escape, &|name| self.state.lookup(name));
                    for word in words.map_err(invalid)? {
                        self.state.exposed.extend(exposed_ports(&word).map_err(invalid)?);
                    }
                }
            }
            Instruction::Volume(words) => {
                let words = self.expand_all(words)?;
                self.state.volumes.extend(words);
            }
            Instruction::StopSignal(signal) => {
                let signal = self.expand(signal)?;
                check_signal(&signal).map_err(invalid)?;
                self.state.stop_signal = Some(signal);
            }
            Instruction::Cmd(command) => self.state.set_cmd(command.words(&self.state.shell)),
            Instruction::Entrypoint(command) => self.state.set_entrypoint(command.words(&self.state.shell)),
            Instruction::Shell(words) => self.state.set_shell(words.clone()),
            Instruction::Maintainer(name) => self.state.author = Some(name.clone()),
            Instruction::Healthcheck(check) => self.state.healthcheck = Some(check.clone()),
            Instruction::Onbuild(text) => self.state.on_build.push(text.clone()),
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Workdir(_) | Instruction::Arg(_) => {}
        }
        Ok(())
    }

    /// The value from the request, else the default, else the one from before the first FROM.
    fn arg(&mut self, name: &str, default: Option<&str>) -> Result<()> {
        let value = match (self.compiler.request.args.get(name), default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(self.expand(default)?),
            (None, None) => self.compiler.globals.get(name).cloned(),
        };
        if let Some(value) = value {
            self.state.set_arg(name, value);
        }
        Ok(())
    }

    fn workdir(&mut self, place: Place, path: &str) -> Result<()> {
        self.state.workdir = self.state.absolute(&self.expand(path)?);
        if self.state.workdir == "/" {
            self.state.record(&place.text, None);
            self.pending.push(place);
            return Ok(());
        }
        let op = Op::Workdir { path: self.state.workdir.clone(), user: self.state.user.clone() };
        let text = place.text.clone();
        self.node(op, place, &text);
        Ok(())
    }

    /// Adds a node on top of the stage's last and records it in the history as `text`.
    pub(super) fn node(&mut self, op: Op, place: Place, text: &str) -> NodeId {
        let node = Node {
            op,
            parent: self.state.node,
            place,
            before: std::mem::take(&mut self.pending),
            use_cache: self.compiler.uses_cache(self.index),
        };
        let id = self.compiler.graph.push(node);
        self.state.node = Some(id);
        self.state.record(text, Some(id));
        id
    }
}
