//! The node as a whole.

use crate::{NodeConfig, NodeHandle, PodReport};
use hako_error::{Error, Kind, Result};
use std::net::SocketAddr;
use std::time::Duration;

/// The node agent.
#[derive(Debug)]
pub struct Node;

#[derive(Debug)]
pub(crate) struct Inner {}

impl Node {
    /// Registers the node, adopts what runs and keeps the pods bound to it running until the handle is dropped.
    ///
    /// # Errors
    /// When the API refuses the node or the server cannot listen.
    pub async fn start(config: NodeConfig) -> Result<NodeHandle> {
        let _ = config;
        Err(Error::new(Kind::Unimplemented, "the node is not built yet"))
    }
}

impl Inner {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }
    pub(crate) async fn ready(&self) {}
    pub(crate) fn pods(&self) -> Vec<PodReport> {
        Vec::new()
    }
    pub(crate) async fn teardown(&self, _grace: Duration) -> Result<()> {
        Ok(())
    }
    pub(crate) fn stop(&self) {}
}
