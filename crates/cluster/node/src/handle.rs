//! What others ask a running node.

use hako_error::Result;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A running node. Dropping it stops the agent and leaves every pod running.
#[derive(Debug)]
pub struct NodeHandle {
    pub(crate) inner: Arc<crate::node::Inner>,
}

/// What the node knows of a pod beyond its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Where it is in its life, in a word.
    pub stage: String,
    /// Why its sandbox or volumes could not be made.
    pub sandbox_error: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerReport>,
}

/// What the node knows of a container beyond its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerReport {
    /// Its name in the pod.
    pub name: String,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// When it is started again.
    pub retry_at: Option<Timestamp>,
    /// The last answer of a probe that failed.
    pub last_probe_failure: Option<String>,
}

impl NodeHandle {
    /// Where the node's HTTPS API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// Returns when the Node object says Ready.
    pub async fn ready(&self) {
        self.inner.ready().await;
    }

    /// What is known of all pods of this node.
    #[must_use]
    pub fn pods(&self) -> Vec<PodReport> {
        self.inner.pods()
    }

    /// What is known of one pod.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<PodReport> {
        let mut pods = self.inner.pods().into_iter();
        pods.find(|pod| pod.namespace == namespace && pod.name == name)
    }

    /// Stops every pod with at most `grace`, removes their sandboxes and files, and stops the agent. The API's
    /// objects stay: the next start runs them again.
    ///
    /// # Errors
    /// When something could not be removed in time; the error says of which pods.
    pub async fn teardown(&self, grace: Duration) -> Result<()> {
        self.inner.teardown(grace).await
    }

    /// Stops the agent and leaves every pod running; the next start adopts them.
    pub fn stop(&self) {
        self.inner.stop();
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.inner.stop();
    }
}
