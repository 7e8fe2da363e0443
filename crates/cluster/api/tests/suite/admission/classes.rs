//! Default classes of storage and of ingresses, and runtime classes.

use serde_json::{Value, json};

use super::{assert_forbidden, create, make, pod};
use crate::support::World;

fn claim(name: &str, spec: Value) -> Value {
    let mut claim = json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    for (key, value) in spec.as_object().into_iter().flatten() {
        claim["spec"][key] = value.clone();
    }
    claim
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_class_gets_the_default_one() {
    let world = World::start().await;
    let class = |name: &str, is_default: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": is_default});
        json!({"metadata": {"name": name, "annotations": annotations}, "provisioner": "p"})
    };
    let made = create(&world, "persistentvolumeclaims", claim("a", json!({}))).await.unwrap();
    assert_eq!(made["spec"].get("storageClassName"), None, "there is no default");
    make(&world, "storageclasses", class("slow", "false")).await;
    make(&world, "storageclasses", class("fast", "true")).await;
    for (name, spec, wanted) in [
        ("b", json!({}), "fast"),
        ("c", json!({"storageClassName": "slow"}), "slow"),
        ("d", json!({"storageClassName": ""}), ""),
    ] {
        let made = create(&world, "persistentvolumeclaims", claim(name, spec)).await.unwrap();
        assert_eq!(made["spec"]["storageClassName"], wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_without_a_class_gets_the_default_one() {
    let world = World::start().await;
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"name": "web", "annotations": annotations}, "spec": {"controller": "c.example/c"}});
    make(&world, "ingressclasses", class).await;
    let ingress = |name: &str, annotations: Value| {
        let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
        json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"defaultBackend": backend}})
    };
    let made = create(&world, "ingresses", ingress("a", json!({}))).await.unwrap();
    assert_eq!(made["spec"]["ingressClassName"], "web");
    let old = ingress("b", json!({"kubernetes.io/ingress.class": "other"}));
    let made = create(&world, "ingresses", old).await.unwrap();
    assert_eq!(made["spec"].get("ingressClassName"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_take_over_what_their_runtime_class_says() {
    let world = World::start().await;
    let toleration = json!({"key": "sandboxed", "operator": "Exists"});
    let class = json!({
        "metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [toleration]},
    });
    make(&world, "runtimeclasses", class).await;
    let named = json!({"runtimeClassName": "vm"});
    let made = create(&world, "pods", pod("a", named.clone())).await.unwrap();
    let spec = &made["spec"];
    assert_eq!(
        (&spec["overhead"], &spec["nodeSelector"]),
        (&json!({"memory": "64Mi"}), &json!({"vm": "yes"}))
    );
    assert!(spec["tolerations"].as_array().unwrap().contains(&toleration), "{spec}");
    let refused = create(&world, "pods", pod("b", json!({"runtimeClassName": "none"}))).await;
    assert_forbidden(refused, "pod rejected: RuntimeClass \"none\" not found");
    let refused = create(&world, "pods", pod("c", json!({"overhead": {"memory": "1Mi"}}))).await;
    assert_forbidden(
        refused,
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
    );
    let mut other = pod("d", named.clone());
    other["spec"]["overhead"] = json!({"memory": "1Mi"});
    assert_forbidden(
        create(&world, "pods", other).await,
        "Pod's Overhead doesn't match RuntimeClass's defined Overhead",
    );
    let mut elsewhere = pod("e", named);
    elsewhere["spec"]["nodeSelector"] = json!({"vm": "no"});
    let text = "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no";
    assert_forbidden(create(&world, "pods", elsewhere).await, text);
}
