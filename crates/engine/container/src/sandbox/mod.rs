//! A sandbox: shim, address and files, brought up and taken down.

mod endpoints;
mod network;
mod resolver;
mod shim;

pub(crate) use endpoints::Wanted;
pub(crate) use shim::{check_sysctls, limits};

use crate::core::Core;
use crate::error::{EngineError, blocking, io};
use crate::files::SandboxFiles;
use crate::record::{self, SandboxPhase, SandboxRecord};
use crate::start::Cause;
use crate::{Action, Removal, Sandbox, SandboxId, SandboxState, Subject};
use hako_error::{Error, Result};
use hako_names::ContainerId;
use hako_network::{Attachment, Networks};
use hako_runtime::Shim;
use network::granted;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::task::JoinSet;

/// The directory of a sandbox that is its shim's own.
pub(crate) const SHIM_STATE: &str = "shim";

/// What a sandbox has while it is up.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) shim: Shim,
    pub(crate) attachment: Option<Attachment>,
}

#[derive(Debug)]
pub(crate) struct SandboxObject {
    pub(crate) id: SandboxId,
    pub(crate) dir: PathBuf,
    pub(crate) record: SandboxRecord,
    /// Shared by those who use the sandbox, exclusive for those who bring it up or down.
    /// Taken after a container's own lock, never before.
    pub(crate) op: tokio::sync::RwLock<()>,
    pub(crate) live: RwLock<Option<Live>>,
    /// The networks it is to be connected to, and its ports; changed under `op`.
    pub(crate) wanted: RwLock<Wanted>,
    networks: Option<Arc<Networks>>,
    /// The only container of a standalone one, once there is an object of it.
    pub(crate) container: OnceLock<ContainerId>,
    /// The ids of the networks that it was told to be in, and not yet to have left.
    told: Mutex<Vec<String>>,
    /// Its name server while it is up; ends when dropped.
    resolver: Mutex<Option<JoinSet<()>>>,
    /// Going away: takes no more containers.
    closing: AtomicBool,
}

