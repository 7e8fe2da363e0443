//! Stopping all processes of a container where they are, and letting them go on.

use crate::Action;
use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::{EngineError, blocking};
use hako_error::Result;
use std::sync::Arc;

impl Core {
    pub(crate) async fn pause(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let _op = container.op.lock().await;
        if !container.state().is_running() {
            return Err(container.not_running().into());
        }
        if container.status.read().paused {
            return Err(EngineError::Paused { id: container.short() }.into());
        }
        self.freeze(container, true).await?;
        container.change(|status, _| status.paused = true);
        self.container_event(container, Action::Pause);
        Ok(())
    }

    pub(crate) async fn unpause(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Result<()> {
        let _op = container.op.lock().await;
        if !container.status.read().paused {
            return Err(EngineError::NotPaused { id: container.short() }.into());
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
        container.change(|status, _| status.paused = false);
        self.container_event(container, Action::Unpause);
        Ok(())
    }

    async fn freeze(&self, container: &ContainerObject, frozen: bool) -> Result<()> {
        let path = self.cgroup(&container.sandbox.id, Some(&container.id));
        let group = self.config.cgroups.open(&path)?;
        blocking(move || Ok(group.freeze(frozen)?)).await
    }
}
