//! Ending containers: signals, waiting, restart policies, removal.

use crate::container::{ContainerObject, Life};
use crate::core::Core;
use crate::error::{EngineError, blocking, io};
use crate::{Action, ContainerState, Exit, Removal, Resources, RestartPolicy, Update, WaitCondition};
use hako_error::{Error, Result};
use hako_network::DEFAULT_NETWORK;
use hako_runtime::Shim;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// The first delay before a restart; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay.
const LAST_DELAY: Duration = Duration::from_secs(60);
/// A run this long starts the delays anew.
const GOOD_RUN: Duration = Duration::from_secs(10);

impl Core {
    pub(crate) async fn wait(&self, container: &ContainerObject, condition: WaitCondition) -> Exit {
        let mut life = container.life.subscribe();
        let before = life.borrow().exits;
        let holds = |life: &Life| match condition {
            WaitCondition::NotRunning => life.is_at_rest(),
            WaitCondition::NextExit => life.removed || life.exits > before,
            WaitCondition::Removed => life.removed,
        };
        // The sender lives in the object that the caller holds.
        let _ = life.wait_for(holds).await;
        container.exit()
    }

    pub(crate) async fn kill(&self, container: &ContainerObject, signal: i32) -> Result<()> {
        if !container.state().is_running() {
            return Err(container.not_running().into());
        }
        let is_end = is_meant_to_end(container, signal);
        if container.standalone() && is_end {
            container.change(|status, _| status.stopped_by_caller = true);
        }
        hako_sys::failpoint!("container.kill.marked");
        {
            // As in `signal_or_gone`.
            let _op = container.op.lock().await;
            self.signal(container, signal, false).await?;
            hako_sys::failpoint!("container.kill.sent");
            self.container_event(container, Action::Kill { signal });
        }
        if is_end { self.thaw_or_gone(container).await } else { Ok(()) }
    }

    async fn signal(&self, container: &ContainerObject, signal: i32, all: bool) -> Result<()> {
        let live = container.sandbox.live().ok_or_else(|| container.not_running())?;
        live.shim.kill(container.id.as_str(), signal, all).await
    }

    pub(crate) async fn stop(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        signal: Option<i32>,
        grace: Duration,
    ) -> Result<()> {
        {
            // A start or a recorded exit in progress ends first, so that what is seen here is true.
            let _op = container.op.lock().await;
            container.change(|status, life| {
                status.stopped_by_caller = true;
                life.restarting = false;
            });
        }
        hako_sys::failpoint!("container.stop.marked");
        let mut life = container.life.subscribe();
        if life.borrow().is_at_rest() {
            return Ok(());
        }
        let signal = signal.unwrap_or(container.record.resolved.stop_signal);
        self.end(container, &mut life, signal, grace).await?;
        hako_sys::failpoint!("container.stop.ended");
        // All that is told of the exit is told under the same lock, before this.
        let _op = container.op.lock().await;
        self.container_event(container, Action::Stop);
        Ok(())
    }

    /// Signals, waits, kills, waits. Exits that happen in between are a success. As with Docker, who waits for no time at all has
    /// the signal sent all the same.
    async fn end(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        life: &mut watch::Receiver<Life>,
        signal: i32,
        grace: Duration,
    ) -> Result<()> {
        if signal != SIGKILL {
            self.signal_or_gone(container, signal, false).await?;
            hako_sys::failpoint!("container.stop.signalled");
            if tokio::time::timeout(grace, life.wait_for(Life::is_at_rest)).await.is_ok() {
                return Ok(());
            }
        }
        self.signal_or_gone(container, SIGKILL, true).await?;
        hako_sys::failpoint!("container.stop.killed");
        self.await_killed(container, life).await
    }

    /// Stops, if it runs, and starts. A container that goes when it exits stays for the start.
    pub(crate) async fn restart(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        signal: Option<i32>,
        grace: Duration,
    ) -> Result<()> {
        let held = Held::new(container);
        self.stop(container, signal, grace).await?;
        let started = self.start(container).await;
        drop(held);
        started
    }

    async fn signal_or_gone(&self, container: &ContainerObject, signal: i32, all: bool) -> Result<()> {
        {
            // The exit that follows is recorded under the same lock: it is told after the signal.
            let _op = container.op.lock().await;
            match self.signal(container, signal, all).await {
                Err(error) if container.state().is_running() && !is_gone(&error) => return Err(error),
                _ => self.container_event(container, Action::Kill { signal }),
            }
        }
        self.thaw_or_gone(container).await
    }

    async fn thaw_or_gone(&self, container: &ContainerObject) -> Result<()> {
        match self.thaw(container).await {
            Err(error) if !container.state().is_running() || is_gone(&error) => Ok(()),
            result => result,
        }
    }

