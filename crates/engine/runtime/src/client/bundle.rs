//! A container's bundle: what hooks are told of it, and which of the host's are still to be run.
//!
//! Owns: running the hooks that belong where the engine is: `prestart`, `createRuntime`, `poststart`, `poststop`.
//! Does not own: those of the container, which its init runs.
//! Invariant: a bundle is there until its `poststop` hooks have ended; one that is found without its container has them
//! before it. An engine that is killed while they run runs them again.

use std::fs;
use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Hook, Hooks, Spec};

use super::internal;
use crate::hooks::{plans, run_all};

/// How directories of bundles end.
const SUFFIX: &str = "bundle";

/// The directory of one container's bundle, if its specification has hooks.
#[derive(Clone, Debug)]
pub(crate) struct Bundle(PathBuf);

impl Bundle {
    pub fn of(state_dir: &Path, id: &str) -> Self {
        Self(state_dir.join(format!("{id}.{SUFFIX}")))
    }

    /// The one in this directory, `<id>.bundle`.
    pub fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What runs before the root is entered. The root is mounted in the container's mount namespace only; `mountpoint` is
    /// where, and its process leads there.
    pub fn before_create(&self, pid: u32, mountpoint: &Path) -> Result<()> {
        self.set_root(
            &Path::new(&format!("/proc/{pid}/root")).join(mountpoint.strip_prefix("/").unwrap_or(mountpoint)),
        )?;
        self.run("prestart", Hooks::prestart, Some(pid), "creating")?;
        self.run("createRuntime", Hooks::create_runtime, Some(pid), "creating")
    }

    /// What runs when the program does.
    pub fn after_start(&self, pid: u32) -> Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        self.set_root(Path::new(&format!("/proc/{pid}/root")))?;
        self.run("poststart", Hooks::poststart, Some(pid), "running")
    }

    /// What runs when nothing of the container is left. It is gone whatever they say, so that their failure is a warning.
    pub fn end(&self) {
        if !self.0.exists() {
            return;
        }
        let hooks = self.hooks(Hooks::poststop).unwrap_or_default();
        for (index, hook) in plans(Some(&hooks)).into_iter().enumerate() {
            let state = self.state(None, "stopped").unwrap_or_default();
            if let Err(error) = run_all("poststop", &[hook], &state) {
                tracing::warn!(bundle = %self.0.display(), index, error, "a hook after a container's end");
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(bundle = %self.0.display(), %error, "remove a bundle");
        }
    }

    fn run(&self, kind: &str, list: List, pid: Option<u32>, status: &str) -> Result<()> {
        let hooks = self.hooks(list)?;
        if hooks.is_empty() {
            return Ok(());
        }
        run_all(kind, &plans(Some(&hooks)), &self.state(pid, status)?)
            .map_err(|text| Error::new(Kind::FailedPrecondition, text))
    }

    fn hooks(&self, list: List) -> Result<Vec<Hook>> {
        let hooks = self.spec()?.hooks().as_ref().and_then(|hooks| list(hooks).clone());
        Ok(hooks.unwrap_or_default())
    }

    /// The state as hooks read it.
    fn state(&self, pid: Option<u32>, status: &str) -> Result<String> {
        let spec = self.spec()?;
        let name = self.0.file_stem().unwrap_or_default().to_string_lossy();
        let mut state = serde_json::json!({
            "ociVersion": spec.version(), "id": name, "status": status, "bundle": self.0,
            "annotations": spec.annotations().clone().unwrap_or_default(),
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        Ok(state.to_string())
    }

    fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    fn spec(&self) -> Result<Spec> {
        let path = self.config();
        let bytes =
            fs::read(&path).map_err(|error| internal(&format!("cannot read {}", path.display()), error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Kind::DataLoss, format!("{} is damaged", path.display())).with_source(error)
        })
    }

    fn set_root(&self, place: &Path) -> Result<()> {
        let mut spec = self.spec()?;
        let mut root = spec.root().clone().unwrap_or_default();
        root.set_path(place.to_owned());
        spec.set_root(Some(root));
        let (path, whole) = (self.config(), self.0.join("config.new"));
        let bytes =
            serde_json::to_vec(&spec).map_err(|error| internal("cannot encode a specification", error))?;
        let write = fs::write(&whole, bytes).and_then(|()| fs::rename(&whole, &path));
        write.map_err(|error| internal(&format!("cannot write {}", path.display()), error))
    }
}

/// One kind of hooks.
type List = fn(&Hooks) -> &Option<Vec<Hook>>;

/// Runs what the containers of a shim that is gone wanted to be run after their end, and forgets them; blocking. Without
/// such containers it does nothing.
pub fn end_bundles(state_dir: &Path) {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries.filter(|path| path.extension().is_some_and(|end| end == SUFFIX)) {
        Bundle(path).end();
    }
}
