//! Binds pods, reports them Ready, and lets them end: what a node does, without containers.

use hako_client::{Api, Change, Client, DeleteOptions, Informers, Patch};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use tokio::task::JoinHandle;

pub const NAME: &str = "node";

pub struct FakeNode {
    task: JoinHandle<()>,
    counts: Arc<Counts>,
}

/// What was ever seen at once.
#[derive(Default)]
pub struct Counts {
    next_ip: AtomicI64,
    pub most: AtomicUsize,
    pub fewest_ready: AtomicUsize,
}

impl FakeNode {
    pub async fn start(client: &Client, informers: &Informers) -> Self {
        let node = json!({ "metadata": { "name": NAME }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        client.all::<Node>().create(&serde_json::from_value(node).unwrap()).await.unwrap();
        let lease = json!({ "metadata": { "name": NAME }, "spec": { "holderIdentity": NAME, "renewTime": "2026-01-01T00:00:00.000000Z" } });
        let leases: Api<Lease> = client.namespaced("kube-node-lease");
        // The namespace may not be there in every server.
        let _ = leases.create(&serde_json::from_value(lease).unwrap()).await;
        let counts = Arc::new(Counts::default());
        counts.fewest_ready.store(usize::MAX, Ordering::Relaxed);
        let pods = informers.get::<Pod>();
        let (client, shared) = (client.clone(), Arc::clone(&counts));
        let task = tokio::spawn(async move {
            let mut changes = pods.changes();
            while let Some(change) = changes.next().await {
                let all = pods.list();
                let is_live = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_none();
                shared.most.fetch_max(all.iter().filter(is_live).count(), Ordering::Relaxed);
                let ready = all.iter().filter(is_live).filter(|pod| is_ready(pod)).count();
                shared.fewest_ready.fetch_min(ready, Ordering::Relaxed);
                let due = match change {
                    Change::Applied { new, .. } => vec![new],
                    Change::Resync => all,
                    Change::Deleted(_) => Vec::new(),
                };
                for pod in due {
                    tokio::spawn(step(client.clone(), pod, Arc::clone(&shared)));
                }
            }
        });
        Self { task, counts }
    }

    /// The most live pods there ever were, and the fewest Ready ones, since the last call.
    pub fn extremes(&self) -> (usize, usize) {
        let most = self.counts.most.swap(0, Ordering::Relaxed);
        (most, self.counts.fewest_ready.swap(usize::MAX, Ordering::Relaxed))
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// One step of a pod's life. Losing a race against another step is as good as winning it.
async fn step(client: Client, pod: Arc<Pod>, counts: Arc<Counts>) {
    let api: Api<Pod> = client.namespaced(pod.metadata.namespace.as_deref().unwrap());
    let name = pod.metadata.name.as_deref().unwrap();
    if pod.metadata.deletion_timestamp.is_some() {
        let _ = api.delete(name, &DeleteOptions::now()).await;
    } else if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
        let _ = api.bind(name, pod.metadata.uid.as_deref(), NAME).await;
    } else if !is_ready(&pod) && name_of_image(&pod) != "broken" {
        let ip = counts.next_ip.fetch_add(1, Ordering::Relaxed);
        let condition =
            json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({ "phase": "Running", "podIP": format!("10.1.{}.{}", ip / 250, ip % 250 + 1), "conditions": [condition] });
        let _ = api.patch_status(name, &Patch::Strategic(json!({ "status": status }))).await;
    }
}

fn name_of_image(pod: &Pod) -> &str {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.as_deref()).unwrap_or("")
}
