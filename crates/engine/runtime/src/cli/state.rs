//! What is kept of a container between invocations: `<root>/<id>/state.json` and the pipe its init waits at.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::{OCI_VERSION, internal};
use crate::prepare::cgroup_root;

/// The record of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub id: String,
    pub pid: u32,
    /// The init's start time in ticks since boot: with the pid it names the process for good.
    pub start_time: u64,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub cgroup: String,
    pub created: String,
    #[serde(default)]
    pub annotations: HashMap<String, String>,
}

/// Where a container is in its life, as the OCI and runc name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Being set up; only hooks see it.
    Creating,
    /// Set up and waiting for `start`.
    Created,
    Running,
    /// Running, and its processes are frozen.
    Paused,
    Stopped,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// Whether its program runs, be it frozen.
    pub fn has_started(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What is known of a container while it is made, for whoever finds that its maker was killed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// Who makes it: pid and start time.
    pub maker: (u32, u64),
    pub cgroup: String,
    /// Its init, once there is one.
    pub init: Option<(u32, u64)>,
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub fn of(root: &Path, id: &str) -> Self {
        Self(root.join(id))
    }

    /// Makes the directory; it is what makes an id taken. What a maker that was killed left under that id goes first.
    pub fn create(root: &Path, id: &str) -> Result<Self> {
        let home = Self::of(root, id);
        fs::create_dir_all(root).map_err(internal(format!("cannot create {}", root.display())))?;
        if home.is_abandoned() {
            home.clear()?;
        }
        match fs::create_dir(&home.0) {
            Ok(()) => Ok(home),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::new(
                Kind::AlreadyExists,
                format!("container {id} exists already; delete it first"),
            )),
            Err(error) => Err(internal(format!("cannot create {}", home.0.display()))(error)),
        }
    }

    pub fn pipe(&self) -> PathBuf {
        self.0.join("start")
    }

    /// Whether its maker was killed before there was a state.
    pub fn is_abandoned(&self) -> bool {
        if !self.exists() || self.0.join("state.json").exists() {
            return false;
        }
        // Without a note it was killed between its first two steps, or has just begun.
        let Some(unfinished) = self.unfinished() else { return self.is_old() };
        let (pid, time) = unfinished.maker;
        start_time(pid) != Some(time)
    }

    /// Whether the directory is older than the step between it and its note takes.
    fn is_old(&self) -> bool {
        let age = fs::metadata(&self.0).and_then(|found| found.modified()).map(|at| at.elapsed());
        age.is_ok_and(|age| age.is_ok_and(|age| age > std::time::Duration::from_secs(10)))
    }

    fn unfinished(&self) -> Option<Unfinished> {
        serde_json::from_slice(&fs::read(self.0.join("unfinished.json")).ok()?).ok()
    }

    /// Notes how far making it came.
    pub fn note(&self, unfinished: &Unfinished) -> Result<()> {
        let (path, whole) = (self.0.join("unfinished.json"), self.0.join("unfinished.new"));
        let bytes = serde_json::to_vec(unfinished)
            .map_err(|error| Error::new(Kind::Internal, "cannot encode a note").with_source(error))?;
        let write = || fs::write(&whole, bytes).and_then(|()| fs::rename(&whole, &path));
        write().map_err(internal(format!("cannot write {}", path.display())))
    }

    /// Removes what a maker that was killed left: init, group, directory.
    pub fn clear(&self) -> Result<()> {
        if let Some(unfinished) = self.unfinished() {
            if let Some((pid, time)) = unfinished.init {
                super::commands::kill_and_wait(pid, time)?;
            }
            if !unfinished.cgroup.is_empty() {
                crate::prepare::remove_group(&unfinished.cgroup)?;
            }
        }
        self.remove()
    }

    pub fn load(&self) -> Result<Record> {
        let path = self.0.join("state.json");
        let id = self.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::new(Kind::DataLoss, format!("{} is damaged", path.display())).with_source(error)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::NotFound, format!("container {id} does not exist")))
            }
            Err(error) => Err(internal(format!("cannot read {}", path.display()))(error)),
        }
    }

    pub fn save(&self, record: &Record) -> Result<()> {
        let (path, whole) = (self.0.join("state.json"), self.0.join("state.new"));
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Error::new(Kind::Internal, "cannot encode a state").with_source(error))?;
        let write = || fs::write(&whole, bytes).and_then(|()| fs::rename(&whole, &path));
        write().map_err(internal(format!("cannot write {}", path.display())))
    }

    pub fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.0).map_err(internal(format!("cannot remove {}", self.0.display())))
    }

    pub fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Where the container is in its life.
    pub fn phase(&self, record: &Record) -> Phase {
        match start_time(record.pid) {
            Some(time) if time == record.start_time => match self.pipe().exists() {
                _ if is_frozen(&record.cgroup) => Phase::Paused,
                true => Phase::Created,
                false => Phase::Running,
            },
            _ => Phase::Stopped,
        }
    }
}

/// A group that cannot be looked at is taken for running: its processes are.
fn is_frozen(cgroup: &str) -> bool {
    let group = cgroup_root().and_then(|root| Ok(root.open(cgroup)?));
    group.is_ok_and(|group| group.is_frozen().unwrap_or(false))
}

/// A process's start time; `None` when it has ended, be it reaped or not.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The state as the OCI has it, for `state` and for hooks.
pub(super) fn oci_state(record: &Record, phase: Phase) -> serde_json::Value {
    serde_json::json!({
        "ociVersion": OCI_VERSION,
        "id": record.id,
        "pid": if phase == Phase::Stopped { 0 } else { record.pid },
        "status": phase.name(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "root",
    })
}

/// A bundle's config.json.
pub(super) fn load_spec(bundle: &Path) -> Result<Spec> {
    Ok(load_new_spec(bundle)?.0)
}

/// The same, with the capabilities in it that are none.
pub(super) fn load_new_spec(bundle: &Path) -> Result<(Spec, Vec<String>)> {
    let path = bundle.join("config.json");
    let bytes = fs::read(&path).map_err(|error| {
        Error::new(
            Kind::NotFound,
            format!("cannot read {}; --bundle names the directory with config.json", path.display()),
        )
        .with_source(error)
    })?;
    crate::plan::read(&bytes).map_err(|error| {
        Error::new(Kind::Invalid, format!("{} is not a runtime spec", path.display())).with_source(error)
    })
}
