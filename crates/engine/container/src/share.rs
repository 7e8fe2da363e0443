//! Namespaces of other containers: who they are of, and whether they can be joined now.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::EngineError;
use crate::files::SandboxFiles;
use crate::oci::Shm;
use crate::sandbox::{Live, SandboxObject};
use crate::{Ipc, NetworkMode, SandboxSpec};
use hako_error::Result;
use hako_names::ContainerId;
use hako_runtime::SharedNamespace;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// What a shim is given of others.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// In the order that the shim expects.
    pub(crate) namespaces: Vec<OwnedFd>,
    /// Where the other's /dev/shm is, in the last of them.
    pub(crate) shared_memory: Option<PathBuf>,
}

impl Core {
    /// A container that runs, for another to join.
    fn donor(
        &self,
        id: &ContainerId,
        what: &'static str,
    ) -> Result<(Arc<ContainerObject>, Live), EngineError> {
        let container = self.container(id)?;
        let live = container.sandbox.live().filter(|_| container.state().is_running());
        let live = live.ok_or_else(|| EngineError::JoinStopped { what, id: id.to_string() })?;
        Ok((container, live))
    }

    /// The namespaces that a sandbox takes from others.
    pub(crate) fn joined(&self, spec: &SandboxSpec) -> Result<Joined> {
        let mut joined = Joined::default();
        if let Some(id) = &spec.share.net {
            let (_, live) = self.donor(id, "network")?;
            joined.namespaces.push(live.shim.namespace(SharedNamespace::Net)?);
        }
        if let Some(id) = &spec.share.ipc {
            let (donor, live) = self.donor(id, "IPC")?;
            if donor.sandbox.record.spec.ipc != Ipc::Shareable {
                return Err(EngineError::NotShareable { id: id.to_string() }.into());
            }
            joined.namespaces.push(live.shim.namespace(SharedNamespace::Ipc)?);
            joined.namespaces.push(live.shim.namespace(SharedNamespace::Mount)?);
            joined.shared_memory = Some(donor.sandbox.shm_dir());
        }
        Ok(joined)
    }

    /// The process namespace that a container takes from another.
    pub(crate) async fn joined_pid(&self, spec: &SandboxSpec) -> Result<Option<Arc<OwnedFd>>> {
        let Some(id) = &spec.share.pid else { return Ok(None) };
        let (_, live) = self.donor(id, "PID")?;
        Ok(Some(Arc::new(live.shim.pid_namespace(id.as_str()).await?)))
    }

    /// The files that say where a sandbox is in its network: those of whom it shares it with.
    pub(crate) fn network_files(&self, sandbox: &SandboxObject) -> Result<SandboxFiles, EngineError> {
        let spec = &sandbox.record.spec;
        match spec.share.net.as_ref().filter(|_| spec.network == NetworkMode::Shared) {
            Some(id) => Ok(self.container(id)?.sandbox.files()),
            None => Ok(sandbox.files()),
        }
    }
}

impl SandboxObject {
    /// What its containers have at /dev/shm.
    pub(crate) fn shm(&self) -> Shm {
        let spec = &self.record.spec;
        match spec.ipc {
            _ if spec.host_ipc => Shm::Bound("/dev/shm".into()),
            _ if spec.share.ipc.is_some() => Shm::Bound(self.shm_dir()),
            Ipc::Shareable => Shm::Bound(self.shm_dir()),
            Ipc::None => Shm::Absent,
            Ipc::Private => Shm::Own,
        }
    }
}
