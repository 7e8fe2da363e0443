//! Why a pod has no node, and the smallest change that would help. Pure: `hako why` calls it on what it has read.

mod others;

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};

use crate::cache::Cache;
use crate::filters::{refusing, tolerates};
use crate::message::Refusals;
use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::{PodInfo, key_of, node_of};
use crate::resources::{PODS, show};

/// Why a pod has no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence: kube-scheduler's if no node can take the pod.
    pub message: String,
    /// What would help, the smallest change first.
    pub advice: Vec<String>,
    /// Every node that refuses, and why.
    pub nodes: Vec<(String, Vec<String>)>,
    /// Nodes that could take the pod.
    pub possible: Vec<String>,
}

/// A node that refuses, and which filters do.
struct Refusing<'a> {
    node: &'a NodeInfo,
    filters: Vec<(&'static str, Vec<String>)>,
}

impl Refusing<'_> {
    fn only(&self, filter: &str) -> bool {
        matches!(&self.filters[..], [(name, _)] if *name == filter)
    }
}

/// Says which nodes refuse a pod and why, and the smallest change that would help. `namespaces` are what namespace
/// selectors of pod affinity look at; where they cannot be read, none is selected by its labels.
pub fn explain<N: Borrow<Node>, P: Borrow<Pod>>(
    pod: &Pod,
    nodes: &[N],
    pods: &[P],
    namespaces: &[Namespace],
) -> Explanation {
    if let Some((message, advice)) = held_back(pod) {
        return Explanation { message, advice: vec![advice], ..Explanation::default() };
    }
    let mut cache = Cache::default();
    for node in nodes {
        cache.set_node(Arc::new(node.borrow().clone()));
    }
    let key = key_of(pod);
    for other in pods.iter().map(Borrow::borrow).filter(|other| key_of(other) != key) {
        if node_of(other).is_some() {
            cache.apply(&Arc::new(other.clone()));
        }
    }
    for namespace in namespaces {
        let meta = &namespace.metadata;
        let name = meta.name.clone().unwrap_or_default();
        cache.neighbours.namespaces.insert(name, meta.labels.clone().unwrap_or_default());
    }
    let info = PodInfo::new(Arc::new(pod.clone()));
    let others = Others::of(&info, &cache);
    let (mut refusals, mut refusing_nodes, mut possible) = (Refusals::default(), Vec::new(), Vec::new());
    for node in cache.nodes() {
        let filters = refusing(&info, &others, node);
        match filters.first() {
            None => possible.push(node.name.clone()),
            Some((_, reasons)) => {
                refusals.add(reasons.clone());
                refusing_nodes.push(Refusing { node, filters });
            }
        }
    }
    let (message, advice) = match possible.first() {
        Some(node) => waits(node),
        None => match nominated(pod) {
            Some(advice) => (refusals.message(), vec![advice]),
            None => (refusals.message(), advise(&info, &others, &refusing_nodes)),
        },
    };
    Explanation { message, advice, nodes: refusing_nodes.iter().map(reasons).collect(), possible }
}

fn reasons(refusing: &Refusing<'_>) -> (String, Vec<String>) {
    let reasons = refusing.filters.iter().flat_map(|(_, reasons)| reasons.clone());
    (refusing.node.name.clone(), reasons.collect())
}

/// What keeps a pod from being looked at at all, and what to do.
fn held_back(pod: &Pod) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let gates: Vec<_> = spec.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str()).collect();
    if !gates.is_empty() {
        let message = format!("it is held back by the scheduling gates {}", gates.join(", "));
        return Some((message, "whoever set them has to remove them from spec.schedulingGates".into()));
    }
    let foreign = spec.scheduler_name.as_deref().filter(|name| !matches!(*name, "" | "default-scheduler"))?;
    Some((
        format!("it asks for the scheduler {foreign}, which has not bound it"),
        "is that scheduler running? otherwise leave out spec.schedulerName".into(),
    ))
}

