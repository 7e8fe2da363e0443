//! Listening to a shim: exits, execs, lack of memory, its own death.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::sandbox::SandboxObject;
use crate::start::Cause;
use crate::{Action, ContainerState, Exit};
use hako_names::ContainerId;
use hako_runtime::{ContainerStatus, Shim, ShimEvent};
use jiff::Timestamp;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast::error::RecvError;

/// SIGKILL's exit code, for processes that died with their shim.
const KILLED: i32 = 137;

/// Listens from now on, until the shim or the engine is gone. Called before anything is made in the shim.
pub(crate) fn watch(core: &Arc<Core>, sandbox: &Arc<SandboxObject>, shim: &Shim) {
    let mut events = shim.events();
    let mut alive = core.alive.subscribe();
    let (core, sandbox, shim) = (Arc::downgrade(core), Arc::clone(sandbox), shim.clone());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = alive.changed() => return,
            };
            let Some(core) = core.upgrade() else { return };
            match event {
                Ok(ShimEvent::Gone) | Err(RecvError::Closed) => return core.shim_gone(&sandbox, &shim).await,
                Ok(event) => core.shim_event(&sandbox, event),
                Err(RecvError::Lagged(_)) => core.catch_up(&sandbox, &shim).await,
            }
        }
    });
}

impl Core {
    fn shim_event(self: &Arc<Self>, sandbox: &Arc<SandboxObject>, event: ShimEvent) {
        let id = match &event {
            ShimEvent::Exited { id, .. } | ShimEvent::Oom { id, .. } => id,
            ShimEvent::Gone => return,
        };
        let Some(container) =
            id.parse::<ContainerId>().ok().and_then(|id| self.containers.read().get(&id).cloned())
        else {
            tracing::debug!(
                sandbox = sandbox.id.short(),
                container = id,
                "event of a container that is gone"
            );
            return;
        };
        match event {
            ShimEvent::Exited { exec: Some(exec), code, .. } => {
                container.execs.finish(&exec, code);
                self.container_event(&container, Action::ExecDie { exec, code });
            }
            ShimEvent::Exited { exec: None, code, signal, oom_killed, at, .. } => {
                let exit = hako_runtime::Exit { code, signal, oom_killed, at };
                let core = Arc::clone(self);
                tokio::spawn(async move { core.on_exit(&container, exit, None, Cause::Policy).await });
            }
            ShimEvent::Oom { .. } => self.container_event(&container, Action::Oom),
            ShimEvent::Gone => {}
        }
    }

    /// After missed events, or where one is missed: the shim knows which containers have stopped.
    pub(crate) async fn catch_up(self: &Arc<Self>, sandbox: &Arc<SandboxObject>, shim: &Shim) {
        let states = match shim.state().await {
            Ok(states) => states,
            Err(error) => {
                tracing::warn!(sandbox = sandbox.id.short(), error = %error.chain(), "ask a shim for its containers");
                return;
            }
        };
        for state in states.into_iter().filter(|state| state.status == ContainerStatus::Stopped) {
            let container =
                state.id.parse::<ContainerId>().ok().and_then(|id| self.containers.read().get(&id).cloned());
            if let (Some(container), Some(exit)) = (container, state.exit) {
                self.on_exit(&container, exit, None, Cause::Policy).await;
            }
        }
    }

    /// The shim died, and all its containers with it. What it recorded before is believed.
    async fn shim_gone(self: &Arc<Self>, sandbox: &Arc<SandboxObject>, shim: &Shim) {
        let is_current = sandbox.live().is_some_and(|live| live.shim.pid() == shim.pid());
        if !is_current {
            return;
        }
        tracing::warn!(sandbox = sandbox.id.short(), pid = shim.pid(), "the sandbox's shim is gone");
        {
            let _exclusive = sandbox.op.write().await;
            if sandbox.live().is_some_and(|live| live.shim.pid() == shim.pid()) {
                self.take_down(sandbox).await;
            }
        }
        for container in self.members(&sandbox.id) {
            if container.state().is_running() {
                self.lost(&container, Cause::Policy).await;
            }
        }
    }

