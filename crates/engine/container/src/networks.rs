//! The networks that people make, and who is connected to them, as the engine's face shows them.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::blocking;
use crate::{Action, EndpointSpec, Engine, NetworkMode, PortMapping};
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use hako_network::{NetworkRequest, NetworkSpec, Networks};
use std::sync::Arc;

impl Engine {
    /// The networks that people make.
    ///
    /// # Errors
    /// `FailedPrecondition` if this engine was opened without any.
    pub fn networks(&self) -> Result<Arc<Networks>> {
        self.core.networks()
    }

    /// Makes a network.
    ///
    /// # Errors
    /// As [`Networks::create`].
    pub async fn create_network(&self, request: NetworkRequest) -> Result<NetworkSpec> {
        let networks = self.core.networks()?;
        let net = blocking(move || networks.create(request)).await?;
        self.core.network_event(&net, Action::Create);
        Ok(net)
    }

    /// Removes a network that nobody is connected to.
    ///
    /// # Errors
    /// As [`Networks::remove`].
    pub async fn remove_network(&self, name: &str) -> Result<NetworkSpec> {
        let networks = self.core.networks()?;
        let net = networks.find(name)?;
        let id = net.id.clone();
        blocking(move || networks.remove(&id)).await?;
        if net.config_only.is_none() {
            // Docker tells of their making, and not of their end.
            self.core.network_event(&net, Action::Destroy);
        }
        Ok(net)
    }

    /// Connects a container to a network, also while it runs.
    ///
    /// # Errors
    /// `Forbidden` if it is connected already, `Invalid` if it has no network namespace of its own.
    pub async fn connect_network(&self, id: &ContainerId, mut spec: EndpointSpec) -> Result<()> {
        let (core, container) = (&self.core, self.core.container(id)?);
        check_mode(&container)?;
        spec.network = Core::network(&*core.networks()?, &spec.network)?.name;
        let _exclusive = container.sandbox.op.write().await;
        core.connect_more(&container.sandbox, spec).await
    }

    /// Takes a container off a network, also while it runs.
    ///
    /// # Errors
    /// `Forbidden` if it is not connected to it.
    pub async fn disconnect_network(&self, id: &ContainerId, network: &str) -> Result<()> {
        let (core, container) = (&self.core, self.core.container(id)?);
        let net = core.networks()?.find(network)?;
        let _exclusive = container.sandbox.op.write().await;
        core.disconnect_from(&container.sandbox, &net).await
    }

    /// Takes a link of the default network away from the container that has it, also while it runs: its hosts file has the
    /// name no more, its variables stay until its next start. `false` if it has none of that name.
    ///
    /// # Errors
    /// When the container is not there or its files cannot be written.
    pub async fn unlink(&self, id: &ContainerId, alias: &str) -> Result<bool> {
        let (core, container) = (&self.core, self.core.container(id)?);
        let _exclusive = container.sandbox.op.write().await;
        core.unlink(&container.sandbox, alias).await
    }

    /// Takes a container that was made to be in no network off that, so that it may be connected to others.
    ///
    /// # Errors
    /// `Forbidden` if it was not made so, or was taken off before.
    pub async fn leave_none(&self, id: &ContainerId) -> Result<()> {
        let (core, container) = (&self.core, self.core.container(id)?);
        let _exclusive = container.sandbox.op.write().await;
        match container.sandbox.network_mode() {
            NetworkMode::None => core.leave_none(&container.sandbox),
            _ => {
                let text = format!("container {id} is not connected to network none");
                Err(Error::new(Kind::Forbidden, text))
            }
        }
    }

    /// Makes `ports` the ports of the host that lead to a container, also while it runs.
    ///
    /// # Errors
    /// `AlreadyExists` naming the host port that is in use; then nothing has changed.
    pub async fn publish(&self, id: &ContainerId, ports: Vec<PortMapping>) -> Result<()> {
        let container = self.core.container(id)?;
        check_mode(&container)?;
        let _exclusive = container.sandbox.op.write().await;
        self.core.republish(&container.sandbox, ports).await
    }
}

fn check_mode(container: &ContainerObject) -> Result<()> {
    let text = match container.sandbox.network_mode() {
        NetworkMode::Endpoints => return Ok(()),
        NetworkMode::Host | NetworkMode::Shared => {
            "container sharing network namespace with another container or host cannot be connected to any other network"
        }
        NetworkMode::None => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        NetworkMode::Bridge => "container was made by an older version: make it again to change its networks",
    };
    Err(Error::new(Kind::Invalid, text))
}
