//! Starting a container, and what follows its exit.
//!
//! ```text
//! standalone:  shim ──┬── address, hosts file ──┬── ready ── attach ── start
//!                     └── container in the shim ┘
//! in a sandbox:           container in the shim ─────────── attach ── start
//! ```

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::{EngineError, blocking};
use crate::layers::Layers;
use crate::oci::{self, Surroundings};
use crate::sandbox::Live;
use crate::{Action, CdiDevice, ContainerState, Exit, MountSource, Removal, users};
use hako_error::{Error, Kind, Result};
use hako_network::{Ahead, Attachment};
use hako_oci::runtime::{Process, Spec};
use hako_runtime::{CreateContainer, Rootfs, Shim, Stdio};
use hako_snapshot::Mounts;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Who wants a container to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody asked for it: what the restart policy has done before does not count any more.
    Caller,
    /// Its restart policy, after it ended.
    Policy,
    /// Its restart policy, as the engine begins: that is no restart that counts.
    Opened,
}

impl Core {
    /// Starts a container for a caller.
    pub(crate) async fn start(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        self.start_for(container, Cause::Caller).await
    }

    /// Its own lock is held until it runs or is known not to.
    pub(crate) async fn start_for(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        cause: Cause,
    ) -> Result<()> {
        let started = {
            let _op = container.op.lock().await;
            if cause != Cause::Caller && !container.life.borrow().restarting {
                // A caller stopped it while the lock was waited for.
                return Ok(());
            }
            self.may_start(container)?;
            if cause != Cause::Policy {
                *container.delay.lock() = Duration::ZERO;
            }
            container.change(|status, _| {
                (status.stopped_by_caller, status.paused) = (false, false);
                status.restart_count = if cause == Cause::Policy { status.restart_count + 1 } else { 0 };
            });
            if cause != Cause::Caller {
                hako_sys::failpoint!("container.restart.counted");
            }
            hako_sys::failpoint!("container.start.begun");
            let started = match container.standalone() {
                true => self.start_standalone(container).await,
                false => self.start_in_sandbox(container).await,
            };
            if let Err(error) = &started {
                self.record_failed_start(container, error);
            }
            started
        };
        if started.is_err() && container.standalone() && container.record.spec.auto_remove {
            self.remove_container(container, Removal { force: true, volumes: true }).await?;
        }
        started
    }

    fn may_start(&self, container: &ContainerObject) -> Result<(), EngineError> {
        container.stays()?;
        let id = container.id.to_string();
        match container.state() {
            ContainerState::Running { .. } => Err(EngineError::Running { id }),
            ContainerState::Exited(_) if !container.standalone() => Err(EngineError::Spent { id }),
            _ => Ok(()),
        }
    }

    async fn start_in_sandbox(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let _shared = container.sandbox.op.read().await;
        let Live { shim, .. } = container.sandbox.usable()?;
        let started = match self.create_in_shim(container, &shim).await {
            Ok(pid) => self.run(container, &shim, pid).await,
            Err(error) => Err(error),
        };
        if started.is_err() {
            let _ = shim.delete(container.id.as_str(), true).await;
        }
        started
    }

    async fn start_standalone(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let sandbox = &container.sandbox;
        let _exclusive = sandbox.op.write().await;
        if sandbox.live().is_some() {
            self.take_down(sandbox).await;
        }
        container.execs.clear();
        let ahead = self.take_ahead(sandbox).await;
        hako_sys::failpoint!("container.start.ahead");
        let shim = self.spawn_shim(sandbox, ahead.as_deref()).await.map_err(not_the_program)?;
        hako_sys::failpoint!("container.start.shim");
        crate::monitor::watch(self, sandbox, &shim);
        let started = async {
            let (address, pid) = self.connect_and_create(container, &shim, ahead).await?;
            hako_sys::failpoint!("container.start.made");
            self.mark_ready(sandbox, shim.clone(), address)?;
            self.run(container, &shim, pid).await
        };
        let started = started.await;
        if started.is_err() {
            let live = sandbox.live.write().take();
            drop(live);
            let _ = sandbox.set_phase(crate::record::SandboxPhase::Stopped);
            self.release(&sandbox.id, Some(shim)).await;
            self.tell_left(sandbox, &container.id);
        } else {
            self.make_ahead(sandbox);
        }
        started
    }

    /// Both at once, unless hooks of devices may look at the network.
    async fn connect_and_create(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        shim: &Shim,
        ahead: Option<Arc<Ahead>>,
    ) -> Result<(Option<Attachment>, u32)> {
        // Kept until both are done.
        let place = ahead.clone();
        let connect = async { self.connect(&container.sandbox, shim, place).await.map_err(not_the_program) };
        let create = self.create_in_shim(container, shim);
        if !container.record.spec.cdi_devices.is_empty() {
            return Ok((connect.await?, create.await?));
        }
        let (address, pid) = tokio::join!(connect, create);
        Ok((address?, pid?))
    }

