//! What a stage's instructions have said so far: the image's configuration in the making.

use crate::graph::NodeId;
use crate::platform::Platform;
use crate::solve::Results;
use hako_image::{Image, NewImage};
use hako_names::ImageRef;
use hako_oci::image::{
    Arch, ConfigBuilder, History, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, Os,
    RootFsBuilder,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The search path of images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The configuration of a stage between two instructions.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub env: Vec<(String, String)>,
    /// ARG values in use in this stage.
    pub args: BTreeMap<String, String>,
    /// Those whose ARG stands below the ENV of that name.
    newer_args: BTreeSet<String>,
    /// Settings of proxies, which need no ARG.
    pub proxies: BTreeMap<String, String>,
    pub workdir: String,
    pub user: String,
    pub shell: Vec<String>,
    /// The last node of the stage so far.
    pub node: Option<NodeId>,
    pub platform: Option<Platform>,
    /// ONBUILD: for those who build on the image.
    pub on_build: Vec<String>,
    /// When the base was made, then when the last step ran.
    pub created: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: Option<String>,
    pub exposed: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    pub cmd: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub author: Option<String>,
    pub healthcheck: Option<Value>,
    is_cmd_own: bool,
    is_shell_own: bool,
    history: Vec<Past>,
}

/// One line of an image's history.
#[derive(Clone, Debug)]
enum Past {
    /// Of the base.
    Base(Box<History>),
    /// Of this file; its node tells whether it made a layer, and when.
    Own { text: String, node: Option<NodeId> },
}

impl State {
    /// `FROM scratch`.
    pub(crate) fn scratch() -> Self {
        Self {
            workdir: "/".into(),
            shell: vec!["/bin/sh".into(), "-c".into()],
            env: vec![("PATH".into(), DEFAULT_PATH.into())],
            ..Self::default()
        }
    }

    /// `FROM image`.
    pub(crate) fn of(image: &Image, node: Option<NodeId>) -> Self {
        let mut state = Self { node, ..Self::scratch() };
        state.created.clone_from(image.config.created());
        state.author.clone_from(image.config.author());
        let history = image.config.history().clone().unwrap_or_default();
        state.history = history.into_iter().map(|entry| Past::Base(Box::new(entry))).collect();
        let inner = &image.raw_config["config"];
        if let Ok(shell) = serde_json::from_value::<Vec<String>>(inner["Shell"].clone())
            && !shell.is_empty()
        {
            (state.shell, state.is_shell_own) = (shell, true);
        }
        state.on_build = serde_json::from_value(inner["OnBuild"].clone()).unwrap_or_default();
        state.healthcheck = inner.get("Healthcheck").filter(|check| !check.is_null()).cloned();
        let Some(config) = image.config.config() else {
            return state;
        };
        for pair in config.env().iter().flatten() {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            state.set_env(key, value);
        }
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        state.user = or_empty(config.user());
        state.workdir =
            Some(or_empty(config.working_dir())).filter(|dir| !dir.is_empty()).unwrap_or("/".into());
        state.labels.extend(config.labels().clone().unwrap_or_default());
        state.exposed.extend(config.exposed_ports().clone().unwrap_or_default());
        state.volumes.extend(config.volumes().clone().unwrap_or_default());
        state.cmd.clone_from(config.cmd());
        state.entrypoint.clone_from(config.entrypoint());
        state.stop_signal.clone_from(config.stop_signal());
        state
    }

    /// What another stage builds on: with nothing counted as its own, and with the environment of the image.
    pub(crate) fn inherited(&self) -> Self {
        Self { is_cmd_own: false, newer_args: BTreeSet::new(), ..self.clone() }
    }