    /// Records the exit of a container whose shim is no more; `next` is what a start after it counts as.
    pub(crate) async fn lost(self: &Arc<Self>, container: &Arc<ContainerObject>, next: Cause) {
        let known = Shim::read_exit(&container.sandbox.state_dir(), container.id.as_str()).ok().flatten();
        let reason = known.is_none().then(|| "its shim died, and the container with it".to_owned());
        let unknown =
            hako_runtime::Exit { code: KILLED, signal: Some(9), oom_killed: false, at: Timestamp::now() };
        self.on_exit(container, known.unwrap_or(unknown), reason, next).await;
    }

    /// Records an exit, tells everybody, and does what the container's owner wants done after it.
    pub(crate) async fn on_exit(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        exit: hako_runtime::Exit,
        reason: Option<String>,
        next: Cause,
    ) {
        let op = container.op.lock().await;
        let ContainerState::Running { started_at, .. } = container.state() else {
            return;
        };
        let exit = Exit {
            code: exit.code,
            signal: exit.signal,
            oom_killed: exit.oom_killed,
            error: reason,
            started_at: Some(started_at),
            finished_at: exit.at,
        };
        hako_sys::failpoint!("container.exit.heard");
        let code = exit.code;
        let delay = self.restart_delay(container, &exit);
        container.execs.finish_all(KILLED);
        container.change(|status, life| {
            status.state = ContainerState::Exited(exit);
            status.paused = false;
            life.exits += 1;
            life.restarting = delay.is_some();
        });
        hako_sys::failpoint!("container.exit.recorded");
        // In Docker's order.
        self.container_event(container, Action::Die { code });
        self.tell_left(&container.sandbox, &container.id);
        self.volume_events(container, false);
        let live = container.sandbox.live();
        drop(op);
        if !container.standalone() {
            if let Some(live) = live
                && let Err(error) = live.shim.delete(container.id.as_str(), false).await
            {
                tracing::debug!(container = container.id.short(), error = %error.chain(), "forget an exited container");
            }
            return;
        }
        let (is_held, is_leaving) = {
            let life = container.life.borrow();
            (life.held, life.leaving)
        };
        if is_leaving {
            return;
        }
        if delay.is_none() && container.record.spec.auto_remove && !is_held {
            if let Err(error) = self.remove_exited(container).await {
                tracing::warn!(container = container.id.short(), error = %error.chain(), "remove an exited container");
            }
            return;
        }
        self.rest(container, live.map(|live| live.shim.pid())).await;
        hako_sys::failpoint!("container.exit.rested");
        if let Some(delay) = delay {
            Self::restart_later(Arc::downgrade(self), container, delay, next);
        }
    }

    /// Takes a standalone container's sandbox down, unless somebody started it anew meanwhile.
    pub(crate) async fn rest(self: &Arc<Self>, container: &ContainerObject, pid: Option<u32>) {
        let sandbox = &container.sandbox;
        let _exclusive = sandbox.op.write().await;
        if sandbox.live().is_some_and(|live| Some(live.shim.pid()) == pid) {
            self.take_down(sandbox).await;
        }
    }

    pub(crate) fn restart_later(
        core: Weak<Self>,
        container: &Arc<ContainerObject>,
        delay: std::time::Duration,
        cause: Cause,
    ) {
        let container = Arc::clone(container);
        let Some(alive) = core.upgrade().map(|core| core.alive.subscribe()) else {
            return;
        };
        tokio::spawn(async move {
            let mut alive = alive;
            let mut life = container.life.subscribe();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = life.wait_for(|life| !life.restarting) => return,
                _ = alive.changed() => return,
            }
            let Some(core) = core.upgrade() else { return };
            hako_sys::failpoint!("container.restart.due");
            if let Err(error) = Box::pin(core.start_for(&container, cause)).await {
                tracing::warn!(container = container.id.short(), error = %error.chain(), "start a container again");
            }
        });
    }
}
