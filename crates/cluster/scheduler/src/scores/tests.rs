use serde_json::json;

use super::*;
use crate::cache::Cache;
use crate::testing::{bound, node_from, pod, pod_from};

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

/// Nodes a1 and a2 in zone a, b1 in zone b, and x without a zone.
fn zones() -> Cache {
    let mut cache = Cache::default();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        cache.set_node(node_from(name, json!({"metadata": {"labels": {"zone": zone, "host": name}}})));
    }
    cache.set_node(node_from("x", json!({"metadata": {"labels": {"host": "x"}}})));
    cache
}

fn put(cache: &mut Cache, node: &str, name: &str, labels: &serde_json::Value, spec: &serde_json::Value) {
    let pod = pod_from(json!({"metadata": {"name": name, "labels": labels}, "spec": spec}));
    cache.apply(&bound(pod, node));
}

fn wish(kind: &str, weight: i32, app: &str) -> serde_json::Value {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}});
    let terms = json!([{"weight": weight, "podAffinityTerm": term}]);
    json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": terms}}})
}

fn rated(cache: &Cache, pod: &PodInfo, score: AmongOthers) -> Vec<f64> {
    let nodes: Vec<&NodeInfo> = cache.nodes().collect();
    score(pod, &Others::of(pod, cache), &nodes)
}

#[test]
fn pods_that_like_each_other_attract_and_those_that_do_not_repel() {
    let mut cache = zones();
    put(&mut cache, "a1", "w", &json!({"app": "web"}), &json!({}));
    let mind = |spec: serde_json::Value| PodInfo::new(pod(spec));
    let rate = |pod: &PodInfo| rated(&cache, pod, inter_pod_affinity::score);
    assert_eq!(rate(&mind(wish("podAffinity", 5, "web"))), [100.0, 100.0, 0.0, 0.0]);
    assert_eq!(rate(&mind(wish("podAntiAffinity", 5, "web"))), [0.0, 0.0, 100.0, 100.0]);
    assert_eq!(rate(&mind(wish("podAffinity", 5, "db"))), [0.0; 4], "nobody to like");
}

#[test]
fn what_pods_that_are_there_wish_and_require_counts_as_well() {
    let web = PodInfo::new(pod_from(json!({"metadata": {"labels": {"app": "web"}}})));
    let mut cache = zones();
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
    let required =
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    put(&mut cache, "a1", "fan", &json!({}), &required);
    assert_eq!(rated(&cache, &web, inter_pod_affinity::score), [100.0, 100.0, 0.0, 0.0]);
    put(&mut cache, "b1", "friend", &json!({}), &wish("podAffinity", 4, "web"));
    assert_eq!(rated(&cache, &web, inter_pod_affinity::score), [25.0, 25.0, 100.0, 0.0]);
    put(&mut cache, "b1", "foe", &json!({}), &wish("podAntiAffinity", 5, "web"));
    assert_eq!(rated(&cache, &web, inter_pod_affinity::score), [100.0, 100.0, 0.0, 50.0]);
}

#[test]
fn a_spread_that_is_a_wish_favours_the_emptier_domain_and_knows_no_node_without_one() {
    let mut cache = zones();
    let wish = |key: &str| {
        let constraint = json!({"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "web"}}});
        PodInfo::new(pod_from(
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"topologySpreadConstraints": [constraint]}}),
        ))
    };
    assert_eq!(rated(&cache, &wish("zone"), topology_spread::score), [100.0, 100.0, 100.0, 0.0]);
    put(&mut cache, "a1", "w1", &json!({"app": "web"}), &json!({}));
    assert_eq!(rated(&cache, &wish("zone"), topology_spread::score), [0.0, 0.0, 100.0, 0.0]);
    assert_eq!(rated(&cache, &wish("host"), topology_spread::score), [0.0, 100.0, 100.0, 100.0]);
    put(&mut cache, "a2", "w2", &json!({"app": "web"}), &json!({}));
    put(&mut cache, "b1", "w3", &json!({"app": "web"}), &json!({}));
    let scores = rated(&cache, &wish("zone"), topology_spread::score);
    assert!(scores[0] < scores[2] && scores[0] > 0.0, "{scores:?}");
}

#[test]
fn constraints_of_its_own_take_the_place_of_spreading_by_owner() {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]);
    let constraint = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"});
    let pod = PodInfo::new(pod_from(
        json!({"metadata": {"ownerReferences": owner}, "spec": {"topologySpreadConstraints": [constraint]}}),
    ));
    let (mut a, b) = (node("a", json!({})), node("b", json!({})));
    a.add(&pod);
    assert_eq!(spread::score(&pod, &[&a, &b]), [0.0, 0.0]);
}