    /// Kills what runs, for a removal.
    pub(crate) async fn kill_and_wait(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        self.stop_quietly(container);
        let mut life = container.life.subscribe();
        if life.borrow().is_at_rest() {
            return Ok(());
        }
        self.end(container, &mut life, SIGKILL, Duration::ZERO).await
    }

    fn stop_quietly(&self, container: &ContainerObject) {
        let needs_change = !container.status.read().stopped_by_caller || container.life.borrow().restarting;
        if needs_change && (container.standalone() || container.state().is_running()) {
            container.change(|status, life| {
                status.stopped_by_caller = true;
                life.restarting = false;
            });
        }
    }

    /// How long to wait before the engine starts the container again; `None` when it is to rest.
    pub(crate) fn restart_delay(&self, container: &ContainerObject, exit: &Exit) -> Option<Duration> {
        let status = container.status.read();
        let record = &container.record;
        if !container.standalone()
            || status.stopped_by_caller
            || !restarts(status.restart.unwrap_or(record.spec.restart), exit.code, status.restart_count)
        {
            return None;
        }
        let ran = exit.started_at.map(|started| exit.finished_at.duration_since(started));
        let was_good = ran.is_some_and(|ran| Duration::try_from(ran).is_ok_and(|ran| ran >= GOOD_RUN));
        let mut delay = container.delay.lock();
        *delay = next_delay(*delay, was_good);
        Some(*delay)
    }

    /// Removes a container. Who asked is answered once its name, its addresses, its ports and its image are free, the volumes
    /// that go with it are gone and hooks of its devices have run; the rest is given back behind that, or by the next open.
    /// `false` when somebody else removes it.
    pub(crate) async fn remove_container(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        removal: Removal,
    ) -> Result<bool> {
        if !container.state().is_running() {
            return self.remove_resting(container, removal.volumes).await;
        }
        if !removal.force {
            return Err(container.is_in_use().into());
        }
        let leaving = Leaving::new(container);
        let removed = match self.kill_and_wait(container).await {
            Ok(()) => self.remove_resting(container, removal.volumes).await,
            Err(error) => Err(error),
        };
        drop(leaving);
        if removed.is_err() {
            self.rest_after_all(container).await;
        }
        removed
    }

    async fn remove_resting(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        volumes: bool,
    ) -> Result<bool> {
        let op = container.op.lock().await;
        let Some(shim) = self.forget_container(container, volumes).await? else { return Ok(false) };
        drop(op);
        if !waits(container, volumes) {
            self.free_for_others(container).await;
            hako_sys::failpoint!("container.remove.freed");
        }
        self.give_back(container, shim, volumes).await.map(|()| true)
    }

    /// Its removal failed after its end: it is a container at rest like any.
    async fn rest_after_all(self: &Arc<Self>, container: &ContainerObject) {
        let _op = container.op.lock().await;
        if container.standalone()
            && !container.state().is_running()
            && let Some(live) = container.sandbox.live()
        {
            self.rest(container, Some(live.shim.pid())).await;
        }
    }

    /// Removes a container that has just exited. Nobody asks for what it had at once, but for its ports and its network.
    pub(crate) async fn remove_exited(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let op = container.op.lock().await;
        let Some(shim) = self.forget_container(container, true).await? else { return Ok(()) };
        drop(op);
        if !waits(container, true) && is_missed(container) {
            self.free_for_others(container).await;
        }
        self.give_back(container, shim, true).await
    }

    /// Gives back what a forgotten container had, and tells of its removal as soon as that is true for all who may ask.
    async fn give_back(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        shim: Option<Shim>,
        volumes: bool,
    ) -> Result<()> {
        if waits(container, volumes) {
            self.clean_up(container, shim, volumes).await?;
            self.tell_removed(container);
            return Ok(());
        }
        self.tell_removed(container);
        // Never closed.
        let place = Arc::clone(&self.cleaning).acquire_owned().await;
        let (core, container) = (Arc::clone(self), Arc::clone(container));
        tokio::spawn(async move {
            if let Err(error) = core.clean_up(&container, shim, volumes).await {
                tracing::warn!(container = container.id.short(), error = %error.chain(), "not all of a container was given back");
            }
            drop(place);
        });
        Ok(())
    }

