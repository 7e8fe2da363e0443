//! Pods and nodes for tests, with what a test is not about filled in.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A pod `default/p` with what is given on top.
pub fn pod_from(extra: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut pod, extra);
    if pod["metadata"]["uid"].is_null() {
        pod["metadata"]["uid"] = format!("uid-{}", pod["metadata"]["name"].as_str().unwrap()).into();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// A pod of a spec.
pub fn pod(spec: Value) -> Arc<Pod> {
    pod_from(json!({"spec": spec}))
}

/// A pod that asks for nothing.
pub fn pod_named(name: &str) -> Arc<Pod> {
    pod_from(json!({"metadata": {"name": name}}))
}

/// A pod that asks for cpu.
pub fn pod_with_cpu(name: &str, cpu: &str) -> Arc<Pod> {
    pod_from(json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
    }))
}

/// The same pod, bound.
pub fn bound(pod: Arc<Pod>, node: &str) -> Arc<Pod> {
    let mut pod = Arc::unwrap_or_clone(pod);
    pod.spec.as_mut().unwrap().node_name = Some(node.to_owned());
    Arc::new(pod)
}

/// A node of 4 cpus, 8Gi and 110 pods with what is given on top.
pub fn node_from(name: &str, extra: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut node, extra);
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A node of a size.
pub fn node(name: &str, cpu: &str, memory: &str) -> Arc<Node> {
    node_from(name, json!({"status": {"allocatable": {"cpu": cpu, "memory": memory}}}))
}
