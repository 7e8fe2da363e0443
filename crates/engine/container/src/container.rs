//! A container's object: what is known of it, and how that is told and kept.

use crate::attach::PendingAttach;
use crate::core::Core;
use crate::error::EngineError;
use crate::exec::ExecTable;
use crate::record::{self, ContainerRecord, ContainerStatus};
use crate::sandbox::SandboxObject;
use crate::{Action, Container, ContainerState, Exit, Subject};
use hako_names::ContainerId;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What waiters and log followers watch.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) state: ContainerState,
    /// Exits since this engine was opened.
    pub(crate) exits: u64,
    /// The engine will start it again.
    pub(crate) restarting: bool,
    pub(crate) removed: bool,
    /// It is being restarted: its exit does not remove it.
    pub(crate) held: bool,
    /// It is being removed: what follows its exit is the removal's.
    pub(crate) leaving: bool,
}

impl Life {
    pub(crate) fn new(state: ContainerState) -> Self {
        Self { state, exits: 0, restarting: false, removed: false, held: false, leaving: false }
    }

    /// Nothing runs and nothing is about to.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.removed || !(self.state.is_running() || self.restarting)
    }

    /// No more output will come.
    pub(crate) fn is_over(&self) -> bool {
        self.removed || (self.state.exit().is_some() && !self.restarting)
    }
}

pub(crate) struct ContainerObject {
    pub(crate) id: ContainerId,
    pub(crate) sandbox: Arc<SandboxObject>,
    pub(crate) dir: PathBuf,
    pub(crate) record: ContainerRecord,
    /// Held by start, the recording of an exit, update and removal: one of them at a time.
    pub(crate) op: tokio::sync::Mutex<()>,
    pub(crate) status: RwLock<ContainerStatus>,
    pub(crate) life: watch::Sender<Life>,
    /// Clients that attached before the start.
    pub(crate) attaching: Mutex<Vec<PendingAttach>>,
    pub(crate) execs: ExecTable,
    /// The delay before the last restart.
    pub(crate) delay: Mutex<Duration>,
    /// The process of the last start, from which execs are made; built on demand after an adoption.
    pub(crate) process: Mutex<Option<Arc<hako_oci::runtime::Process>>>,
}

impl ContainerObject {
    pub(crate) fn new(
        id: ContainerId,
        sandbox: Arc<SandboxObject>,
        dir: PathBuf,
        record: ContainerRecord,
        status: ContainerStatus,
    ) -> Self {
        let life = watch::Sender::new(Life::new(status.state.clone()));
        if sandbox.record.standalone {
            // It has one only.
            let _known = sandbox.container.set(id.clone());
        }
        Self {
            id,
            sandbox,
            dir,
            record,
            op: tokio::sync::Mutex::default(),
            status: RwLock::new(status),
            life,
            attaching: Mutex::default(),
            execs: ExecTable::default(),
            delay: Mutex::default(),
            process: Mutex::default(),
        }
    }

    pub(crate) fn standalone(&self) -> bool {
        self.sandbox.record.standalone
    }

    pub(crate) fn state(&self) -> ContainerState {
        self.status.read().state.clone()
    }

    pub(crate) fn short(&self) -> String {
        self.id.short().to_owned()
    }

    /// Changes the durable status, then tells those who watch. A record that cannot be written does not undo what the
    /// kernel did: the status is told all the same, and the next open asks the shim.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ContainerStatus, &mut Life)) {
        let mut status = self.status.write();
        self.life.send_modify(|life| {
            change(&mut status, life);
            if let Err(error) = record::write(&self.dir.join("state.json"), &*status) {
                tracing::warn!(container = self.id.short(), error = %hako_error::Error::from(error).chain(), "record a container's state");
            }
            life.state = status.state.clone();
        });
    }

    /// Whether it is still there for who has waited for its lock; otherwise that it is being removed.
    pub(crate) fn stays(&self) -> Result<(), EngineError> {
        if self.life.borrow().removed || self.is_forgotten() {
            return Err(EngineError::Removing { id: self.id.to_string() });
        }
        Ok(())
    }

    /// Gives it another name, or leaves it the one it has where that cannot be recorded.
    pub(crate) fn record_name(&self, name: &str) -> Result<(), EngineError> {
        let mut status = self.status.write();
        let renamed = ContainerStatus { name: name.to_owned(), ..status.clone() };
        record::write(&self.dir.join("state.json"), &renamed)?;
        *status = renamed;
        Ok(())
    }

    pub(crate) fn view(&self) -> Container {
        let status = self.status.read();
        let mut spec = Arc::clone(&self.record.spec);
        let restart = status.restart.unwrap_or(spec.restart);
        if spec.name != status.name || spec.resources != status.resources || spec.restart != restart {
            let changed = Arc::make_mut(&mut spec);
            changed.restart = restart;
            changed.name.clone_from(&status.name);
            changed.resources = status.resources.clone();
        }
        Container {
            id: self.id.clone(),
            sandbox: self.sandbox.id.clone(),
            standalone: self.standalone(),
            spec,
            resolved: Arc::clone(&self.record.resolved),
            state: status.state.clone(),
            created_at: self.record.created_at,
            restart_count: status.restart_count,
            ended_at: status.ended_at(),
            restarting: self.life.borrow().restarting,
            paused: status.paused,
            log_path: self.log_path(),
        }
    }

    /// The exit that a waiter is told: that of the container, or a clean one where it never ran.
    pub(crate) fn exit(&self) -> Exit {
        let never = || Exit {
            code: 0,
            signal: None,
            oom_killed: false,
            error: None,
            started_at: None,
            finished_at: self.record.created_at,
        };
        self.status.read().state.exit().cloned().unwrap_or_else(never)
    }

    /// Whether its directory is in the trash already.
    pub(crate) fn is_forgotten(&self) -> bool {
        !self.dir.exists()
    }

    pub(crate) fn not_running(&self) -> EngineError {
        EngineError::NotRunning { id: self.id.to_string() }
    }

    /// Why it cannot be removed.
    pub(crate) fn is_in_use(&self) -> EngineError {
        let status = self.status.read();
        let is_paused = status.paused;
        EngineError::RemoveRunning {
            name: status.name.clone(),
            state: if is_paused { "paused" } else { "running" },
        }
    }
}

impl Core {
    pub(crate) fn container_event(&self, container: &ContainerObject, action: Action) {
        let subject = Subject::Container { id: container.id.clone(), sandbox: container.sandbox.id.clone() };
        let record = &container.record;
        let name = container.status.read().name.clone();
        self.events.emit(subject, action, &name, &record.spec.image_as_written(), &record.resolved.labels);
    }
}
