//! Controllers: each makes observed state converge to desired state, one key at a time.
//!
//! Owns: Deployment, ReplicaSet and ReplicationController, EndpointSlice and Endpoints in both directions, Namespace,
//! garbage collection by owner, node lifecycle, ServiceAccount and its token Secrets, ResourceQuota status, ClusterRole
//! aggregation, certificate signing, protection of claims, volumes and ranges of service addresses, disruption budgets,
//! removal of finished Jobs, of lost pods and of tokens that nobody uses, storage version migrations.
//! Does not own: any state; all of it is in the API, reached through `hako-client` only.
//! Invariant: a step may be repeated, interrupted or run on stale caches; it then conflicts or does nothing, and
//! never makes a second one of something.
//!
//! Every controller is a folder of the same files: `mod.rs` says what it converges and which changes wake which
//! key; `sync.rs` is the step, its decisions pure functions of observed objects.

mod aggregation;
mod arrivals;
mod certificates;
mod conditions;
mod deployment;
mod discovery;
mod disruption;
mod endpointslice;
mod garbage;
mod mirroring;
mod namespace;
mod node_lifecycle;
mod pod_gc;
mod pods;
mod quota;
mod replicaset;
mod service_cidrs;
mod serviceaccount;
mod storage_migration;
mod token_cleanup;
mod tokens;
mod ttl;
mod volume_protection;
mod wiring;

use arrivals::Arrivals;
pub use certificates::CertificateSigner;
use hako_client::{Client, Informers, Recorder};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
pub use pod_gc::PodGc;
use std::sync::Arc;
pub use token_cleanup::TokenCleanUp;
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
    /// Who signs certificates that are asked for.
    pub signer: Arc<dyn CertificateSigner>,
    /// How pods are removed that nobody else removes.
    pub pod_gc: PodGc,
    /// How tokens are removed that nobody uses.
    pub token_clean_up: TokenCleanUp,
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
    let ControllersConfig { client, informers, ca_pem, signer, pod_gc, token_clean_up } = config;
    let arrivals = Arrivals::new();
    let events = |component| Recorder::new(client.clone(), component, None);
    let mut all = JoinSet::new();
    let replication = events("replication-controller");
    all.spawn(replicaset::run::<ReplicaSet>(
        client.clone(),
        informers.clone(),
        events("replicaset-controller"),
    ));
    all.spawn(replicaset::run::<ReplicationController>(client.clone(), informers.clone(), replication));
    all.spawn(deployment::run(client.clone(), informers.clone(), events("deployment-controller")));
    all.spawn(endpointslice::run(client.clone(), informers.clone()));
    all.spawn(namespace::run(client.clone(), informers.clone()));
    all.spawn(quota::run(client.clone(), informers.clone(), arrivals.clone()));
    all.spawn(garbage::run(client.clone(), events("garbage-collector-controller"), arrivals));
    all.spawn(aggregation::run(client.clone(), informers.clone()));
    all.spawn(mirroring::run(client.clone(), informers.clone()));
    all.spawn(certificates::run(client.clone(), informers.clone(), signer));
    let budgets = events("controllermanager");
    all.spawn(disruption::run(client.clone(), informers.clone(), budgets));
    all.spawn(ttl::run(client.clone(), informers.clone()));
    all.spawn(storage_migration::run(client.clone(), informers.clone()));
    all.spawn(pod_gc::run(client.clone(), informers.clone(), pod_gc));
    all.spawn(token_cleanup::run(client.clone(), informers.clone(), token_clean_up));
    all.spawn(tokens::run(client.clone(), informers.clone(), ca_pem.clone()));
    all.spawn(node_lifecycle::run(client.clone(), informers.clone(), events("node-controller")));
    all.spawn(volume_protection::run(client.clone(), informers.clone()));
    all.spawn(service_cidrs::run(client.clone(), informers.clone()));
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
