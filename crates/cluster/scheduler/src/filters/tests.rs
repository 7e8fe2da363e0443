use serde_json::json;

use super::*;
use crate::testing::{node_from, pod};

fn node(extra: serde_json::Value) -> NodeInfo {
    let mut info = NodeInfo::new("n");
    info.set_node(node_from("n", extra));
    info
}

fn refused(spec: serde_json::Value, node: &NodeInfo) -> Vec<String> {
    first_refusal(&PodInfo::new(pod(spec)), &Others::default(), node)
}

#[test]
fn a_pod_that_asks_for_nothing_fits_an_empty_node() {
    assert!(refused(json!({}), &node(json!({}))).is_empty());
}

#[test]
fn a_node_without_room_says_what_is_short() {
    let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "5", "memory": "20Gi", "example.com/gpu": "1"}}}]});
    assert_eq!(
        refused(spec, &node(json!({}))),
        ["Insufficient cpu", "Insufficient example.com/gpu", "Insufficient memory"]
    );
    let full = node(json!({"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "0"}}}));
    assert_eq!(refused(json!({}), &full), ["Too many pods"]);
}

#[test]
fn requests_may_use_a_node_up_to_the_last_bit() {
    let spec =
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "4", "memory": "8Gi"}}}]});
    assert!(refused(spec, &node(json!({}))).is_empty());
}

#[test]
fn a_cordoned_node_takes_only_pods_that_tolerate_it() {
    let cordoned = node(json!({"spec": {"unschedulable": true}}));
    assert_eq!(refused(json!({}), &cordoned), ["node(s) were unschedulable"]);
    let tolerant = json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]});
    assert!(refused(tolerant, &cordoned).is_empty());
}

#[test]
fn taints_need_a_toleration_of_their_key_value_and_effect() {
    let tainted =
        node(json!({"spec": {"taints": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]}}));
    let reason = ["node(s) had untolerated taint {dedicated: gpu}"];
    for tolerated in [
        json!({"operator": "Exists"}),
        json!({"key": "dedicated", "operator": "Exists"}),
        json!({"key": "dedicated", "value": "gpu"}),
        json!({"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}),
    ] {
        assert!(refused(json!({"tolerations": [tolerated]}), &tainted).is_empty(), "{tolerated}");
    }
    for refused_by in [
        json!({"key": "dedicated", "value": "db"}),
        json!({"key": "dedicated", "value": "gpu", "effect": "NoExecute"}),
        json!({"key": "other", "operator": "Exists"}),
    ] {
        assert_eq!(refused(json!({"tolerations": [refused_by]}), &tainted), reason, "{refused_by}");
    }
    let soft = node(json!({"spec": {"taints": [{"key": "a", "effect": "PreferNoSchedule"}]}}));
    assert!(refused(json!({}), &soft).is_empty());
}

#[test]
fn selectors_and_affinity_have_to_match_the_labels() {
    let labelled = node(json!({"metadata": {"labels": {"zone": "a", "cores": "8"}}}));
    let reason = ["node(s) didn't match Pod's node affinity/selector"];
    assert!(refused(json!({"nodeSelector": {"zone": "a"}}), &labelled).is_empty());
    assert_eq!(refused(json!({"nodeSelector": {"zone": "b"}}), &labelled), reason);
    let affinity = |terms: serde_json::Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    let expression = |key: &str, operator: &str, values: serde_json::Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    for (term, fits) in [
        (expression("zone", "In", json!(["a", "b"])), true),
        (expression("zone", "NotIn", json!(["a"])), false),
        (expression("absent", "NotIn", json!(["a"])), true),
        (expression("zone", "Exists", json!([])), true),
        (expression("zone", "DoesNotExist", json!([])), false),
        (expression("cores", "Gt", json!(["7"])), true),
        (expression("cores", "Lt", json!(["8"])), false),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}), true),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}), false),
        (json!({}), false),
    ] {
        assert_eq!(refused(affinity(json!([term])), &labelled).is_empty(), fits, "{term}");
    }
    let either = affinity(json!([{}, expression("zone", "Exists", json!([]))]));
    assert!(refused(either, &labelled).is_empty(), "one matching term is enough");
}

#[test]
fn ports_of_the_machine_are_given_once_per_address_and_protocol() {
    let port = |port: i32, ip: &str, protocol: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port, "hostIP": ip, "protocol": protocol}]}]});
    let mut taken = node(json!({}));
    taken.add(&PodInfo::new(pod(port(8080, "127.0.0.1", "TCP"))));
    let reason = ["node(s) didn't have free ports for the requested pod ports"];
    assert_eq!(refused(port(8080, "127.0.0.1", "TCP"), &taken), reason);
    assert_eq!(refused(port(8080, "", "TCP"), &taken), reason);
    assert!(refused(port(8080, "192.0.2.1", "TCP"), &taken).is_empty());
    assert!(refused(port(8080, "", "UDP"), &taken).is_empty());
    assert!(refused(port(8081, "", "TCP"), &taken).is_empty());
    let on_host =
        json!({"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]});
    assert_eq!(refused(on_host, &taken), reason);
}

#[test]
fn the_first_filter_speaks_for_a_node_and_all_are_known() {
    let bad = node(json!({"spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoExecute"}]}}));
    let pod = PodInfo::new(pod(json!({"nodeSelector": {"zone": "b"}})));
    let others = Others::default();
    assert_eq!(first_refusal(&pod, &others, &bad), ["node(s) were unschedulable"]);
    let names: Vec<_> = refusing(&pod, &others, &bad).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["NodeUnschedulable", "TaintToleration", "NodeAffinity"]);
}
