//! The public face over the core: finds objects, then calls the module of the operation.

use crate::core::{Core, random_id};
use crate::error::blocking;
use crate::record::SandboxRecord;
use crate::{
    AttachOptions, AttachSession, Container, ContainerEngine, ContainerSpec, Event, ExecInfo, ExecSession,
    ExecSpec, Exit, Filter, LogOptions, LogStream, Removal, Sandbox, SandboxId, SandboxSpec, Stats,
    TerminalSize, Update, WaitCondition,
};
use async_trait::async_trait;
use hako_error::Result;
use hako_names::ContainerId;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// The engine. Cheap to clone; when the last clone is dropped, containers go on without it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.config.fmt(f)
    }
}

#[async_trait]
impl ContainerEngine for Engine {
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox> {
        let core = &self.core;
        let id = SandboxId(random_id()?);
        let hostname = match spec.hostname.is_empty() {
            true => id.short().to_owned(),
            false => spec.hostname.clone(),
        };
        let record = SandboxRecord {
            spec: Arc::new(spec),
            created_at: Timestamp::now(),
            standalone: false,
            hostname,
            users: None,
        };
        let sandbox = core.prepare_sandbox(id, record)?;
        core.sandbox_event(&sandbox, crate::Action::Create);
        let brought_up = {
            let _exclusive = sandbox.op.write().await;
            core.bring_up(&sandbox).await
        };
        if let Err(error) = brought_up {
            core.discard_sandbox(&sandbox).await?;
            return Err(error);
        }
        Ok(sandbox.view())
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let sandbox = self.core.sandbox(id)?;
        self.core.stop_sandbox(&sandbox).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        match self.core.sandbox(id) {
            Ok(sandbox) => self.core.remove_sandbox(&sandbox).await,
            Err(_) => Ok(()),
        }
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Sandbox> {
        Ok(self.core.sandbox(id)?.view())
    }

    async fn sandboxes(&self, filter: &Filter) -> Result<Vec<Sandbox>> {
        let mut found: Vec<Sandbox> = {
            let sandboxes = self.core.sandboxes.read();
            let wanted = sandboxes.values().filter(|sandbox| {
                let record = &sandbox.record;
                has_labels(&record.spec.labels, filter)
                    && filter.sandbox.as_ref().is_none_or(|id| *id == sandbox.id)
                    && filter.standalone.is_none_or(|standalone| standalone == record.standalone)
            });
            wanted.map(|sandbox| sandbox.view()).collect()
        };
        found.sort_by_key(|sandbox| sandbox.created_at);
        Ok(found)
    }

    async fn create_container(&self, sandbox: &SandboxId, spec: ContainerSpec) -> Result<ContainerId> {
        self.core.create_in(sandbox, spec).await
    }

    async fn create_standalone(&self, sandbox: SandboxSpec, container: ContainerSpec) -> Result<ContainerId> {
        self.core.create_standalone(sandbox, container).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let container = self.core.container(id)?;
        self.core.start(&container).await
    }

    async fn stop(&self, id: &ContainerId, signal: Option<i32>, grace: Duration) -> Result<()> {
        let container = self.core.container(id)?;
        self.core.stop(&container, signal, grace).await
    }

    async fn restart(&self, id: &ContainerId, signal: Option<i32>, grace: Duration) -> Result<()> {
        let (core, container) = (Arc::clone(&self.core), self.core.container(id)?);
        // A task of its own: a caller that goes away does not leave the container stopped.
        let restarting = tokio::spawn(async move { core.restart(&container, signal, grace).await });
        restarting.await.map_err(|source| crate::error::EngineError::Task { source })?
    }

    async fn kill(&self, id: &ContainerId, signal: i32) -> Result<()> {
        let container = self.core.container(id)?;
        self.core.kill(&container, signal).await
    }

    async fn wait(&self, id: &ContainerId, condition: WaitCondition) -> Result<Exit> {
        let container = self.core.container(id)?;
        Ok(self.core.wait(&container, condition).await)
    }

    async fn remove(&self, id: &ContainerId, removal: Removal) -> Result<()> {
        let (core, container) = (Arc::clone(&self.core), self.core.container(id)?);
        // As of a restart: half a removal would be left for the next open.
        let is_standalone = container.standalone();
        let removing = tokio::spawn(async move { core.remove_container(&container, removal).await });
        let removed = removing.await.map_err(|source| crate::error::EngineError::Task { source })??;
        match removed || !is_standalone {
            true => Ok(()),
            false => Err(crate::error::EngineError::Removing { id: id.to_string() }.into()),
        }
    }

    async fn container(&self, id: &ContainerId) -> Result<Container> {
        Ok(self.core.container(id)?.view())
    }

    async fn containers(&self, filter: &Filter) -> Result<Vec<Container>> {
        let mut found: Vec<Container> = {
            let containers = self.core.containers.read();
            let wanted = containers.values().filter(|container| {
                has_labels(&container.record.spec.labels, filter)
                    && filter.sandbox.as_ref().is_none_or(|id| *id == container.sandbox.id)
                    && filter.standalone.is_none_or(|standalone| standalone == container.standalone())
            });
            wanted.map(|container| container.view()).collect()
        };
        found.sort_by_key(|container| container.created_at);
        Ok(found)
    }

    async fn resolve(&self, name: &str) -> Result<ContainerId> {
        Ok(self.core.resolve(name)?)
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.core.rename(id, name).await
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> Result<ExecSession> {
        let container = self.core.container(id)?;
        self.core.exec(&container, spec).await
    }

    async fn attach(&self, id: &ContainerId, options: AttachOptions) -> Result<AttachSession> {
        let container = self.core.container(id)?;
        self.core.attach(&container, options).await
    }

    async fn resize(&self, id: &ContainerId, size: TerminalSize) -> Result<()> {
        let container = self.core.container(id)?;
        let live = container.sandbox.live().filter(|_| container.state().is_running());
        let live = live.ok_or_else(|| container.not_running())?;
        live.shim.resize(container.id.as_str(), None, crate::exec::tty_size(size)).await
    }

    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream> {
        let container = self.core.container(id)?;
        let path = container.log_path().ok_or(crate::error::EngineError::Unreadable)?;
        crate::logs::read(path, options, container.life.subscribe())
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats> {
        let container = self.core.container(id)?;
        if !container.state().is_running() {
            return Err(container.not_running().into());
        }
        let path = self.core.cgroup(&container.sandbox.id, Some(&container.id));
        let core = Arc::clone(&self.core);
        let used = blocking(move || Ok(core.config.cgroups.open(&path)?.stats()?)).await?;
        Ok(Stats {
            at: Timestamp::now(),
            memory_usage: used.memory_usage,
            memory_working_set: used.memory_working_set,
            memory_limit: used.memory_limit,
            cpu_ns: used.cpu_ns,
            pids: used.pids,
            group: used,
        })
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        self.core.pause(&self.core.container(id)?).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<()> {
        self.core.unpause(&self.core.container(id)?).await
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<u32>> {
        let container = self.core.container(id)?;
        if !container.state().is_running() {
            return Err(container.not_running().into());
        }
        let path = self.core.cgroup(&container.sandbox.id, Some(&container.id));
        let core = Arc::clone(&self.core);
        blocking(move || Ok(core.config.cgroups.open(&path)?.processes()?)).await
    }

    async fn update(&self, id: &ContainerId, update: Update) -> Result<()> {
        let container = self.core.container(id)?;
        self.core.update(&container, update).await
    }

    async fn execs(&self, id: &ContainerId) -> Result<Vec<ExecInfo>> {
        Ok(self.core.container(id)?.execs.list())
    }

    fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.core.events.subscribe()
    }
}

impl Engine {
    /// Whose ids containers have that are not to have the host's.
    #[must_use]
    pub fn users(&self) -> Option<&hako_runtime::IdMap> {
        self.core.config.users.as_ref()
    }

    /// Where vendors describe devices.
    #[must_use]
    pub fn cdi(&self) -> &hako_cdi::Directories {
        &self.core.config.cdi
    }

    /// Where a volume's files are, or would be.
    #[must_use]
    pub fn volume_path(&self, name: &str) -> std::path::PathBuf {
        self.core.layout.volumes().join(name).join("_data")
    }

    /// The host's paths of a sandbox's hosts file, host name and resolver's configuration.
    ///
    /// # Errors
    /// `NotFound` when the sandbox is not there.
    pub fn sandbox_files(&self, id: &SandboxId) -> Result<[std::path::PathBuf; 3]> {
        Ok(self.core.sandbox(id)?.files().mounts().map(|(path, _)| path))
    }
}

fn has_labels(labels: &BTreeMap<String, String>, filter: &Filter) -> bool {
    filter
        .labels
        .iter()
        .all(|(key, wanted)| labels.get(key).is_some_and(|value| wanted.is_empty() || value == wanted))
}

/// A number or name of a signal, such as `9`, `KILL` or `SIGKILL`.
pub fn parse_signal(text: &str) -> Result<i32> {
    Ok(crate::resolve::signal_number(text)?)
}
