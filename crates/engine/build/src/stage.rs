//! One stage, instruction by instruction.

use crate::cache::Record;
use crate::copy::{Job as CopyJob, View};
use crate::dockerfile::{Copy, Instruction, Step, expand};
use crate::error::BuildError;
use crate::plan::{Origin, Planned, is_predefined, refuse};
use crate::request::{BuildEvent, StepOutcome};
use crate::run::{self, Job as RunJob};
use crate::shared::Shared;
use crate::state::State;
use hako_error::{Error, Kind, Result};
use hako_image::layer::{DiffOptions, make_directories};
use hako_image::{Layer, Pin, chain_id};
use hako_names::Digest;
use hako_snapshot::Mounts;
use std::fs::{self, File};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Keys of snapshots of builds: what bears one when a builder starts is a leftover.
pub(crate) const KEY_PREFIX: &str = "build-";

/// A stage that is built.
pub(crate) struct Done {
    pub state: State,
    pub key: Digest,
    _pins: Vec<Pin>,
}

/// Where a stage asks for the stages it builds on or copies from.
pub(crate) type Await<'a> = &'a dyn Fn(usize) -> Result<Arc<Done>>;

struct Run<'a> {
    shared: &'a Shared,
    planned: &'a Planned,
    wait: Await<'a>,
    state: State,
    /// A digest over all that the state depends on.
    key: Digest,
    pins: Vec<Pin>,
}

/// Builds one stage; `wait` gives the results of others.
pub(crate) fn build(shared: &Shared, planned: &Planned, wait: Await) -> Result<Done> {
    let mut run = Run {
        shared,
        planned,
        wait,
        state: State::scratch(),
        key: Digest::of(format!("{:?} {:?}", shared.epoch_unix_s, shared.network).as_bytes()),
        pins: Vec::new(),
    };
    let stage = &planned.stage;
    run.told(planned.first_step, &stage.text, |run| {
        run.from()
            .map(|()| StepOutcome::Done)
            .map_err(|error| at(&shared.file, stage.line, &stage.text, error))
    })?;
    for (index, step) in stage.steps.iter().enumerate() {
        shared.cancel.check()?;
        run.told(planned.first_step + 1 + index, &step.text, |run| {
            run.step(index, step).map_err(|error| at(&shared.file, step.line, &step.text, error))
        })?;
    }
    Ok(Done { state: run.state, key: run.key, _pins: run.pins })
}

/// Says where in the file an error happened, unless it says so itself.
fn at(file: &str, line: usize, text: &str, error: Error) -> Error {
    let place = format!("{file}:{line}");
    if error.to_string().starts_with(&place) || error.kind() == Kind::Cancelled {
        return error;
    }
    let mut located = Error::new(error.kind(), format!("{place}: {}\n  {line} | {text}", error.chain()));
    if !error.causes().is_empty() {
        located = located.with_causes(error.causes().to_vec());
    }
    located
}

