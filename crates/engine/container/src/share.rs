//! Namespaces of other containers: who they are of, and whether they can be joined now.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::EngineError;
use crate::files::SandboxFiles;
use crate::oci::Shm;
use crate::sandbox::{Live, SandboxObject};
use crate::{Ipc, NetworkMode, SandboxSpec, Share};
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
    /// Whether the first of them is a user namespace.
    pub(crate) has_user: bool,
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

    /// Rights over a namespace are rights in the user namespace that it belongs to.
    pub(crate) fn check_donors(&self, spec: &SandboxSpec, is_remapped: bool) -> Result<(), EngineError> {
        for id in spec.share.all().filter(|_| is_remapped) {
            if self.container(id)?.sandbox.record.users.is_none() {
                return Err(EngineError::HostUsers { id: id.to_string() });
            }
        }
        Ok(())
    }

    /// The user namespace of those whose namespaces a sandbox joins.
    async fn joined_users(&self, spec: &SandboxSpec) -> Result<Option<OwnedFd>> {
        let mut found: Option<OwnedFd> = None;
        for id in spec.share.all() {
            let (_, live) = self.donor(id, "user")?;
            let other = live.shim.user_namespace(id.as_str()).await?;
            let is_other = |first: &OwnedFd| !is_same(first, &other);
            if found.as_ref().is_some_and(is_other) {
                return Err(EngineError::TwoUserNamespaces.into());
            }
            found = Some(other);
        }
        Ok(found)
    }

    /// The namespaces that a sandbox takes from others.
    pub(crate) async fn joined(&self, sandbox: &SandboxObject) -> Result<Joined> {
        let spec = &sandbox.record.spec;
        let mut joined = Joined::default();
        if sandbox.record.users.is_some() {
            joined.namespaces.extend(self.joined_users(spec).await?);
            joined.has_user = !joined.namespaces.is_empty();
        }
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

fn is_same(one: &OwnedFd, other: &OwnedFd) -> bool {
    let place = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}

impl Share {
    /// Everybody whom it shares with.
    fn all(&self) -> impl Iterator<Item = &ContainerId> {
        [&self.net, &self.ipc, &self.pid].into_iter().flatten()
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
