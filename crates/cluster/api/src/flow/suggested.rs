//! The objects of `flowcontrol.apiserver.k8s.io` a cluster begins with, as upstream documents them (API Priority and
//! Fairness, "Suggested configuration objects"), beside those whose specs are fixed.

use serde_json::{Value, json};

use crate::kinds::mandatory_objects;

/// Says that the spec is to be kept as it is here.
pub(super) const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Name, shares, percent that it lends, queues, size of a hand.
const LEVELS: [(&str, u32, u32, u32, u32); 6] = [
    ("system", 30, 33, 64, 6),
    ("node-high", 40, 25, 64, 6),
    ("leader-election", 10, 0, 16, 4),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
    ("global-default", 20, 50, 128, 6),
];
const QUEUE_LENGTH: u32 = 50;

/// Plural, name and spec of everything, levels first.
pub(super) fn objects() -> Vec<(&'static str, &'static str, Value)> {
    let mut all: Vec<_> = mandatory_objects().into();
    all.extend(LEVELS.map(level));
    all.extend(schemas().map(|(name, spec)| ("flowschemas", name, spec)));
    all.sort_by_key(|(plural, ..)| *plural == "flowschemas");
    all
}

fn level(
    (name, shares, lendable, queues, hand): (&'static str, u32, u32, u32, u32),
) -> (&'static str, &'static str, Value) {
    let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH});
    let spec = json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }});
    ("prioritylevelconfigurations", name, spec)
}

fn schemas() -> [(&'static str, Value); 11] {
    let lease =
        |namespace| rule(&["get", "create", "update"], "coordination.k8s.io", &["leases"], namespace, false);
    let endpoints = rule(&["get", "create", "update"], "", &["endpoints"], "*", false);
    let nodes = rule(&["*"], "", &["nodes", "nodes/status"], "*", true);
    let node_leases = rule(&["*"], "coordination.k8s.io", &["leases"], "kube-node-lease", false);
    let manager = || user("system:kube-controller-manager");
    let both = vec![manager(), user("system:kube-scheduler")];
    let endpoint_controllers =
        vec![manager(), account("endpoint-controller"), account("endpointslicemirroring-controller")];
    let everybody = vec![group("system:unauthenticated"), group("system:authenticated")];
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    [
        ("probes", schema("exempt", 2, "", json!([{"subjects": everybody, "nonResourceRules": probes}]))),
        ("system-leader-election", resources("leader-election", 100, &both, vec![lease("kube-system")])),
        ("endpoint-controller", resources("workload-high", 150, &endpoint_controllers, vec![endpoints])),
        ("workload-leader-election", resources("leader-election", 200, &[account("*")], vec![lease("*")])),
        ("system-node-high", resources("node-high", 400, &[group("system:nodes")], vec![nodes, node_leases])),
        ("system-nodes", whole("system", 500, "ByUser", &[group("system:nodes")])),
        ("kube-controller-manager", whole("workload-high", 800, "ByNamespace", &[manager()])),
        ("kube-scheduler", whole("workload-high", 800, "ByNamespace", &[user("system:kube-scheduler")])),
        ("kube-system-service-accounts", whole("workload-high", 900, "ByNamespace", &[account("*")])),
        ("service-accounts", whole("workload-low", 9000, "ByUser", &[group("system:serviceaccounts")])),
        ("global-default", whole("global-default", 9900, "ByUser", &everybody)),
    ]
}

fn schema(level: &str, precedence: u32, method: &str, rules: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": rules,
    });
    if !method.is_empty() {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    spec
}

/// About some resources by any of some.
fn resources(level: &str, precedence: u32, subjects: &[Value], rules: Vec<Value>) -> Value {
    schema(level, precedence, "ByUser", json!([{"subjects": subjects, "resourceRules": rules}]))
}

/// About all that is asked by any of some.
fn whole(level: &str, precedence: u32, method: &str, subjects: &[Value]) -> Value {
    let every = json!([
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]},
    ]);
    let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let rules = json!([{"subjects": subjects, "resourceRules": every, "nonResourceRules": paths}]);
    schema(level, precedence, method, rules)
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], namespace: &str, cluster: bool) -> Value {
    let mut rule =
        json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": [namespace]});
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "kube-system"}})
}
