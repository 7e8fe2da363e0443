use serde_json::json;

use super::*;
use crate::testing::{node_from, pod, pod_from};

fn node(name: &str, extra: serde_json::Value) -> NodeInfo {
    let mut info = NodeInfo::new(name);
    info.set_node(node_from(name, extra));
    info
}

fn cpu(millis: i64) -> serde_json::Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": format!("{millis}m"), "memory": "1Gi"}}}]})
}

#[test]
fn the_emptier_node_has_more_room() {
    let (mut busy, idle) = (node("busy", json!({})), node("idle", json!({})));
    busy.add(&PodInfo::new(pod(cpu(2000))));
    let scores = least_allocated::score(&PodInfo::new(pod(cpu(100))), &[&busy, &idle]);
    assert!(scores[1] > scores[0], "{scores:?}");
}

#[test]
fn a_node_whose_cpu_and_memory_are_used_alike_is_balanced() {
    let (mut lopsided, even) = (node("lopsided", json!({})), node("even", json!({})));
    lopsided.add(&PodInfo::new(pod(cpu(3000))));
    let scores = balanced_allocation::score(&PodInfo::new(pod(cpu(500))), &[&lopsided, &even]);
    assert!((scores[1] - MAX).abs() < 0.001 && scores[0] < 80.0, "{scores:?}");
}

#[test]
fn preferences_count_by_weight() {
    let (a, b) = (
        node("a", json!({"metadata": {"labels": {"zone": "a"}}})),
        node("b", json!({"metadata": {"labels": {"zone": "b"}}})),
    );
    let term = |weight: i32, zone: &str| json!({"weight": weight, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}});
    let spec = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term(20, "a"), term(80, "b")]}}});
    assert_eq!(node_affinity::score(&PodInfo::new(pod(spec)), &[&a, &b]), [25.0, 100.0]);
}

#[test]
fn soft_taints_repel_without_refusing() {
    let tainted = node("a", json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}));
    assert_eq!(
        taints::score(&PodInfo::new(pod(json!({}))), &[&tainted, &node("b", json!({}))]),
        [0.0, 100.0]
    );
    let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
    assert_eq!(taints::score(&PodInfo::new(pod(tolerant)), &[&tainted]), [100.0]);
}

#[test]
fn siblings_are_spread() {
    let owned = |name: &str| {
        PodInfo::new(pod_from(
            json!({"metadata": {"name": name, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]}}),
        ))
    };
    let (mut a, b) = (node("a", json!({})), node("b", json!({})));
    a.add(&owned("1"));
    assert_eq!(spread::score(&owned("2"), &[&a, &b]), [0.0, 100.0]);
    a.remove(&owned("1"));
    assert_eq!(spread::score(&owned("2"), &[&a, &b]), [100.0, 100.0]);
}

#[test]
fn a_large_image_that_is_there_counts_under_each_of_its_names() {
    let there = node(
        "a",
        json!({"status": {"images": [{"names": ["docker.io/library/web:latest"], "sizeBytes": 600 << 20}]}}),
    );
    let absent = node("b", json!({}));
    for image in ["web", "web:latest", "docker.io/library/web:latest"] {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        let scores = image_locality::score(&PodInfo::new(pod(spec)), &[&there, &absent]);
        assert!(scores[0] > 50.0 && scores[1] == 0.0, "{image}: {scores:?}");
    }
}
