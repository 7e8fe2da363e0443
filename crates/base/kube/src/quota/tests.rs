use super::*;
use serde_json::json;

fn shown(usage: &Usage) -> Vec<String> {
    usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
}

#[test]
fn a_pod_takes_what_runs_together_or_the_most_of_what_runs_before() {
    let with = |cpu: &str| json!({ "requests": { "cpu": cpu }, "limits": { "memory": "1Gi" } });
    let pod = json!({ "spec": {
        "containers": [{ "resources": with("100m") }, { "resources": with("200m") }],
        "initContainers": [
            { "resources": with("50m"), "restartPolicy": "Always" },
            { "resources": with("400m") },
        ],
        "overhead": { "cpu": "10m", "memory": "1Mi" },
    } });
    let usage = usage(("", "pods"), &pod);
    assert_eq!(
        shown(&usage),
        [
            "count/pods=1",
            "cpu=460m",
            "limits.memory=3073Mi",
            "memory=1Mi",
            "pods=1",
            "requests.cpu=460m",
            "requests.memory=1Mi"
        ]
    );
}

#[test]
fn a_pod_that_has_ended_takes_only_its_place() {
    let pod = json!({ "spec": { "containers": [{ "resources": { "requests": { "cpu": "1" } } }] }, "status": { "phase": "Failed" } });
    assert_eq!(shown(&usage(("", "pods"), &pod)), ["count/pods=1"]);
}

#[test]
fn claims_count_for_all_and_for_their_class() {
    let claim =
        json!({ "spec": { "storageClassName": "fast", "resources": { "requests": { "storage": "2Gi" } } } });
    assert_eq!(
        shown(&usage(("", "persistentvolumeclaims"), &claim)),
        [
            "count/persistentvolumeclaims=1",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1",
            "fast.storageclass.storage.k8s.io/requests.storage=2Gi",
            "persistentvolumeclaims=1",
            "requests.storage=2Gi",
        ]
    );
}

#[test]
fn services_take_balancers_and_ports_of_nodes() {
    let of = |spec: Value| {
        let usage = usage(("", "services"), &json!({ "spec": spec }));
        (usage["services.loadbalancers"].units(), usage["services.nodeports"].units())
    };
    assert_eq!(of(json!({ "ports": [{}] })), (0, 0));
    assert_eq!(of(json!({ "type": "NodePort", "ports": [{}, {}] })), (0, 2));
    assert_eq!(of(json!({ "type": "LoadBalancer", "ports": [{}] })), (1, 1));
    let without = json!({ "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{}, { "nodePort": 30_000 }] });
    assert_eq!(of(without), (1, 1));
}

#[test]
fn names_say_what_they_count() {
    for (name, expected) in [
        ("pods", Some(("", "pods"))),
        ("count/deployments.apps", Some(("apps", "deployments"))),
        ("count/secrets", Some(("", "secrets"))),
        ("requests.cpu", Some(("", "pods"))),
        ("limits.nvidia.com/gpu", Some(("", "pods"))),
        ("hugepages-2Mi", Some(("", "pods"))),
        ("requests.storage", Some(("", "persistentvolumeclaims"))),
        ("fast.storageclass.storage.k8s.io/requests.storage", Some(("", "persistentvolumeclaims"))),
        ("services.nodeports", Some(("", "services"))),
        ("widgets", None),
    ] {
        assert_eq!(counted_by(name), expected, "{name}");
    }
}

#[test]
fn scopes_choose_pods() {
    let pod = json!({ "spec": {
        "activeDeadlineSeconds": 5, "priorityClassName": "high", "containers": [{}],
        "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "namespaces": ["x"] }] } },
    } });
    let plain = json!({ "spec": { "containers": [{ "resources": { "requests": { "cpu": "1" } } }] } });
    let pods = ("", "pods");
    for (scope, is_first, is_second) in [
        ("Terminating", true, false),
        ("NotTerminating", false, true),
        ("BestEffort", true, false),
        ("NotBestEffort", false, true),
        ("PriorityClass", true, false),
        ("CrossNamespacePodAffinity", true, false),
    ] {
        let spec = json!({ "scopes": [scope] });
        let found = (is_selected(&spec, pods, &pod), is_selected(&spec, pods, &plain));
        assert_eq!(found, (is_first, is_second), "{scope}");
        assert!(!is_selected(&spec, ("", "secrets"), &json!({})), "{scope} is about pods");
    }
    let by_class = |operator: &str, values: Value| {
        let expression = json!({ "scopeName": "PriorityClass", "operator": operator, "values": values });
        let spec = json!({ "scopeSelector": { "matchExpressions": [expression] } });
        (is_selected(&spec, pods, &pod), is_selected(&spec, pods, &plain))
    };
    assert_eq!(by_class("In", json!(["high", "low"])), (true, false));
    assert_eq!(by_class("NotIn", json!(["high"])), (false, true));
    assert_eq!(by_class("DoesNotExist", json!([])), (false, true));
    let claims = json!({ "scopeSelector": { "matchExpressions": [
        { "scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"] },
    ] } });
    let claim = json!({ "spec": { "volumeAttributesClassName": "gold" } });
    assert!(is_selected(&claims, ("", "persistentvolumeclaims"), &claim));
    assert!(is_selected(&json!({}), ("", "secrets"), &json!({})), "without scopes all count");
}