    async fn create_in_shim(self: &Arc<Self>, container: &Arc<ContainerObject>, shim: &Shim) -> Result<u32> {
        let core = Arc::clone(self);
        let object = Arc::clone(container);
        let prepared = blocking(move || {
            let (spec, mounts) = core.runtime_spec(&object)?;
            Ok((spec, mounts, object.log_file()?, object.log_daemon()?))
        });
        let (spec, mounts, log, syslog) = prepared.await.map_err(not_the_program)?;
        let settings = &container.record.spec;
        let (Some(upper), Some(work)) = (mounts.upper, mounts.work) else {
            let text = format!(
                "the snapshot of container {} is not writable: remove the container and make it again",
                container.id.short()
            );
            return Err(Error::new(Kind::DataLoss, text));
        };
        let request = CreateContainer {
            id: container.id.to_string(),
            spec,
            rootfs: Rootfs::Overlay { lower: mounts.lower, upper, work },
            cgroup: self.cgroup(&container.sandbox.id, Some(&container.id)),
            stdio: Stdio {
                stdin: settings.stdin,
                stdin_once: settings.stdin_once,
                tty: settings.tty,
                size: settings.console_size.map(crate::exec::tty_size),
                log,
                syslog,
            },
            init: settings.init,
            pid_namespace: self.joined_pid(&container.sandbox.record.spec).await.map_err(not_the_program)?,
        };
        shim.create(request).await
    }

    /// The OCI runtime spec of this start: users come from the file system as it is now.
    pub(crate) fn runtime_spec(&self, container: &ContainerObject) -> Result<(Spec, Mounts)> {
        let record = &container.record;
        let mounts = self.root_mounts(container)?;
        let layers = Layers::new(mounts.upper.iter().chain(&mounts.lower).map(std::path::PathBuf::as_path));
        let identity = users::resolve(
            &layers,
            &record.resolved.user,
            &record.spec.additional_gids,
            &record.spec.additional_groups,
        )?;
        let sandbox = &container.sandbox.record;
        let mut volumes = Vec::new();
        for mount in &record.spec.mounts {
            if let MountSource::Volume { name, new } = &mount.source {
                volumes.push((name.clone(), self.ensure_volume(name, new)?.source()));
            }
        }
        let around = Surroundings {
            files: self.network_files(&container.sandbox)?.mounts(),
            shm: container.sandbox.shm(),
            shm_size: sandbox.spec.shm_size,
            hostname: sandbox.hostname.clone(),
            is_pid_shared: sandbox.spec.host_pid
                || sandbox.spec.shared_pid
                || sandbox.spec.share.pid.is_some(),
            has_hosts_ipc: sandbox.spec.host_ipc && sandbox.users.is_some(),
            volumes,
            images: self.image_layers(&container.id, &record.spec)?,
        };
        let resources = container.status.read().resources.clone();
        let mut spec = oci::runtime_spec(
            self.base_spec.clone(),
            &record.spec,
            &record.resolved,
            &identity,
            &resources,
            &around,
        )?;
        self.add_cdi_devices(&record.spec.cdi_devices, &mut spec)?;
        self.add_link_variables(container, &mut spec);
        *container.process.lock() = spec.process().clone().map(Arc::new);
        Ok((spec, mounts))
    }

    /// What vendors say of devices, as it is at this start.
    fn add_cdi_devices(&self, wanted: &[CdiDevice], spec: &mut Spec) -> Result<(), EngineError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let devices = self.config.cdi.read();
        let missing = wanted.iter().find(|device| devices.get(&device.name).is_none());
        if let Some(CdiDevice { name, refusal }) = missing.filter(|device| !device.refusal.is_empty()) {
            return Err(EngineError::NoDevice { refusal: refusal.clone(), source: devices.missing(name) });
        }
        let names = wanted.iter().map(|device| device.name.as_str());
        devices.inject(names, spec).map_err(|source| EngineError::Cdi { source })
    }

    /// The process that execs are made from.
    pub(crate) fn process(&self, container: &ContainerObject) -> Result<Arc<Process>> {
        if let Some(process) = container.process.lock().clone() {
            return Ok(process);
        }
        let (spec, _) = self.runtime_spec(container)?;
        Ok(Arc::new(spec.process().clone().unwrap_or_default()))
    }

    /// Connects those who attached early, then runs the program.
    async fn run(self: &Arc<Self>, container: &Arc<ContainerObject>, shim: &Shim, pid: u32) -> Result<()> {
        self.connect_attaching(container, shim).await?;
        hako_sys::failpoint!("container.start.attached");
        shim.start(container.id.as_str()).await?;
        hako_sys::failpoint!("container.start.runs");
        container.change(|status, life| {
            status.run(pid);
            life.restarting = false;
        });
        hako_sys::failpoint!("container.start.recorded");
        self.volume_events(container, true);
        self.container_event(container, Action::Start);
        Ok(())
    }

    /// A container that could not be started is exited with the shell's code for that. As with Docker, one that never
    /// lived is not told to have died.
    fn record_failed_start(&self, container: &ContainerObject, error: &Error) {
        let code = match error.kind() {
            Kind::NotFound => 127,
            Kind::Invalid | Kind::Forbidden => 126,
            _ => 128,
        };
        // Its last run stays known; without one it has never started.
        let last = container.state().exit().map(|exit| (exit.started_at, exit.finished_at));
        let (started_at, finished_at) = last.unwrap_or((None, Timestamp::now()));
        let exit = Exit {
            code,
            signal: None,
            oom_killed: false,
            error: Some(error.chain()),
            started_at,
            finished_at,
        };
        container.attaching.lock().clear();
        container.change(|status, life| {
            status.state = ContainerState::Exited(exit);
            life.exits += 1;
            life.restarting = false;
        });
        if !container.standalone() {
            self.container_event(container, Action::Die { code });
        }
    }
}

/// `NotFound` and `Forbidden` of a start speak of the program alone; what else was missing is a fault of the machine.
fn not_the_program(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound | Kind::Forbidden => {
            let text = error.chain();
            Error::new(Kind::FailedPrecondition, text)
        }
        _ => error,
    }
}
