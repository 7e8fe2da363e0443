//! What is kept of a container between invocations: `<root>/<id>/state.json` and the pipe its init waits at.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::{OCI_VERSION, internal};
use crate::types::ContainerStatus;

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

/// A container's directory.
#[derive(Clone, Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub fn of(root: &Path, id: &str) -> Self {
        Self(root.join(id))
    }

    /// Makes the directory; it is what makes an id taken.
    pub fn create(root: &Path, id: &str) -> Result<Self> {
        let home = Self::of(root, id);
        fs::create_dir_all(root).map_err(internal(format!("cannot create {}", root.display())))?;
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

    /// Where the container is in its life, and whether its processes are frozen is not told apart.
    pub fn status(&self, record: &Record) -> ContainerStatus {
        match start_time(record.pid) {
            Some(time) if time == record.start_time => match self.pipe().exists() {
                true => ContainerStatus::Created,
                false => ContainerStatus::Running,
            },
            _ => ContainerStatus::Stopped,
        }
    }
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
pub(super) fn oci_state(record: &Record, status: ContainerStatus) -> serde_json::Value {
    let name = match status {
        ContainerStatus::Created => "created",
        ContainerStatus::Running => "running",
        ContainerStatus::Stopped => "stopped",
    };
    serde_json::json!({
        "ociVersion": OCI_VERSION,
        "id": record.id,
        "pid": if status == ContainerStatus::Stopped { 0 } else { record.pid },
        "status": name,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "root",
    })
}

/// A bundle's config.json.
pub(super) fn load_spec(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    let bytes = fs::read(&path).map_err(|error| {
        Error::new(
            Kind::NotFound,
            format!("cannot read {}; --bundle names the directory with config.json", path.display()),
        )
        .with_source(error)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(Kind::Invalid, format!("{} is not a runtime spec", path.display())).with_source(error)
    })
}