impl SandboxObject {
    pub(crate) fn new(
        id: SandboxId,
        dir: PathBuf,
        record: SandboxRecord,
        networks: Option<Arc<Networks>>,
    ) -> Self {
        let wanted = RwLock::new(Wanted::of(&dir, &record.spec));
        Self {
            wanted,
            networks,
            container: OnceLock::new(),
            told: Mutex::default(),
            resolver: Mutex::default(),
            id,
            dir,
            record,
            op: tokio::sync::RwLock::default(),
            live: RwLock::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn live(&self) -> Option<Live> {
        self.live.read().clone()
    }

    /// What is up, for a caller that is going to use it.
    pub(crate) fn usable(&self) -> Result<Live, EngineError> {
        let live = self.live().filter(|_| !self.closing.load(Ordering::Acquire));
        live.ok_or_else(|| EngineError::NotReady { id: self.id.short().to_owned() })
    }

    pub(crate) fn files(&self) -> SandboxFiles {
        SandboxFiles::new(&self.dir)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.join(SHIM_STATE)
    }

    /// Where /dev/shm is mounted for others to join, in the shim's own mount namespace.
    pub(crate) fn shm_dir(&self) -> PathBuf {
        self.dir.join("shm")
    }

    pub(crate) fn set_phase(&self, phase: SandboxPhase) -> Result<(), EngineError> {
        record::write(&self.dir.join("state.json"), &phase)
    }

    pub(crate) fn view(&self) -> Sandbox {
        let live = self.live();
        let attachment = live.as_ref().and_then(|live| live.attachment.as_ref());
        let member = self.member().filter(|_| live.is_some()).unwrap_or_default();
        let ports = attachment.map_or(&member.ports, |attachment| &attachment.ports);
        let mut spec = Arc::clone(&self.record.spec);
        if spec.network != self.network_mode() {
            Arc::make_mut(&mut spec).network = self.network_mode();
        }
        Sandbox {
            id: self.id.clone(),
            spec,
            state: if live.is_some() { SandboxState::Ready } else { SandboxState::NotReady },
            ip: attachment.map(|attachment| attachment.ip).or_else(|| endpoints::main_ip(&member)),
            ports: ports.iter().map(granted).collect(),
            places: self.places(&member),
            shim_pid: live.as_ref().map(|live| live.shim.pid()),
            netns: live.as_ref().map(|live| live.shim.netns()),
            created_at: self.record.created_at,
            standalone: self.record.standalone,
        }
    }
}

impl Core {
    /// Writes a new sandbox down. Nothing lives in it yet.
    pub(crate) fn prepare_sandbox(
        &self,
        id: SandboxId,
        record: SandboxRecord,
    ) -> Result<Arc<SandboxObject>, EngineError> {
        let dir = self.layout.sandboxes().join(id.as_str());
        std::fs::create_dir(&dir).map_err(io("make directory", &dir))?;
        hako_sys::failpoint!("container.create.sandbox-directory");
        record::write(&dir.join("sandbox.json"), &record)?;
        hako_sys::failpoint!("container.create.sandbox");
        self.know_group_parent(&id, &record.spec);
        let sandbox = Arc::new(SandboxObject::new(id.clone(), dir, record, self.config.networks.clone()));
        self.sandboxes.write().insert(id, Arc::clone(&sandbox));
        Ok(sandbox)
    }

    pub(crate) fn know_group_parent(&self, id: &SandboxId, spec: &crate::SandboxSpec) {
        if !spec.cgroup_parent.is_empty() {
            let parent = format!("/{}", spec.cgroup_parent.trim_matches('/'));
            self.group_parents.write().insert(id.clone(), parent);
        }
    }

    /// The whole way up, for a sandbox of its own. The caller holds its lock exclusively.
    pub(crate) async fn bring_up(self: &Arc<Self>, sandbox: &Arc<SandboxObject>) -> Result<()> {
        let shim = self.spawn_shim(sandbox, None).await?;
        crate::monitor::watch(self, sandbox, &shim);
        let connected = self.connect(sandbox, &shim, None).await;
        let ready = connected.and_then(|attachment| self.mark_ready(sandbox, shim.clone(), attachment));
        if ready.is_err() {
            self.release(&sandbox.id, Some(shim)).await;
        }
        ready
    }

    /// From here on a crash leaves the sandbox up.
    pub(crate) fn mark_ready(
        self: &Arc<Self>,
        sandbox: &Arc<SandboxObject>,
        shim: Shim,
        attachment: Option<Attachment>,
    ) -> Result<()> {
        sandbox.set_phase(SandboxPhase::Ready)?;
        hako_sys::failpoint!("container.start.ready");
        *sandbox.live.write() = Some(Live { shim, attachment });
        self.sandbox_event(sandbox, Action::Start);
        Ok(())
    }

    /// Ends the shim and whatever runs in it, frees address, ports, group and socket. Works on what a crash left as
    /// well as on what is up; what cannot be undone now is undone by the next open.
    pub(crate) async fn take_down(self: &Arc<Self>, sandbox: &Arc<SandboxObject>) {
        let live = sandbox.live.write().take();
        let was_up = live.is_some();
        if let Err(error) = sandbox.set_phase(SandboxPhase::Stopped) {
            tracing::warn!(sandbox = sandbox.id.short(), error = %Error::from(error).chain(), "record the sandbox's end");
        }
        hako_sys::failpoint!("sandbox.down.recorded");
        let shim = live.map(|live| live.shim);
        self.release(&sandbox.id, shim).await;
        if was_up {
            self.sandbox_event(sandbox, Action::Stop);
        }
    }

    /// Gives back everything of a sandbox that is outside its directory.
    pub(crate) async fn release(self: &Arc<Self>, id: &SandboxId, shim: Option<Shim>) {
        let socket = self.layout.socket(id);
        let end_shim = async {
            let shim = match shim {
                Some(shim) => Some(shim),
                None if socket.exists() => Shim::connect(&socket).await.ok(),
                None => None,
            };
            if let Some(shim) = shim
                && let Err(error) = shim.shutdown(true).await
            {
                tracing::debug!(sandbox = id.short(), error = %error.chain(), "shim did not confirm its end");
            }
        };
        if let Some(sandbox) = self.sandboxes.read().get(id) {
            sandbox.resolver.lock().take();
        }
        let (core, leaver) = (Arc::clone(self), id.clone());
        let detach = blocking(move || core.leave_networks(&leaver));
        let ((), detached) = tokio::join!(end_shim, detach);
        hako_sys::failpoint!("sandbox.down.detached");
        let (core, path) = (Arc::clone(self), self.cgroup(id, None));
        let owner = id.clone();
        let deleted = blocking(move || {
            let deleted = core.delete_group(&path);
            core.leave_group_parent(&owner);
            core.end_bundles(&owner);
            deleted
        })
        .await;
        hako_sys::failpoint!("sandbox.down.group");
        for (what, result) in [("network", detached), ("cgroup", deleted)] {
            if let Err(error) = result {
                tracing::warn!(sandbox = id.short(), what, error = %error.chain(), "not all of a sandbox was given back");
            }
        }
        let _ = std::fs::remove_file(&socket);
    }

    /// Gives a sandbox's addresses, ports and links back; blocking.
    pub(crate) fn leave_networks(&self, id: &SandboxId) -> Result<()> {
        let (network, networks) = (&self.config.network, &self.config.networks);
        let released = networks.as_ref().map_or(Ok(()), |networks| networks.release(id.as_str()));
        network.as_ref().map_or(Ok(()), |network| network.detach(id.as_str())).and(released)
    }

    /// Runs what containers of a sandbox that is down wanted to be run after their end; blocking.
    pub(crate) fn end_bundles(&self, id: &SandboxId) {
        let sandbox = self.sandboxes.read().get(id).cloned();
        if let Some(sandbox) = sandbox {
            hako_runtime::end_bundles(&sandbox.state_dir());
        }
    }

    /// Discards the directory of a sandbox that was removed; blocking.
    pub(crate) fn discard_trash(&self, id: &SandboxId) -> Result<(), EngineError> {
        let trash = self.layout.trash().join(format!("s-{id}"));
        hako_runtime::end_bundles(&trash.join(SHIM_STATE));
        record::remove_tree(&trash)
    }

    /// Removes a group with what a shim that died by itself may have left in it. One that is gone is a success.
    pub(crate) fn delete_group(&self, path: &str) -> Result<()> {
        let delete = || {
            let group = self.config.cgroups.open(path)?;
            if group.delete_empty()? {
                return Ok(());
            }
            group.kill_all()?;
            group.delete()
        };
        match delete().map_err(Error::from) {
            Err(error) if error.is_not_found() => Ok(()),
            deleted => deleted,
        }
    }

    /// Kills the containers, then takes the sandbox down. It takes no containers from now on.
    pub(crate) async fn stop_sandbox(self: &Arc<Self>, sandbox: &Arc<SandboxObject>) -> Result<()> {
        // A standalone container may start again; any other sandbox is over.
        sandbox.closing.store(!sandbox.record.standalone, Ordering::Release);
        let members = self.members(&sandbox.id);
        let kills = members.iter().map(|container| self.kill_and_wait(container));
        let killed: Result<()> = futures::future::join_all(kills).await.into_iter().collect();
        {
            let _exclusive = sandbox.op.write().await;
            if sandbox.live().is_some() {
                self.take_down(sandbox).await;
            }
        }
        let Err(error) = killed else { return Ok(()) };
        // The end of the shim and of the group may have ended what a kill did not; nobody tells of it any more.
        for container in members.iter().filter(|container| container.state().is_running()) {
            self.lost(container, Cause::Policy).await;
        }
        let (groups, path) = (self.config.cgroups.clone(), self.cgroup(&sandbox.id, None));
        let is_gone = blocking(move || Ok(groups.open(&path)?.processes()?.is_empty())).await;
        if is_gone.unwrap_or(true) { Ok(()) } else { Err(error) }
    }

    /// Stops the sandbox and removes it with its containers.
    pub(crate) async fn remove_sandbox(self: &Arc<Self>, sandbox: &Arc<SandboxObject>) -> Result<()> {
        self.stop_sandbox(sandbox).await?;
        for container in self.members(&sandbox.id) {
            self.remove_container(&container, Removal { force: true, volumes: true }).await?;
        }
        self.discard_sandbox(sandbox).await
    }

    /// The last step: the record goes, then what is left of the directory. Nothing lives in it any more.
    pub(crate) async fn discard_sandbox(self: &Arc<Self>, sandbox: &Arc<SandboxObject>) -> Result<()> {
        let trash = self.layout.trash().join(format!("s-{}", sandbox.id));
        match std::fs::rename(&sandbox.dir, &trash) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(io("remove", &sandbox.dir))?,
        }
        self.sandboxes.write().remove(&sandbox.id);
        self.group_parents.write().remove(&sandbox.id);
        let (core, id) = (Arc::clone(self), sandbox.id.clone());
        blocking(move || Ok(core.discard_trash(&id)?)).await?;
        self.sandbox_event(sandbox, Action::Destroy);
        Ok(())
    }

    pub(crate) fn sandbox_event(&self, sandbox: &SandboxObject, action: Action) {
        let spec = &sandbox.record.spec;
        if sandbox.record.standalone {
            return;
        }
        self.events.emit(Subject::Sandbox(sandbox.id.clone()), action, &spec.name, "", &spec.labels);
    }
}
