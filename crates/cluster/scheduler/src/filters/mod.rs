//! Whether a pod can run on a node at all. One file per question, all of one shape.
//!
//! Owns: the lists of filters and their order, cheap and decisive ones first: those of a node alone come before those
//! that depend on other pods.
//! Does not own: which of the possible nodes is best (see `scores`).

mod host_ports;
pub mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod resources;
mod taints;
pub mod topology_spread;
mod unschedulable;

use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;

pub use node_affinity::{attracts, matches_term};
pub use taints::tolerates;

/// Asks one question; an empty answer means yes, otherwise the reasons in kube-scheduler's words.
type Filter = fn(&PodInfo, &NodeInfo) -> Vec<String>;

/// The same of what other pods mean for the pod.
type AmongOthers = fn(&PodInfo, &Others, &NodeInfo) -> Vec<String>;

/// The filters by kube-scheduler's names for them.
const ALONE: [(&str, Filter); 6] = [
    ("NodeUnschedulable", unschedulable::filter),
    ("NodeName", node_name::filter),
    ("TaintToleration", taints::filter),
    ("NodeAffinity", node_affinity::filter),
    ("NodePorts", host_ports::filter),
    ("NodeResourcesFit", resources::filter),
];

/// Those that depend on other pods.
const AMONG_OTHERS: [(&str, AmongOthers); 2] =
    [("PodTopologySpread", topology_spread::filter), ("InterPodAffinity", inter_pod_affinity::filter)];

/// The names of the filters that refuse, in their order.
fn refusals<'a>(
    pod: &'a PodInfo,
    others: &'a Others,
    node: &'a NodeInfo,
) -> impl Iterator<Item = (&'static str, Vec<String>)> + 'a {
    let alone = ALONE.iter().map(move |(name, filter)| (*name, filter(pod, node)));
    let among = AMONG_OTHERS.iter().map(move |(name, filter)| (*name, filter(pod, others, node)));
    alone.chain(among).filter(|(_, reasons)| !reasons.is_empty())
}

/// The reasons of the first filter that refuses; empty if none does.
pub fn first_refusal(pod: &PodInfo, others: &Others, node: &NodeInfo) -> Vec<String> {
    refusals(pod, others, node).next().map(|(_, reasons)| reasons).unwrap_or_default()
}

/// The names of all filters that refuse.
pub fn refusing(pod: &PodInfo, others: &Others, node: &NodeInfo) -> Vec<(&'static str, Vec<String>)> {
    refusals(pod, others, node).collect()
}

/// Whether a node is neither cordoned nor tainted against a pod.
pub fn bears(pod: &PodInfo, node: &NodeInfo) -> bool {
    unschedulable::filter(pod, node).is_empty() && taints::filter(pod, node).is_empty()
}

#[cfg(test)]
mod others_tests;
#[cfg(test)]
mod scan_tests;
#[cfg(test)]
mod tests;