    /// What others may want as soon as the container is gone: space on the disk, its addresses, its ports, its image.
    /// What fails here is tried again, and told, with the rest.
    async fn free_for_others(self: &Arc<Self>, container: &Arc<ContainerObject>) {
        let (core, object) = (Arc::clone(self), Arc::clone(container));
        let freed = blocking(move || {
            // Space first: the next container may wait for it.
            let key = crate::create::snapshot_key(object.id.as_str());
            let removed = core.config.images.snapshots().remove(&key);
            let logs = ["c", "v"].map(|mark| core.layout.trash().join(format!("{mark}-{}/log", object.id)));
            logs.iter().try_for_each(|log| crate::record::remove_tree(log))?;
            match object.standalone() {
                true => core.leave_networks(&object.sandbox.id).and(removed),
                false => removed,
            }
        });
        if let Err(error) = freed.await {
            tracing::debug!(container = container.id.short(), error = %error.chain(), "free what a container had");
        }
    }

    /// The removal itself: renames into the trash. Returns the shim that is still to be ended, `None` when somebody
    /// else has removed the container. The caller holds its lock.
    async fn forget_container(
        &self,
        container: &Arc<ContainerObject>,
        volumes: bool,
    ) -> Result<Option<Option<Shim>>> {
        if container.life.borrow().removed || container.is_forgotten() {
            return Ok(None);
        }
        if container.state().is_running() {
            return Err(container.is_in_use().into());
        }
        self.stop_quietly(container);
        let mark = if volumes { 'v' } else { 'c' };
        let trash = self.layout.trash().join(format!("{mark}-{}", container.id));
        std::fs::rename(&container.dir, &trash).map_err(io("remove", &container.dir))?;
        hako_sys::failpoint!("container.remove.forgotten");
        container.attaching.lock().clear();
        self.containers.write().remove(&container.id);
        if !container.standalone() {
            return Ok(Some(None));
        }
        let sandbox = &container.sandbox;
        let _exclusive = sandbox.op.write().await;
        let trash = self.layout.trash().join(format!("s-{}", sandbox.id));
        std::fs::rename(&sandbox.dir, &trash).map_err(io("remove", &sandbox.dir))?;
        hako_sys::failpoint!("container.remove.sandbox");
        self.sandboxes.write().remove(&sandbox.id);
        self.names.lock().remove(&container.status.read().name);
        let live = sandbox.live.write().take();
        Ok(Some(live.map(|live| live.shim)))
    }

    /// Gives back what a forgotten container had.
    async fn clean_up(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        shim: Option<Shim>,
        volumes: bool,
    ) -> Result<()> {
        if container.standalone() && (shim.is_some() || self.layout.socket(&container.sandbox.id).exists()) {
            self.release(&container.sandbox.id, shim).await;
        }
        hako_sys::failpoint!("container.remove.released");
        self.group_parents.write().remove(&container.sandbox.id);
        let (core, object) = (Arc::clone(self), Arc::clone(container));
        blocking(move || {
            let volumes = if volumes { object.record.anonymous_volumes.as_slice() } else { &[] };
            core.unmake(&object.id, volumes);
            if object.standalone() {
                core.discard_trash(&object.sandbox.id)?;
            }
            Ok(())
        })
        .await
    }

    fn tell_removed(&self, container: &ContainerObject) {
        self.container_event(container, Action::Destroy);
        container.life.send_modify(|life| life.removed = true);
    }

    pub(crate) async fn update(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        update: Update,
    ) -> Result<()> {
        let _op = container.op.lock().await;
        container.stays()?;
        let Update { resources, restart } = update;
        if restart.is_some_and(|restart| restart != RestartPolicy::No) && container.record.spec.auto_remove {
            return Err(EngineError::AutoRemove { id: container.id.to_string() }.into());
        }
        let known = container.status.read().resources.clone();
        check_swap(&known, &resources)?;
        // The record first: what a crash leaves undone, the next open does.
        let (old, wanted) = (container.status.read().restart, resources.clone());
        container.change(|status, _| {
            merge(&mut status.resources, resources);
            status.restart = restart.or(status.restart);
        });
        hako_sys::failpoint!("container.update.recorded");
        if container.state().is_running()
            && let Err(error) = self.limit(container, wanted).await
        {
            container.change(|status, _| (status.resources, status.restart) = (known, old));
            return Err(error);
        }
        hako_sys::failpoint!("container.update.set");
        self.container_event(container, Action::Update);
        Ok(())
    }

    /// Limits what a running container may use.
    pub(crate) async fn limit(
        self: &Arc<Self>,
        container: &ContainerObject,
        wanted: Resources,
    ) -> Result<()> {
        let (core, path) = (Arc::clone(self), self.cgroup(&container.sandbox.id, Some(&container.id)));
        let set = move || Ok(core.config.cgroups.open(&path)?.set(&crate::sandbox::limits(&wanted)?)?);
        blocking(set).await
    }
}

/// Whether a removal is told when all is given back only: hooks have run then, and volumes are gone.
fn waits(container: &ContainerObject, volumes: bool) -> bool {
    let has_hooks = !container.record.spec.cdi_devices.is_empty();
    has_hooks || (volumes && !container.record.anonymous_volumes.is_empty())
}

