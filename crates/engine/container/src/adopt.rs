//! Opening: adopting what lives, finishing or undoing what was cut off. See [`crate::record`] for the table.

use crate::container::ContainerObject;
use crate::core::{Core, EngineConfig};
use crate::create::SNAPSHOT_PREFIX;
use crate::error::blocking;
use crate::record::{self, ContainerRecord, ContainerStatus, SandboxPhase, SandboxRecord};
use crate::sandbox::{Live, SandboxObject};
use crate::start::Cause;
use crate::{Engine, Removal, SandboxId};
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use hako_runtime::Shim;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How names in the trash begin that are of sandboxes.
const TRASHED_SANDBOX: &str = "s-";

impl Engine {
    /// Opens the engine's directory and adopts every sandbox that lives. One process owns a directory at a time.
    pub async fn open(config: EngineConfig) -> Result<Self> {
        let core = blocking(move || Ok(Arc::new(Core::new(config)?))).await?;
        let loading = Arc::clone(&core);
        let phases = blocking(move || loading.load()).await?;
        let sandboxes: Vec<Arc<SandboxObject>> = core.sandboxes.read().values().cloned().collect();
        let adoptions = sandboxes.iter().map(|sandbox| {
            let phase = phases.get(&sandbox.id).copied().unwrap_or(SandboxPhase::Prepared);
            core.adopt(sandbox, phase)
        });
        for adopted in futures::future::join_all(adoptions).await {
            adopted?;
        }
        core.sweep().await?;
        core.resume().await;
        Ok(Self { core })
    }
}

