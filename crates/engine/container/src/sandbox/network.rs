//! The sandbox's way into its network.

use super::SandboxObject;
use crate::core::Core;
use crate::error::{blocking, io};
use crate::files::Reached;
use crate::{NetworkMode, PortMapping, Protocol};
use hako_error::{Error, Kind, Result};
use hako_network::{Ahead, Attach, Attachment, PublishedPort};
use hako_runtime::Shim;
use std::sync::Arc;

pub(super) fn granted(port: &PublishedPort) -> PortMapping {
    PortMapping {
        host_ip: port.host_ip,
        host_port: port.host_port,
        host_port_last: 0,
        container_port: port.container_port,
        protocol: match port.protocol {
            hako_network::Protocol::Tcp => Protocol::Tcp,
            hako_network::Protocol::Udp => Protocol::Udp,
            hako_network::Protocol::Sctp => Protocol::Sctp,
        },
    }
}

pub(super) fn published(port: &PortMapping) -> PublishedPort {
    let protocol = match port.protocol {
        Protocol::Tcp => hako_network::Protocol::Tcp,
        Protocol::Udp => hako_network::Protocol::Udp,
        Protocol::Sctp => hako_network::Protocol::Sctp,
    };
    PublishedPort {
        host_ip: port.host_ip,
        host_port: port.host_port,
        container_port: port.container_port,
        protocol,
    }
}

impl Core {
    /// Gives the sandbox its address and completes its files.
    pub(crate) async fn connect(
        &self,
        sandbox: &Arc<SandboxObject>,
        shim: &Shim,
        ahead: Option<Arc<Ahead>>,
    ) -> Result<Option<Attachment>> {
        match sandbox.network_mode() {
            NetworkMode::Bridge => self.attach_to_bridge(sandbox, shim).await.map(Some),
            NetworkMode::Endpoints => self.connect_endpoints(sandbox, shim, ahead).await.map(|()| None),
            NetworkMode::Host | NetworkMode::None | NetworkMode::Shared => Ok(None),
        }
    }

    async fn attach_to_bridge(&self, sandbox: &Arc<SandboxObject>, shim: &Shim) -> Result<Attachment> {
        let spec = &sandbox.record.spec;
        let Some(network) = self.config.network.clone() else {
            let text = "this engine has no bridge network: use the host's network or none";
            return Err(Error::new(Kind::FailedPrecondition, text));
        };
        let ports = spec.ports.iter().map(published).collect();
        let request = Attach { id: sandbox.id.to_string(), netns: shim.netns(), ports };
        let sandbox = Arc::clone(sandbox);
        blocking(move || {
            let attachment = network.attach(&request)?;
            let (files, record) = (sandbox.files(), &sandbox.record);
            files
                .write(&record.spec, &record.hostname, &Reached::at(attachment.ip.into()))
                .map_err(io("write", &sandbox.dir))?;
            Ok(attachment)
        })
        .await
    }
}