/// What to do if room is being made already.
fn nominated(pod: &Pod) -> Option<String> {
    let node = pod.status.as_ref()?.nominated_node_name.as_deref().filter(|node| !node.is_empty())?;
    Some(format!("wait: pods of lower priority are leaving node {node} to make room for it"))
}

fn waits(node: &str) -> (String, Vec<String>) {
    (
        format!("node {node} can take it, it is about to be bound"),
        vec!["ask again; if this lasts, see whether hako is running and what it logs".into()],
    )
}

fn advise(pod: &PodInfo, others: &Others, refusing: &[Refusing<'_>]) -> Vec<String> {
    if refusing.is_empty() {
        return vec!["no node has joined: see `hako get nodes`, or start one with `hako up`".into()];
    }
    // The nodes with the fewest objections need the smallest change.
    let fewest = refusing.iter().map(|refusing| refusing.filters.len()).min().unwrap_or(0);
    let closest: Vec<&Refusing<'_>> =
        refusing.iter().filter(|refusing| refusing.filters.len() == fewest).collect();
    let fitting: Vec<&NodeInfo> = closest
        .iter()
        .filter(|refusing| refusing.only("NodeResourcesFit"))
        .map(|refusing| refusing.node)
        .collect();
    let mut advice = if fitting.is_empty() { Vec::new() } else { advise_room(pod, &fitting) };
    for refusing in closest.iter().filter(|refusing| !refusing.only("NodeResourcesFit")).take(3) {
        let step = |(filter, _): &(&str, _)| advise_filter(pod, others, refusing.node, filter);
        let changes: Vec<_> = refusing.filters.iter().map(step).collect();
        advice.push(changes.join(", and "));
    }
    let mut seen = BTreeSet::new();
    advice.retain(|line| seen.insert(line.clone()));
    advice
}

/// What is short on the nodes that refuse for room alone.
fn advise_room(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<String> {
    let short = |node: &NodeInfo| -> Vec<String> {
        let wanted = pod.requests.iter().filter(|(name, amount)| *amount > node.free(name));
        let pods = (node.free(PODS) < 1).then_some(PODS);
        wanted.map(|(name, _)| name).chain(pods).map(str::to_owned).collect()
    };
    let Some(least) = nodes.iter().map(|node| short(node)).min_by_key(Vec::len) else {
        return Vec::new();
    };
    let alike: Vec<_> = nodes.iter().filter(|node| short(node) == least).collect();
    let changes = least.iter().map(|name| {
        let free = alike.iter().map(|node| node.free(name)).max().unwrap_or(0).max(0);
        let offered = alike.iter().map(|node| node.allocatable.get(name)).max().unwrap_or(0);
        if name == PODS {
            return format!(
                "every node that would do runs its maximum of {offered} pods: delete some or add a node"
            );
        }
        let wanted = pod.requests.get(name);
        let (free_text, wanted_text) = (show(name, free), show(name, wanted));
        let never = if wanted > offered {
            format!(" (even empty it offers only {})", show(name, offered))
        } else {
            String::new()
        };
        let lower = if free > 0 {
            format!("lower requests.{name} to ≤ {free_text} or add a node")
        } else {
            "add a node, or scale something else down".to_owned()
        };
        format!(
            "largest free {name} on any node is {free_text}{never}, the pod asks for {wanted_text}: {lower}"
        )
    });
    changes.collect()
}

fn advise_filter(pod: &PodInfo, others: &Others, node: &NodeInfo, filter: &str) -> String {
    let name = &node.name;
    match filter {
        "NodeUnschedulable" => format!("node {name} is cordoned: `kubectl uncordon {name}`"),
        "NodeName" => {
            let wanted = node_of(&pod.pod).unwrap_or_default();
            format!("there is no node {wanted}: mend or leave out spec.nodeName")
        }
        "TaintToleration" => advise_taint(pod, node),
        "NodeAffinity" => advise_labels(pod, node),
        "NodePorts" => {
            let taken = pod.host_ports.iter().filter(|port| node.has_port_taken(port));
            let taken: Vec<_> = taken.map(|port| port.port.to_string()).collect();
            format!(
                "host port {} is taken on node {name}: use another, or a Service instead",
                taken.join(", ")
            )
        }
        "PodTopologySpread" => others::advise_spread(others, node),
        "InterPodAffinity" => others::advise_affinity(pod, others, node),
        _ => advise_room(pod, &[node]).join(", and "),
    }
}

fn advise_taint(pod: &PodInfo, node: &NodeInfo) -> String {
    let name = &node.name;
    let hard = node.taints().iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let untolerated = hard.filter(|taint| !tolerates(pod.tolerations(), taint)).map(|taint| {
        if let Some(trouble) = taint.key.strip_prefix("node.kubernetes.io/") {
            return format!("node {name} is {trouble}: see `kubectl describe node {name}`");
        }
        let (key, effect) = (&taint.key, &taint.effect);
        format!("tolerate the taint {key} ({effect}) of node {name}, or remove it: `kubectl taint nodes {name} {key}:{effect}-`")
    });
    untolerated.collect::<Vec<_>>().join(", and ")
}

fn advise_labels(pod: &PodInfo, node: &NodeInfo) -> String {
    let name = &node.name;
    let selector = pod.spec().into_iter().flat_map(|spec| spec.node_selector.iter().flatten());
    let missing = selector.filter(|(key, value)| node.labels().get(*key) != Some(value));
    let missing: Vec<_> = missing.map(|(key, value)| format!("{key}={value}")).collect();
    if missing.is_empty() {
        return format!(
            "the required node affinity does not match the labels of node {name}: mend one or the other"
        );
    }
    let labels = missing.join(" ");
    format!(
        "no node has the labels {labels}: `kubectl label node {name} {labels}`, or mend spec.nodeSelector"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{bound, node, node_from, pod, pod_from, pod_with_cpu};

    #[test]
    fn a_pod_that_asks_for_too_much_is_told_how_much_there_is() {
        let nodes = [node("a", "4", "8Gi"), node("b", "2", "8Gi")];
        let pods = [bound(pod_with_cpu("x", "2500m"), "a"), bound(pod_with_cpu("y", "1"), "b")];
        let told = explain(&pod_with_cpu("p", "4"), &nodes, &pods, &[]);
        assert_eq!(told.message, "0/2 nodes are available: 2 Insufficient cpu.");
        assert_eq!(
            told.advice,
            [
                "largest free cpu on any node is 1500m, the pod asks for 4: lower requests.cpu to ≤ 1500m or add a node"
            ]
        );
        assert_eq!(told.nodes[0], ("a".to_owned(), vec!["Insufficient cpu".to_owned()]));
        let told = explain(&pod_with_cpu("p", "64"), &nodes, &pods, &[]);
        assert!(told.advice[0].contains("(even empty it offers only 4)"), "{:?}", told.advice);
    }

    #[test]
    fn each_refusal_comes_with_its_next_step() {
        let one = |pod_spec: serde_json::Value, node_extra: serde_json::Value| {
            explain(&pod(pod_spec), &[node_from("n", node_extra)], &[] as &[Pod], &[]).advice.join("; ")
        };
        assert_eq!(
            one(json!({}), json!({"spec": {"unschedulable": true}})),
            "node n is cordoned: `kubectl uncordon n`"
        );
        assert_eq!(
            one(json!({"nodeSelector": {"disk": "ssd"}}), json!({})),
            "no node has the labels disk=ssd: `kubectl label node n disk=ssd`, or mend spec.nodeSelector"
        );
        assert_eq!(
            one(json!({}), json!({"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}})),
            "tolerate the taint gpu (NoSchedule) of node n, or remove it: `kubectl taint nodes n gpu:NoSchedule-`"
        );
        assert_eq!(
            one(
                json!({}),
                json!({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}})
            ),
            "node n is not-ready: see `kubectl describe node n`"
        );
    }

    #[test]
    fn what_other_pods_refuse_comes_with_its_next_step() {
        let nodes = [node_from("n", json!({"metadata": {"labels": {"host": "n"}}}))];
        let web = json!({"app": "web"});
        let there = [bound(pod_from(json!({"metadata": {"name": "w", "labels": web}})), "n")];
        let term = |key: &str| json!({"topologyKey": key, "labelSelector": {"matchLabels": web}});
        let tell = |spec: serde_json::Value| {
            let pod = pod_from(json!({"metadata": {"labels": web}, "spec": spec}));
            let told = explain(&pod, &nodes, &there, &[]);
            (told.message, told.advice.join("; "))
        };
        let required =
            |term: serde_json::Value| json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
        let (message, advice) = tell(json!({"affinity": {"podAntiAffinity": required(term("host"))}}));
        assert_eq!(message, "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
        assert!(
            advice.starts_with("a pod that it has to be far from runs in host n: add a node"),
            "{advice}"
        );
        let (_, advice) = tell(json!({"affinity": {"podAffinity": required(term("rack"))}}));
        assert!(advice.ends_with("`kubectl label node n rack=...`"), "{advice}");
        let constraint = |key: &str| json!([{"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2, "labelSelector": {"matchLabels": web}}]);
        let (message, advice) = tell(json!({"topologySpreadConstraints": constraint("host")}));
        assert_eq!(
            message,
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints."
        );
        assert!(
            advice.starts_with(
                "host n has 1 such pods already, the emptiest counts as 0 and maxSkew is 1: make room"
            ),
            "{advice}"
        );
        let (_, advice) = tell(json!({"topologySpreadConstraints": constraint("rack")}));
        assert!(advice.starts_with("node n has no label rack"), "{advice}");
    }

    #[test]
    fn a_pod_for_which_room_is_being_made_is_told_to_wait() {
        let status = json!({"nominatedNodeName": "a"});
        let mut pod = (*pod_with_cpu("p", "4")).clone();
        pod.status = Some(serde_json::from_value(status).unwrap());
        let told = explain(&pod, &[node("a", "4", "8Gi")], &[bound(pod_with_cpu("x", "1"), "a")], &[]);
        assert_eq!(told.advice, ["wait: pods of lower priority are leaving node a to make room for it"]);
    }

    #[test]
    fn the_node_with_the_fewest_objections_is_advised_on() {
        let nodes = [
            node_from(
                "far",
                json!({"spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoExecute"}]}}),
            ),
            node_from("near", json!({"spec": {"unschedulable": true}})),
        ];
        let told = explain(&pod(json!({})), &nodes, &[] as &[Pod], &[]);
        assert_eq!(told.advice, ["node near is cordoned: `kubectl uncordon near`"]);
        assert_eq!(told.message, "0/2 nodes are available: 2 node(s) were unschedulable.");
        assert_eq!(told.nodes[0].1.len(), 2, "all objections are listed");
    }

    #[test]
    fn without_nodes_and_with_a_fitting_one_it_says_so() {
        let told = explain(&pod(json!({})), &[] as &[Node], &[] as &[Pod], &[]);
        assert_eq!(told.message, "no nodes available to schedule pods");
        let told = explain(&pod(json!({})), &[node("n", "1", "1Gi")], &[] as &[Pod], &[]);
        assert_eq!(
            (told.message.as_str(), &told.possible[..]),
            ("node n can take it, it is about to be bound", &["n".to_owned()][..])
        );
        let gated = explain(
            &pod(json!({"schedulingGates": [{"name": "quota"}]})),
            &[node("n", "1", "1Gi")],
            &[] as &[Pod],
            &[],
        );
        assert_eq!(gated.message, "it is held back by the scheduling gates quota");
    }
}