impl Run<'_> {
    /// Carries out a step with the events around it.
    fn told(
        &mut self,
        number: usize,
        text: &str,
        step: impl FnOnce(&mut Self) -> Result<StepOutcome>,
    ) -> Result<()> {
        let (began, stage) = (Instant::now(), self.planned.name());
        let _ =
            self.shared.events.send(BuildEvent::StepStarted { step: number, stage, text: text.to_owned() });
        let result = step(self);
        let outcome = *result.as_ref().unwrap_or(&StepOutcome::Failed);
        let _ =
            self.shared.events.send(BuildEvent::StepEnded { step: number, outcome, took: began.elapsed() });
        result.map(drop)
    }

    fn from(&mut self) -> Result<()> {
        match &self.planned.base {
            Origin::Scratch => self.mix("scratch"),
            Origin::Stage(index) => {
                let done = (self.wait)(*index)?;
                self.state = done.state.inherited();
                self.mix(&done.key.to_string());
            }
            Origin::Image(name) => {
                let image = self.shared.images.resolve(name)?;
                self.state = State::of(&image);
                self.mix(&image.id.to_string());
                self.pin();
            }
        }
        for (name, value) in &self.shared.args {
            if is_predefined(name) {
                self.state.args.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// Makes the key depend on something more.
    fn mix(&mut self, text: &str) {
        self.key = Digest::of(format!("{}\n{text}", self.key).as_bytes());
    }

    fn pin(&mut self) {
        if let Some(chain) = chain_id(self.state.layers.iter().map(|layer| layer.diff_id)) {
            self.pins.push(self.shared.images.pin(&chain.hex()));
        }
    }

    fn expand(&self, word: &str) -> Result<String> {
        expand(word, self.shared.escape, &|name| self.state.lookup(name))
            .map_err(|message| Error::new(Kind::Invalid, message))
    }

    fn expand_all(&self, words: &[String]) -> Result<Vec<String>> {
        words.iter().map(|word| self.expand(word)).collect()
    }

    fn step(&mut self, index: usize, step: &Step) -> Result<StepOutcome> {
        match &step.instruction {
            Instruction::Run(run) => return self.run(step, run.program.words(&self.state.shell)),
            Instruction::Copy(copy) => return self.copy(index, step, copy),
            Instruction::Workdir(path) => return self.workdir(step, path),
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    self.arg(name, default.as_deref())?;
                }
            }
            other => self.configure(other)?,
        }
        let described = format!("{:?}", step.instruction);
        self.mix(&described);
        self.state.record(&step.text, None, None);
        Ok(StepOutcome::Done)
    }

    /// Instructions that only say something about the image.
    fn configure(&mut self, instruction: &Instruction) -> Result<()> {
        match instruction {
            Instruction::Env(pairs) => {
                // All values see the environment before the instruction.
                let expanded: Result<Vec<_>> =
                    pairs.iter().map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?))).collect();
                for (key, value) in expanded? {
                    self.mix(&format!("{key}={value}"));
                    self.state.set_env(&key, &value);
                }
            }
            Instruction::Label(pairs) => {
                for (key, value) in pairs {
                    let (key, value) = (self.expand(key)?, self.expand(value)?);
                    self.state.labels.insert(key, value);
                }
            }
            Instruction::User(user) => {
                self.state.user = self.expand(user)?;
                self.mix(&self.state.user.clone());
            }
            Instruction::Expose(words) => {
                for word in self.expand_all(words)? {
                    self.state.exposed.extend(ports(&word)?);
                }
            }
            Instruction::Volume(words) => {
                let words = self.expand_all(words)?;
                self.state.volumes.extend(words);
            }
            Instruction::StopSignal(signal) => self.state.stop_signal = Some(self.expand(signal)?),
            Instruction::Cmd(command) => self.state.set_cmd(command.words(&self.state.shell)),
            Instruction::Entrypoint(command) => self.state.set_entrypoint(command.words(&self.state.shell)),
            Instruction::Shell(words) => self.state.set_shell(words.clone()),
            Instruction::Maintainer(name) => self.state.author = Some(name.clone()),
            Instruction::Healthcheck(check) => self.state.healthcheck = Some(check.clone()),
            Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Workdir(_)
            | Instruction::Arg(_)
            | Instruction::Onbuild(_) => {}
        }
        Ok(())
    }

    /// The value from the request, else the default, else the one from before the first FROM.
    fn arg(&mut self, name: &str, default: Option<&str>) -> Result<()> {
        let value = match (self.shared.args.get(name), default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(self.expand(default)?),
            (None, None) => self.shared.globals.get(name).cloned(),
        };
        if let Some(value) = value {
            self.mix(&format!("{name}={value}"));
            self.state.args.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn run(&mut self, step: &Step, words: Vec<String>) -> Result<StepOutcome> {
        self.mix(&format!("RUN {words:?}"));
        let number = self.planned.first_step + 1 + self.index_of(step);
        let (shared, state) = (self.shared, self.state.clone());
        let text = format!("RUN {}", words.join(" "));
        self.layer(&text, |mounts, key| {
            let cgroup = format!("{}/{key}", shared.cgroup);
            let job = RunJob { words, state: &state, mounts, key, cgroup, step: number };
            let ended = run::run(shared, &job)?;
            if ended.exit.code == 0 {
                return Ok(());
            }
            let note = if ended.exit.oom_killed { ", killed for lack of memory" } else { "" };
            Err(BuildError::Run {
                place: format!("{}:{}", shared.file, step.line),
                line: step.line,
                code: ended.exit.code,
                note,
                text: step.text.clone(),
                output: ended.tail.trim_end().to_owned(),
            }
            .into())
        })
    }

    fn index_of(&self, step: &Step) -> usize {
        self.planned.stage.steps.iter().position(|other| std::ptr::eq(other, step)).unwrap_or(0)
    }

    fn copy(&mut self, index: usize, step: &Step, copy: &Copy) -> Result<StepOutcome> {
        let copy = Copy {
            sources: self.expand_all(&copy.sources)?,
            destination: self.expand(&copy.destination)?,
            chown: copy.chown.as_deref().map(|text| self.expand(text)).transpose()?,
            chmod: copy.chmod.as_deref().map(|text| self.expand(text)).transpose()?,
            ..copy.clone()
        };
        let layers = match self.planned.sources.get(&index) {
            None => None,
            Some(Origin::Scratch) => Some(Vec::new()),
            Some(Origin::Stage(index)) => Some((self.wait)(*index)?.state.layers.clone()),
            Some(Origin::Image(name)) => Some(self.shared.images.resolve(name)?.layers),
        };
        let view = layers.map(|layers| View::open(self.shared, &layers)).transpose()?;
        let source = view.as_ref().map_or(&self.shared.context, |view| &view.source);
        let job = CopyJob::find(copy, source)?;
        self.mix(&format!("{:?} {}", job.copy, job.digest));
        let (shared, state) = (self.shared, self.state.clone());
        self.layer(&step.text, |mounts, _| job.carry_out(shared, &state, mounts))
    }

    fn workdir(&mut self, step: &Step, path: &str) -> Result<StepOutcome> {
        self.state.workdir = self.state.absolute(&self.expand(path)?);
        let (shared, state) = (self.shared, self.state.clone());
        self.mix(&format!("WORKDIR {}", state.workdir));
        self.layer(&step.text, |mounts, _| {
            let tree = shared.images.snapshots().mounted(mounts)?;
            let root = File::open(tree.path()).map_err(BuildError::io("open the root of", "a step"))?;
            let owner = crate::users::resolve(&root, &state.user)
                .map_err(|message| refuse(&shared.file, step.line, &step.text, message))?;
            make_directories(&root, state.workdir.as_bytes(), Some((owner.uid, owner.gid)))
                .map_err(BuildError::io("make the directory", &state.workdir))?;
            Ok(())
        })
    }

    /// A step that may change files: its result comes from the cache, or `make` writes into a fresh snapshot.
    fn layer(&mut self, text: &str, make: impl FnOnce(&Mounts, &str) -> Result<()>) -> Result<StepOutcome> {
        if !self.shared.no_cache
            && let Some(record) = self.shared.cache.get(self.key)
        {
            if let Some(layer) = &record.layer {
                self.shared.lease.protect(layer.digest)?;
            }
            self.state.record(text, record.layer, Some(record.created));
            self.pin();
            return Ok(StepOutcome::Cached);
        }
        let _permit = self.shared.permits.acquire();
        self.shared.cancel.check()?;
        let images = &self.shared.images;
        let parent = images.unpack_layers(&self.state.layers)?;
        let key = fresh_key();
        let mounts = images.snapshots().prepare(&key, parent.as_deref())?;
        let made = make(&mounts, &key).and_then(|()| self.seal(&mounts, &key, text));
        if images.snapshots().stat(&key).is_ok() {
            // Failed, or nothing changed.
            images.snapshots().remove(&key)?;
        }
        let (layer, snapshot) = made?;
        let created = self.now();
        self.shared
            .cache
            .put(self.key, &Record { layer: layer.clone(), snapshot, created: created.clone() })?;
        self.state.record(text, layer, Some(created));
        Ok(StepOutcome::Done)
    }

    /// Turns what a step changed into a layer and the snapshot above it.
    fn seal(&mut self, mounts: &Mounts, key: &str, text: &str) -> Result<(Option<Layer>, Option<String>)> {
        let is_empty = mounts
            .upper
            .as_ref()
            .is_none_or(|upper| fs::read_dir(upper).is_ok_and(|mut entries| entries.next().is_none()));
        if is_empty {
            return Ok((None, None));
        }
        let options = DiffOptions { newest_unix_s: self.shared.epoch_unix_s };
        let layer = self.shared.images.write_layer(mounts, &options, text, &self.shared.lease)?;
        let all = self.state.layers.iter().chain([&layer]).map(|layer| layer.diff_id);
        let chain = chain_id(all).map(|id| id.hex()).unwrap_or_default();
        self.pins.push(self.shared.images.pin(&chain));
        self.shared.images.adopt_snapshot(&chain, key)?;
        Ok((Some(layer), Some(chain)))
    }

    fn now(&self) -> String {
        let epoch = self.shared.epoch_unix_s.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        epoch.unwrap_or_else(jiff::Timestamp::now).to_string()
    }
}

/// A snapshot key that no other step has.
pub(crate) fn fresh_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{KEY_PREFIX}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `80`, `80/udp` or `8000-8010/tcp` as the configuration lists them.
fn ports(word: &str) -> Result<Vec<String>> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let malformed = || {
        Error::new(Kind::Invalid, format!("EXPOSE {word}: expected a port such as 80, 80/udp or 8000-8010"))
    };
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| malformed())?, last.parse().map_err(|_| malformed())?);
    let protocol = protocol.to_ascii_lowercase();
    if first > last || first == 0 || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(malformed());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}
