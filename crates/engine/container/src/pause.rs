//! Stopping all processes of a container where they are, and letting them go on.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::{EngineError, blocking};
use crate::{Action, Engine};
use hako_error::Result;
use hako_names::ContainerId;
use std::sync::Arc;

impl Core {
    pub(crate) async fn pause(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let _op = container.op.lock().await;
        if !container.state().is_running() {
            return Err(container.not_running().into());
        }
        if container.status.read().paused {
            return Err(EngineError::AlreadyPaused { id: container.id.to_string() }.into());
        }
        self.freeze(container, true).await?;
        hako_sys::failpoint!("container.pause.frozen");
        container.change(|status, _| status.paused = true);
        hako_sys::failpoint!("container.pause.recorded");
        self.container_event(container, Action::Pause);
        Ok(())
    }

    pub(crate) async fn unpause(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let _op = container.op.lock().await;
        if !container.status.read().paused {
            return Err(EngineError::NotPaused { id: container.id.to_string() }.into());
        }
        self.go_on(container).await
    }

    /// Lets the processes of a container go on, if they stand still: a signal is taken only then.
    pub(crate) async fn thaw(&self, container: &ContainerObject) -> Result<()> {
        // A pause in progress ends first, so that what is seen here is true.
        let _op = container.op.lock().await;
        if !container.status.read().paused {
            return Ok(());
        }
        self.go_on(container).await
    }

    async fn go_on(&self, container: &ContainerObject) -> Result<()> {
        self.freeze(container, false).await?;
        hako_sys::failpoint!("container.unpause.thawed");
        container.change(|status, _| status.paused = false);
        hako_sys::failpoint!("container.unpause.recorded");
        self.container_event(container, Action::Unpause);
        Ok(())
    }

    pub(crate) async fn freeze(&self, container: &ContainerObject, frozen: bool) -> Result<()> {
        let path = self.cgroup(&container.sandbox.id, Some(&container.id));
        let group = self.config.cgroups.open(&path)?;
        blocking(move || Ok(group.freeze(frozen)?)).await
    }
}

impl Engine {
    /// Does something while no process of a container runs. One that does not run, or is paused, stays as it is. Who
    /// gives up waiting does not leave it standing still; after a crash the next open lets it go on.
    ///
    /// # Errors
    /// When the container is not there or cannot be held.
    pub async fn standing_still<T: Send + 'static>(
        &self,
        id: &ContainerId,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (core, container) = (Arc::clone(&self.core), self.core.container(id)?);
        let task = tokio::spawn(async move {
            let _op = container.op.lock().await;
            let is_held = container.state().is_running() && !container.status.read().paused;
            if is_held {
                core.freeze(&container, true).await?;
            }
            hako_sys::failpoint!("container.hold.frozen");
            let done = work.await;
            hako_sys::failpoint!("container.hold.done");
            if is_held {
                core.freeze(&container, false).await?;
            }
            Ok(done)
        });
        task.await.map_err(|source| EngineError::Task { source })?
    }
}