    pub(crate) fn set_env(&mut self, key: &str, value: &str) {
        self.newer_args.remove(key);
        match self.env.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.env.push((key.to_owned(), value.to_owned())),
        }
    }

    pub(crate) fn set_arg(&mut self, key: &str, value: String) {
        if self.env.iter().any(|(known, _)| known == key) {
            self.newer_args.insert(key.to_owned());
        }
        self.args.insert(key.to_owned(), value);
    }

    /// A variable as instructions see it: of an ENV and an ARG of that name the one below counts, as in BuildKit.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        if self.newer_args.contains(name) {
            return self.args.get(name).cloned();
        }
        let env = self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        env.or_else(|| self.args.get(name).cloned()).or_else(|| self.proxies.get(name).cloned())
    }

    /// The environment of a RUN: that of the image, and ARG values.
    pub(crate) fn run_env(&self) -> Vec<String> {
        let is_env = |name: &String| self.env.iter().any(|(known, _)| known == name);
        let env = self.env.iter().map(|(key, value)| match self.args.get(key) {
            Some(newer) if self.newer_args.contains(key) => (key, newer),
            _ => (key, value),
        });
        let args = self.args.iter().filter(|(key, _)| !is_env(key));
        env.chain(args).map(|(key, value)| format!("{key}={value}")).collect()
    }

    pub(crate) fn set_shell(&mut self, shell: Vec<String>) {
        (self.shell, self.is_shell_own) = (shell, true);
    }

    pub(crate) fn set_cmd(&mut self, words: Vec<String>) {
        (self.cmd, self.is_cmd_own) = (Some(words), true);
    }

    /// ENTRYPOINT makes the base's CMD meaningless; a CMD of the same stage stays.
    pub(crate) fn set_entrypoint(&mut self, words: Vec<String>) {
        self.entrypoint = Some(words);
        if !self.is_cmd_own {
            self.cmd = None;
        }
    }

    /// `path` as WORKDIR and COPY see it: relative ones start at the working directory.
    pub(crate) fn absolute(&self, path: &str) -> String {
        crate::files::absolute(&self.workdir, path)
    }

    /// Records an instruction in the image's history, with its node if it may have changed files.
    pub(crate) fn record(&mut self, text: &str, node: Option<NodeId>) {
        self.history.push(Past::Own { text: text.to_owned(), node });
    }

    /// The image that the stage has become. Its time is when its last step ran, as the cache remembers it, so
    /// that a build that changed nothing gives the image that is there; `SOURCE_DATE_EPOCH` is every time's end.
    pub(crate) fn into_image(
        mut self,
        results: &Results,
        labels: &BTreeMap<String, String>,
        names: Vec<ImageRef>,
    ) -> hako_error::Result<NewImage> {
        let history = self.settle_history(results);
        let layers = results.below(self.node)?;
        let config = self.configuration(labels, history).map_err(|error| {
            hako_error::Error::new(hako_error::Kind::Internal, "the image's configuration is incomplete")
                .with_source(error)
        })?;
        let mut extra_config = serde_json::Map::new();
        if self.is_shell_own {
            extra_config.insert("Shell".into(), self.shell.into());
        }
        if let Some(check) = self.healthcheck {
            extra_config.insert("Healthcheck".into(), check);
        }
        if !self.on_build.is_empty() {
            extra_config.insert("OnBuild".into(), self.on_build.into());
        }
        Ok(NewImage { config, extra_config, layers, names, ..NewImage::default() })
    }

    fn settle_history(&mut self, results: &Results) -> Vec<History> {
        let mut history = Vec::new();
        for past in std::mem::take(&mut self.history) {
            let (text, node) = match past {
                Past::Base(entry) => {
                    history.push(*entry);
                    continue;
                }
                Past::Own { text, node } => (text, node),
            };
            let done = node.and_then(|node| results.known(node));
            if let Some(created) = done.and_then(|done| done.created.clone()) {
                self.created = Some(created);
            }
            let mut entry = HistoryBuilder::default().created_by(text);
            if let Some(created) = &self.created {
                entry = entry.created(created.clone());
            }
            if done.is_none_or(|done| done.own.is_none()) {
                entry = entry.empty_layer(true);
            }
            history.extend(entry.build().ok());
        }
        history
    }

    fn configuration(
        &self,
        labels: &BTreeMap<String, String>,
        history: Vec<History>,
    ) -> Result<ImageConfiguration, Box<dyn std::error::Error + Send + Sync>> {
        let env: Vec<String> = self.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut inner = ConfigBuilder::default().env(env).working_dir(self.workdir.clone());
        if !self.user.is_empty() {
            inner = inner.user(self.user.clone());
        }
        let all: BTreeMap<_, _> = self.labels.iter().chain(labels).collect();
        if !all.is_empty() {
            let all: std::collections::HashMap<String, String> =
                all.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            inner = inner.labels(all);
        }
        if !self.exposed.is_empty() {
            inner = inner.exposed_ports(self.exposed.iter().cloned().collect::<Vec<_>>());
        }
        if !self.volumes.is_empty() {
            inner = inner.volumes(self.volumes.iter().cloned().collect::<Vec<_>>());
        }
        if let Some(cmd) = &self.cmd {
            inner = inner.cmd(cmd.clone());
        }
        if let Some(entrypoint) = &self.entrypoint {
            inner = inner.entrypoint(entrypoint.clone());
        }
        if let Some(signal) = &self.stop_signal {
            inner = inner.stop_signal(signal.clone());
        }
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(Vec::<String>::new()).build()?;
        let platform = self.platform.clone().unwrap_or_else(Platform::own);
        let mut config = ImageConfigurationBuilder::default()
            .architecture(Arch::from(platform.architecture.as_str()))
            .os(Os::from(platform.os.as_str()))
            .config(inner.build()?)
            .rootfs(rootfs)
            .history(history);
        if let Some(variant) = &platform.variant {
            config = config.variant(variant.clone());
        }
        if let Some(created) = &self.created {
            config = config.created(created.clone());
        }
        if let Some(author) = &self.author {
            config = config.author(author.clone());
        }
        Ok(config.build()?)
    }
}