/// The shim at a socket, if it lives. That it cannot be asked, for want of descriptors for one, is not its end.
async fn connect(socket: &Path) -> Result<Option<Shim>> {
    match Shim::connect(socket).await {
        Ok(shim) => Ok(Some(shim)),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unavailable) => {
            tracing::debug!(error = %error.chain(), "a shim is gone");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Core {
    /// Reads all records; what is half made or half removed is removed.
    fn load(&self) -> Result<HashMap<SandboxId, SandboxPhase>> {
        let mut phases = HashMap::new();
        for name in record::names(&self.layout.sandboxes())? {
            let dir = self.layout.sandboxes().join(&name);
            let found: Option<SandboxRecord> = readable(&dir.join("sandbox.json"));
            let (Ok(id), Some(found)) = (name.parse::<SandboxId>(), found) else {
                record::remove_tree(&dir)?;
                continue;
            };
            let phase = readable(&dir.join("state.json")).unwrap_or(SandboxPhase::Prepared);
            phases.insert(id.clone(), phase);
            self.know_group_parent(&id, &found.spec);
            self.sandboxes.write().insert(
                id.clone(),
                Arc::new(SandboxObject::new(id, dir, found, self.config.networks.clone())),
            );
        }
        for name in record::names(&self.layout.containers())? {
            match name.parse::<ContainerId>() {
                Ok(id) => self.load_container(id),
                Err(_) => record::remove_tree(&self.layout.containers().join(name))?,
            }
        }
        self.empty_trash()?;
        self.finish_volumes()?;
        self.drop_stray_snapshots()?;
        Ok(phases)
    }

    fn load_container(&self, id: ContainerId) {
        let dir = self.layout.containers().join(id.as_str());
        let found: Option<ContainerRecord> = readable(&dir.join("container.json"));
        let status: Option<ContainerStatus> = readable(&dir.join("state.json"));
        let sandbox = found.as_ref().and_then(|found| self.sandbox(&found.sandbox).ok());
        let (Some(found), Some(status), Some(sandbox)) = (found, status, sandbox) else {
            tracing::info!(container = id.short(), "remove a half-made container");
            let anonymous: Option<Vec<String>> = readable(&dir.join(record::ANONYMOUS));
            return self.unmake(&id, &anonymous.unwrap_or_default());
        };
        if sandbox.record.standalone {
            self.names.lock().insert(status.name.clone(), id.clone());
        }
        let container = ContainerObject::new(id.clone(), sandbox, dir, found, status);
        self.containers.write().insert(id, Arc::new(container));
    }

    fn empty_trash(&self) -> Result<()> {
        for name in record::names(&self.layout.trash())? {
            let dir = self.layout.trash().join(&name);
            if name.starts_with(TRASHED_SANDBOX) {
                // It goes when its shim has, in `sweep`.
                self.know_trashed_group(&name, &dir);
                continue;
            }
            if let Some((mark @ ("c" | "v"), id)) = name.split_once('-')
                && let Ok(id) = id.parse::<ContainerId>()
            {
                let found: Option<ContainerRecord> =
                    readable(&dir.join("container.json")).filter(|_| mark == "v");
                self.unmake(&id, &found.map(|found| found.anonymous_volumes).unwrap_or_default());
            }
            record::remove_tree(&dir)?;
        }
        Ok(())
    }

    /// A removed sandbox's own group may still be there, below one that only its record tells.
    fn know_trashed_group(&self, name: &str, dir: &Path) {
        let id = name.strip_prefix(TRASHED_SANDBOX).and_then(|id| id.parse().ok());
        let found: Option<SandboxRecord> = readable(&dir.join("sandbox.json"));
        if let (Some(id), Some(found)) = (id, found) {
            self.know_group_parent(&id, &found.spec);
        }
    }

    fn drop_stray_snapshots(&self) -> Result<()> {
        let snapshots = self.config.images.snapshots();
        for info in snapshots.list() {
            let Some(id) = info.name.strip_prefix(SNAPSHOT_PREFIX) else {
                continue;
            };
            // Of a container itself, or of an image that it mounts.
            let id = id.split('.').next().unwrap_or(id);
            if id.parse().is_ok_and(|id| self.container(&id).is_ok()) {
                continue;
            }
            snapshots.remove(&info.name)?;
        }
        Ok(())
    }

    /// Brings one sandbox's object and the kernel together.
    async fn adopt(self: &Arc<Self>, sandbox: &Arc<SandboxObject>, phase: SandboxPhase) -> Result<()> {
        let members = self.members(&sandbox.id);
        let socket = self.layout.socket(&sandbox.id);
        let shim = if socket.exists() { connect(&socket).await? } else { None };
        match (phase, shim) {
            (SandboxPhase::Ready, Some(shim)) => self.adopt_live(sandbox, shim, members).await?,
            (SandboxPhase::Ready, None) => {
                tracing::warn!(sandbox = sandbox.id.short(), "the sandbox's shim did not survive");
                self.take_down(sandbox).await;
                for container in members {
                    if container.state().is_running() {
                        self.lost(&container, Cause::Opened).await;
                    }
                }
            }
            (SandboxPhase::Prepared | SandboxPhase::Stopped, Some(shim)) => {
                self.release(&sandbox.id, Some(shim)).await;
                sandbox.set_phase(SandboxPhase::Stopped)?;
            }
            (SandboxPhase::Prepared | SandboxPhase::Stopped, None) => {
                let (core, id) = (Arc::clone(self), sandbox.id.clone());
                blocking(move || {
                    core.end_bundles(&id);
                    Ok(())
                })
                .await?;
            }
        }
        let is_half_made = match sandbox.record.standalone {
            true => self.members(&sandbox.id).is_empty(),
            false => phase == SandboxPhase::Prepared,
        };
        if is_half_made {
            tracing::info!(sandbox = sandbox.id.short(), "remove a half-made sandbox");
            self.remove_sandbox(sandbox).await?;
        }
        Ok(())
    }

    async fn adopt_live(
        self: &Arc<Self>,
        sandbox: &Arc<SandboxObject>,
        shim: Shim,
        members: Vec<Arc<ContainerObject>>,
    ) -> Result<()> {
        let attachment = self.config.network.as_ref().and_then(|network| network.get(sandbox.id.as_str()));
        *sandbox.live.write() = Some(Live { shim: shim.clone(), attachment });
        sandbox.adopt_told();
        crate::monitor::watch(self, sandbox, &shim);
        if let Err(error) = self.start_resolver(sandbox, &shim).await {
            tracing::warn!(sandbox = sandbox.id.short(), error = %error.chain(), "a sandbox finds no names");
        }
        let mut states: HashMap<String, hako_runtime::ContainerState> =
            shim.state().await?.into_iter().map(|state| (state.id.clone(), state)).collect();
        tracing::info!(
            sandbox = sandbox.id.short(),
            pid = shim.pid(),
            containers = states.len(),
            "adopt a sandbox"
        );
        for container in members {
            let state = states.remove(container.id.as_str());
            self.adopt_container(&container, &shim, state).await;
            if container.state().is_running()
                && let Err(error) = self.settle(&container).await
            {
                tracing::warn!(container = container.id.short(), error = %error.chain(), "make a container as recorded");
            }
        }
        for stray in states.into_keys() {
            if let Err(error) = shim.delete(&stray, true).await {
                tracing::warn!(container = stray, error = %error.chain(), "delete a container without a record");
            }
        }
        let is_idle = !self.members(&sandbox.id).iter().any(|container| container.state().is_running());
        if sandbox.record.standalone && is_idle && sandbox.live().is_some() {
            self.take_down(sandbox).await;
        }
        Ok(())
    }

    /// Makes a running container be as its record says: a commit, a pause or an update may have been cut off.
    async fn settle(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let status = container.status.read().clone();
        self.freeze(container, status.paused).await?;
        if status.resources != container.record.spec.resources {
            self.limit(container, status.resources).await?;
        }
        Ok(())
    }

    /// The shim is believed: it saw what happened.
    async fn adopt_container(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        shim: &Shim,
        state: Option<hako_runtime::ContainerState>,
    ) {
        let was_running = container.state().is_running();
        let Some(state) = state else {
            if was_running {
                self.lost(container, Cause::Opened).await;
            }
            return;
        };
        let forget = async {
            if let Err(error) = shim.delete(container.id.as_str(), true).await {
                tracing::warn!(container = container.id.short(), error = %error.chain(), "forget a container");
            }
        };
        match state.status {
            hako_runtime::ContainerStatus::Created => forget.await,
            hako_runtime::ContainerStatus::Running => {
                if !was_running {
                    set_running(container, state.pid);
                }
            }
            hako_runtime::ContainerStatus::Stopped => {
                let Some(exit) = state.exit else {
                    return forget.await;
                };
                let is_known = container.state().exit().is_some_and(|known| known.finished_at == exit.at);
                if is_known {
                    return forget.await;
                }
                if !was_running {
                    set_running(container, state.pid);
                }
                self.on_exit(container, exit, None, Cause::Policy).await;
            }
        }
    }

    /// Removes what belongs to no live sandbox: addresses, shims without a record, groups.
    async fn sweep(self: &Arc<Self>) -> Result<()> {
        let live: Vec<SandboxId> = self
            .sandboxes
            .read()
            .values()
            .filter(|sandbox| sandbox.live().is_some())
            .map(|sandbox| sandbox.id.clone())
            .collect();
        for name in record::names(&self.layout.sockets())? {
            let socket = self.layout.sockets().join(&name);
            if live.iter().any(|id| self.layout.socket(id) == socket) {
                continue;
            }
            if let Some(shim) = connect(&socket).await? {
                shim.shutdown(true).await?;
            }
            let _ = std::fs::remove_file(&socket);
        }
        let core = Arc::clone(self);
        blocking(move || {
            let ids: Vec<String> = live.iter().map(ToString::to_string).collect();
            if let Some(network) = &core.config.network {
                network.adopt(&ids)?;
            }
            if let Some(networks) = &core.config.networks {
                networks.adopt(&core.claims(&live), |sandbox| core.namespace(sandbox))?;
                core.settle_endpoints(networks, &live);
            }
            core.sweep_groups(&ids)?;
            core.empty_trash_of_sandboxes()
        })
        .await
    }

    /// Their shims are gone by now, and hooks that follow that may run.
    fn empty_trash_of_sandboxes(&self) -> Result<()> {
        for name in record::names(&self.layout.trash())? {
            match name.strip_prefix(TRASHED_SANDBOX).and_then(|id| id.parse().ok()) {
                Some(id) => self.discard_trash(&id)?,
                None => record::remove_tree(&self.layout.trash().join(&name))?,
            }
        }
        Ok(())
    }

    fn sweep_groups(&self, live: &[String]) -> Result<()> {
        let parent = format!("hako-{}", self.config.instance);
        for hierarchy in self.config.cgroups.hierarchies() {
            let dir = hierarchy.mount.join(&parent);
            if !dir.exists() {
                continue;
            }
            for name in record::names(&dir)? {
                if name.parse::<SandboxId>().is_ok() && !live.contains(&name) {
                    self.delete_group(&format!("/{parent}/{name}"))?;
                }
            }
        }
        self.sweep_groups_of_callers(live)
    }

    /// The same for groups below those that sandboxes asked to be below.
    fn sweep_groups_of_callers(&self, live: &[String]) -> Result<()> {
        let asked: Vec<SandboxId> = self.group_parents.read().keys().cloned().collect();
        for id in asked.iter().filter(|id| !live.contains(&id.to_string())) {
            self.delete_group(&self.cgroup(id, None))?;
            self.leave_group_parent(id);
            if self.sandbox(id).is_err() {
                self.group_parents.write().remove(id);
            }
        }
        Ok(())
    }

    /// Goes on with what standalone containers at rest still have to do: be removed, or start again.
    async fn resume(self: &Arc<Self>) {
        let containers: Vec<Arc<ContainerObject>> = self.containers.read().values().cloned().collect();
        for container in containers.into_iter().filter(|container| container.standalone()) {
            let is_exited = container.state().exit().is_some();
            // Also one that was never started: whoever was going to do that has gone.
            if !container.state().is_running() && container.record.spec.auto_remove {
                if let Err(error) =
                    self.remove_container(&container, Removal { force: true, volumes: true }).await
                {
                    tracing::warn!(container = container.id.short(), error = %error.chain(), "remove a container at rest");
                }
            } else if is_exited
                && !container.life.borrow().restarting
                && crate::stop::starts_at_open(&container)
            {
                container.change(|_, life| life.restarting = true);
                Self::restart_later(Arc::downgrade(self), &container, Duration::ZERO, Cause::Opened);
            }
        }
    }
}

fn set_running(container: &ContainerObject, pid: u32) {
    container.change(|status, _| status.run(pid));
}

/// A record that cannot be read counts as one that is not there: it was being written when the power went.
fn readable<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    record::read(path).unwrap_or_else(|error| {
        tracing::warn!(error = %Error::from(error).chain(), "a record cannot be read");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shim_that_cannot_be_asked_is_not_taken_for_one_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(connect(&dir.path().join("missing")).await.unwrap().is_none());
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("left")).unwrap());
        assert!(connect(&dir.path().join("left")).await.unwrap().is_none());
        // No socket has such a name.
        assert!(connect(&dir.path().join("x".repeat(200))).await.is_err());
    }
}
