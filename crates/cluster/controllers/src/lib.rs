//! Controllers: each makes observed state converge to desired state, one key at a time.
//!
//! Owns: Deployment, ReplicaSet, EndpointSlice and Endpoints, Namespace, garbage collection by owner, node
//! lifecycle, ServiceAccount, protection of claims and volumes. Does not own: any state; all of it is in the API, reached through `hako-client` only.
//! Invariant: a step may be repeated, interrupted or run on stale caches; it then conflicts or does nothing, and
//! never makes a second one of something.
//!
//! Every controller is a folder of the same files: `mod.rs` says what it converges and which changes wake which
//! key; `sync.rs` is the step, its decisions pure functions of observed objects.

mod arrivals;
mod conditions;
mod deployment;
mod discovery;
mod endpointslice;
mod garbage;
mod namespace;
mod node_lifecycle;
mod pods;
mod replicaset;
mod serviceaccount;
mod volume_protection;
mod wiring;

use arrivals::Arrivals;
use hako_client::{Client, Informers, Recorder};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the controllers are started with.
#[derive(Clone, Debug)]
pub struct ControllersConfig {
    /// The API, as `kube-controller-manager`.
    pub client: Client,
    /// The process's shared caches.
    pub informers: Informers,
    /// The cluster's certificate authority, PEM, for `kube-root-ca.crt` in every namespace.
    pub ca_pem: String,
}

/// Running controllers. Dropping it stops them.
#[derive(Debug)]
pub struct Handle {
    stop: CancellationToken,
}

impl Handle {
    /// Stops all controllers; what they were about to do is done by the next start.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts all controllers. Needs a tokio runtime.
#[must_use]
pub fn start(config: ControllersConfig) -> Handle {
    let ControllersConfig { client, informers, ca_pem } = config;
    let events = |component| Recorder::new(client.clone(), component, None);
    let mut all = JoinSet::new();
    all.spawn(replicaset::run(client.clone(), informers.clone(), events("replicaset-controller")));
    all.spawn(deployment::run(client.clone(), informers.clone(), events("deployment-controller")));
    all.spawn(endpointslice::run(client.clone(), informers.clone()));
    all.spawn(namespace::run(client.clone(), informers.clone()));
    all.spawn(garbage::run(client.clone(), events("garbage-collector-controller"), Arrivals::new()));
    all.spawn(node_lifecycle::run(client.clone(), informers.clone(), events("node-controller")));
    all.spawn(volume_protection::run(client.clone(), informers.clone()));
    all.spawn(serviceaccount::run(client, informers, ca_pem));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = watch_over(&mut all) => {}
        }
    });
    Handle { stop }
}

/// Controllers end only by a fault of ours; it is said aloud, and the others go on.
async fn watch_over(all: &mut JoinSet<()>) {
    while let Some(ended) = all.join_next().await {
        match ended {
            Ok(()) => tracing::error!("a controller ended"),
            Err(error) => tracing::error!(%error, "a controller failed"),
        }
    }
}
