//! What would help a pod that other pods keep from a node.

use crate::filters::inter_pod_affinity::{Conflict, conflict};
use crate::filters::topology_spread::{Imbalance, imbalance};
use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;

pub fn advise_spread(others: &Others, node: &NodeInfo) -> String {
    let name = &node.name;
    match imbalance(others, node) {
        None => String::new(),
        Some(Imbalance::MissingLabel { topology_key }) => format!(
            "node {name} has no label {topology_key}, which the pod is to be spread by: `kubectl label node {name} {topology_key}=...`"
        ),
        Some(Imbalance::Skew { topology_key, domain, pods, fewest, max_skew }) => format!(
            "{topology_key} {domain} has {pods} such pods already, the emptiest counts as {fewest} and maxSkew is {max_skew}: make room where there are fewer, raise maxSkew, or let spec.topologySpreadConstraints be a wish (ScheduleAnyway)"
        ),
    }
}

pub fn advise_affinity(pod: &PodInfo, others: &Others, node: &NodeInfo) -> String {
    let name = &node.name;
    let value = |key: &str| node.labels().get(key).cloned().unwrap_or_default();
    match conflict(pod, others, node) {
        None => String::new(),
        Some(Conflict::Affinity(key)) if !node.labels().contains_key(&key) => format!(
            "node {name} has no label {key}, which the required pod affinity goes by: `kubectl label node {name} {key}=...`"
        ),
        Some(Conflict::Affinity(key)) => format!(
            "no pod that it has to be near runs in {key} {}: start that one, or mend spec.affinity.podAffinity",
            value(&key)
        ),
        Some(Conflict::AntiAffinity(key)) => format!(
            "a pod that it has to be far from runs in {key} {}: add a node elsewhere, or mend spec.affinity.podAntiAffinity",
            value(&key)
        ),
        Some(Conflict::ExistingAntiAffinity(key)) => format!(
            "a pod in {key} {} keeps such pods away by its own anti-affinity: add a node elsewhere, or mend that pod's spec.affinity.podAntiAffinity",
            value(&key)
        ),
    }
}
