//! The engine's records on disk, and what a crash leaves.
//!
//! ```text
//! <data>/sandboxes/<id>/sandbox.json      what was asked for; written once, first
//!                       state.json        is it up (see SandboxState); replaced by rename
//!                       hosts hostname resolv.conf
//!                       shim/             the shim's own: exits while nobody listened
//! <data>/containers/<id>/anonymous.json   volumes made for it alone; written before they are
//!                        container.json   what was asked for and resolved; written once, last step of create
//!                        state.json       name, run state, limits; replaced by rename
//!                        log/container.log[.N]
//! <data>/trash/{c,v,s}-<id>               removed, not yet deleted: the rename into here is the removal; `v` is a
//!                                         container whose anonymous volumes go with it
//! <data>/volumes/<name>/{volume.json,_data}
//! <data>/base/                            what every standalone container has below its image
//! <run>/s/<short id>.sock                 the shim's socket; its name follows from the id
//! ```
//!
//! | killed while | on disk and alive | the next open |
//! |---|---|---|
//! | creating a container | a snapshot, perhaps a directory without container.json, and volumes that anonymous.json names | removes all |
//! | creating a standalone one | also a sandbox that no container names | removes it |
//! | bringing a sandbox up | perhaps a shim, an address; state.json is not `ready` | ends the shim, frees the address; removes the sandbox unless standalone |
//! | starting | shim alive; the record says created or exited, the shim says more | believes the shim: running is adopted, created is deleted |
//! | running | shim alive | connects; exits meanwhile come from the shim |
//! | exiting | shim alive, container stopped in it | records the exit, goes on with restart, removal, taking down |
//! | taking a sandbox down | state.json says `stopped`, shim or address perhaps left | ends the shim, frees the address |
//! | removing | the directory lies in trash | deletes snapshot, volumes, shim, address, cgroup by the id in its name |
//! | running hooks that follow a container's end | its bundle is in `shim/` | runs them again |
//! | the shim dies itself | nothing alive | exit from the shim's exit file, else 137 with a reason |
//!
//! Nothing is fsynced here: after a power cut no container lives, and an unreadable record is removed like a
//! half-made one. Renames keep a kill -9 of the daemon from ever showing a torn record.

use crate::error::{EngineError, io};
use crate::{ContainerSpec, ContainerState, Resolved, Resources, RestartPolicy, SandboxSpec};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `sandbox.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) spec: Arc<SandboxSpec>,
    pub(crate) created_at: Timestamp,
    pub(crate) standalone: bool,
    pub(crate) hostname: String,
    /// The ids of its user namespace, for as long as it is there; `None` where that is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<hako_runtime::IdMap>,
}

/// A sandbox's `state.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SandboxPhase {
    /// Never up, or on its way up.
    Prepared,
    /// Up: shim, namespaces and address belong to it.
    Ready,
    /// Down, or on its way down.
    Stopped,
}

/// `container.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) sandbox: crate::SandboxId,
    pub(crate) spec: Arc<ContainerSpec>,
    pub(crate) resolved: Arc<Resolved>,
    pub(crate) created_at: Timestamp,
    /// Volumes that go with the container.
    pub(crate) anonymous_volumes: Vec<String>,
}

/// A container's `state.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerStatus {
    pub(crate) name: String,
    pub(crate) state: ContainerState,
    pub(crate) restart_count: u32,
    /// When the run before this one ended.
    #[serde(default)]
    pub(crate) ended_at: Option<Timestamp>,
    /// A caller stopped it: `unless-stopped` does not start it again.
    pub(crate) stopped_by_caller: bool,
    /// Its processes stand still.
    #[serde(default)]
    pub(crate) paused: bool,
    /// Limits as last updated.
    pub(crate) resources: Resources,
    /// The restart policy as last updated; what was asked for at first when `None`.
    #[serde(default)]
    pub(crate) restart: Option<RestartPolicy>,
}

impl ContainerStatus {
    /// It runs from now on.
    pub(crate) fn run(&mut self, pid: u32) {
        self.ended_at = self.ended_at();
        self.state = ContainerState::Running { pid, started_at: Timestamp::now() };
    }

    /// When its last run that is over ended.
    pub(crate) fn ended_at(&self) -> Option<Timestamp> {
        let last = self.state.exit().filter(|exit| exit.started_at.is_some());
        last.map(|exit| exit.finished_at).or(self.ended_at)
    }
}

/// The names of the volumes that a container being made gets for itself.
pub(crate) const ANONYMOUS: &str = "anonymous.json";

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
}

impl Layout {
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.data.join("sandboxes")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.data.join("trash")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// The lowest layer of standalone containers.
    pub(crate) fn base(&self) -> PathBuf {
        self.data.join("base")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.run.join("s")
    }

    /// A unix socket's path is bounded to 107 bytes, hence the short id.
    pub(crate) fn socket(&self, sandbox: &crate::SandboxId) -> PathBuf {
        self.sockets().join(format!("{}.sock", sandbox.short()))
    }

    pub(crate) fn make(&self) -> Result<(), EngineError> {
        for dir in [self.sandboxes(), self.containers(), self.trash(), self.volumes(), self.sockets()] {
            std::fs::create_dir_all(&dir).map_err(io("make directory", dir))?;
        }
        crate::base::make(&self.base())
    }
}

/// Reads a record; `None` when it is not there.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EngineError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| EngineError::Record { path: path.to_owned(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// Replaces a record in one step.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), EngineError> {
    let bytes =
        serde_json::to_vec(record).map_err(|source| EngineError::Record { path: path.to_owned(), source })?;
    let next = path.with_extension("next");
    std::fs::write(&next, bytes).map_err(io("write", &next))?;
    std::fs::rename(&next, path).map_err(io("replace", path))
}

/// The entries of a directory by name.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, EngineError> {
    let entries = std::fs::read_dir(dir).map_err(io("list", dir))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Removes a tree; one that is not there is a success.
pub(crate) fn remove_tree(path: &Path) -> Result<(), EngineError> {
    match hako_snapshot::remove_tree(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}
