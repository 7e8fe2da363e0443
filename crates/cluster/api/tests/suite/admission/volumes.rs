//! Claims and volumes in use, and their growth.

use serde_json::{Value, json};

use super::{assert_forbidden, create, make, patch};
use crate::support::World;

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "c",
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_volumes_stay_while_they_may_be_in_use() {
    let world = World::start().await;
    let made = create(&world, "persistentvolumeclaims", claim("a")).await.unwrap();
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let volume = json!({"metadata": {"name": "v", "finalizers": ["x.example/y"]}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"},
    }});
    let made = make(&world, "persistentvolumes", volume).await;
    assert_eq!(made["metadata"]["finalizers"], json!(["x.example/y", "kubernetes.io/pv-protection"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_bound_claims_of_a_class_that_allows_it_grow() {
    let world = World::start().await;
    create(&world, "persistentvolumeclaims", claim("a")).await.unwrap();
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let grow = async || patch(&world, "persistentvolumeclaims", "a", None, larger.clone()).await;
    grow().await.unwrap_err();
    let bound = json!({"status": {"phase": "Bound"}});
    patch(&world, "persistentvolumeclaims", "a", Some("status"), bound).await.unwrap();
    assert_forbidden(grow().await, "only dynamically provisioned pvc can be resized and the storageclass");
    let class = json!({"metadata": {"name": "c"}, "provisioner": "p", "allowVolumeExpansion": true});
    make(&world, "storageclasses", class).await;
    assert_eq!(grow().await.unwrap()["spec"]["resources"]["requests"]["storage"], "2Gi");
}
