//! Claims and volumes stay as long as something uses them.

use crate::cluster::{Cluster, eventually};
use hako_client::{DeleteOptions, Patch};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

fn claim() -> Value {
    json!({ "metadata": { "name": "data" }, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
    } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_goes_with_the_last_pod_that_uses_it() {
    let cluster = Cluster::start().await;
    cluster.create::<PersistentVolumeClaim>(claim()).await;
    let volume = json!({ "name": "v", "persistentVolumeClaim": { "claimName": "data" } });
    let pod = json!({ "metadata": { "name": "user" }, "spec": {
        "containers": [{ "name": "c", "image": "i" }], "volumes": [volume],
    } });
    cluster.create::<Pod>(pod).await;
    let pods = cluster.api::<Pod>();
    let is_bound = async || pods.get("user").await.unwrap().spec.unwrap().node_name.is_some();
    eventually("the pod has a node", is_bound).await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    claims.delete("data", &DeleteOptions::default()).await.unwrap();
    // What the controller does with a claim that nothing uses shows that it has seen this one too.
    let mut other = claim();
    other["metadata"]["name"] = "unused".into();
    cluster.create::<PersistentVolumeClaim>(other).await;
    claims.delete("unused", &DeleteOptions::default()).await.unwrap();
    let is_gone = async |name: &str| claims.get_opt(name).await.unwrap().is_none();
    eventually("the unused claim is gone", async || is_gone("unused").await).await;
    assert!(!is_gone("data").await, "the pod uses it");
    pods.delete("user", &DeleteOptions::default()).await.unwrap();
    eventually("the claim is gone", async || is_gone("data").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_goes_when_it_is_not_bound_any_more() {
    let cluster = Cluster::start().await;
    let volume = json!({ "metadata": { "name": "v" }, "spec": {
        "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/v" },
    } });
    let volumes = cluster.client.all::<PersistentVolume>();
    volumes.create(&serde_json::from_value(volume).unwrap()).await.unwrap();
    let phase = |phase: &str| Patch::Merge(json!({ "status": { "phase": phase } }));
    volumes.patch_status("v", &phase("Bound")).await.unwrap();
    volumes.delete("v", &DeleteOptions::default()).await.unwrap();
    let marked = volumes.get("v").await.unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    volumes.patch_status("v", &phase("Released")).await.unwrap();
    eventually("the volume is gone", async || volumes.get_opt("v").await.unwrap().is_none()).await;
}