/// Whether somebody may miss its ports, or its place in a network that could be removed next.
fn is_missed(container: &ContainerObject) -> bool {
    let wanted = container.sandbox.wanted.read();
    !wanted.ports.is_empty() || wanted.endpoints.iter().any(|spec| spec.network != DEFAULT_NETWORK)
}

/// Leaves what follows a container's exit to its removal.
struct Leaving<'a>(&'a ContainerObject);

impl<'a> Leaving<'a> {
    fn new(container: &'a ContainerObject) -> Self {
        container.life.send_modify(|life| life.leaving = true);
        Self(container)
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.life.send_modify(|life| life.leaving = false);
    }
}

/// Keeps a container that goes when it exits, while it is restarted.
struct Held<'a>(&'a ContainerObject);

impl<'a> Held<'a> {
    fn new(container: &'a ContainerObject) -> Self {
        container.life.send_modify(|life| life.held = true);
        Self(container)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.life.send_modify(|life| life.held = false);
    }
}

/// The process ended between our look and our signal, or its shim did, and the process with it.
fn is_gone(error: &Error) -> bool {
    use hako_error::Kind::{FailedPrecondition, NotFound, Unavailable};
    matches!(error.kind(), NotFound | FailedPrecondition | Unavailable)
}

/// Docker's rule: a signal counts as a stop, unless the container has a stop signal of its own and this is another.
fn is_meant_to_end(container: &ContainerObject, signal: i32) -> bool {
    let stop_signal = container.record.resolved.stop_signal;
    let has_own = container.record.spec.stop_signal.is_some() || stop_signal != SIGTERM;
    signal == SIGKILL || !has_own || signal == stop_signal
}

/// The delay that follows one, which is zero before the first.
fn next_delay(last: Duration, was_good: bool) -> Duration {
    if was_good || last.is_zero() { FIRST_DELAY } else { (last * 2).min(LAST_DELAY) }
}

fn restarts(policy: RestartPolicy, code: i32, count: u32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { max_retries } => code != 0 && (max_retries == 0 || count < max_retries),
    }
}

/// The kernel takes no limit of memory above that of memory and swap together.
fn check_swap(known: &Resources, update: &Resources) -> Result<(), EngineError> {
    let memory = update.memory.and_then(|bytes| i64::try_from(bytes).ok());
    let both = update.memory_swap.or(known.memory_swap).filter(|both| *both > 0);
    match (memory, both) {
        (Some(memory), Some(both)) if memory > both => Err(EngineError::MemoryAboveSwap),
        _ => Ok(()),
    }
}

fn merge(resources: &mut Resources, update: Resources) {
    macro_rules! take {
        ($($field:ident),*) => {$(
            if update.$field.is_some() {
                resources.$field = update.$field;
            }
        )*};
    }
    take!(memory, memory_swap, cpu_quota_us, cpu_period_us, cpu_shares, pids, cpuset_cpus, cpuset_mems);
    take!(
        nano_cpus,
        memory_reservation,
        memory_swappiness,
        oom_kill_disable,
        kernel_memory_tcp,
        blkio_weight
    );
    take!(cpu_realtime_period_us, cpu_realtime_runtime_us);
}

/// Whether a container that is at rest when the engine opens is to be started.
pub(crate) fn starts_at_open(container: &ContainerObject) -> bool {
    let status = container.status.read();
    let ContainerState::Exited(exit) = &status.state else {
        return false;
    };
    match status.restart.unwrap_or(container.record.spec.restart) {
        RestartPolicy::Always => true,
        policy => !status.stopped_by_caller && restarts(policy, exit.code, status.restart_count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute_and_a_good_run_begins_anew() {
        let delays = std::iter::successors(Some(next_delay(Duration::ZERO, false)), |last| {
            Some(next_delay(*last, false))
        });
        let seconds: Vec<f64> = delays.take(12).map(|delay| delay.as_secs_f64()).collect();
        assert_eq!(seconds, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]);
        assert_eq!(next_delay(LAST_DELAY, true), FIRST_DELAY);
    }

    #[test]
    fn policies_decide_by_code_and_count() {
        assert!(!restarts(RestartPolicy::No, 1, 0));
        assert!(restarts(RestartPolicy::Always, 0, 9));
        assert!(restarts(RestartPolicy::OnFailure { max_retries: 0 }, 1, 99));
        assert!(!restarts(RestartPolicy::OnFailure { max_retries: 0 }, 0, 0));
        assert!(!restarts(RestartPolicy::OnFailure { max_retries: 2 }, 1, 2));
    }
}
